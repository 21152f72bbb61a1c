"""A trace of lost hosts as the simulation reads it, made by chance: an example of the file's form.

`python -m benchmarks.spot_simulation.example > benchmarks/spot_simulation/example.csv`

Eight nodes for three days, each lost 0.1 times an hour and away for twenty minutes on average; both are drawn
as if they had no memory. It is of no real market: put the interruptions of your own hosts in its place.
"""

from __future__ import annotations

import random

from benchmarks.spot_simulation.traces import AVAILABLE, COLUMNS, LOST

NODES, HOURS, RATE, AWAY_S, SEED = 8, 72, 0.1, 1200.0, 7


def example() -> str:
    """The file's text, the same each time."""
    end = HOURS * 3600
    # A node that is never lost is named all the same.
    events = [(0, f"node-{number}", AVAILABLE) for number in range(1, NODES + 1)]
    for _, node, _ in tuple(events):
        chance, at = random.Random(f"example/{SEED}/{node}"), 0.0
        while (at := at + chance.expovariate(RATE / 3600)) < end:
            events.append((round(at), node, LOST))
            at += chance.expovariate(1 / AWAY_S)
            if at < end:
                events.append((round(at), node, AVAILABLE))
    rows = [COLUMNS, *sorted(events, key=lambda event: event[0])]
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


if __name__ == "__main__":
    print(example(), end="")
