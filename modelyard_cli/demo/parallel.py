"""Several executions at once, in as many lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from modelyard_cli.executions import ENDED, Execution
from modelyard_cli.output import styled

_RUNNING = ("Executing", "Starting", "Stopping")


def together(watched: Mapping[str, Iterator[Execution]], to: Console, every_s: float) -> dict[str, Execution]:
    """Look at all again and again until all have ended, and show how far each is; returns the last states."""
    states: dict[str, Execution] = {}
    shown: dict[str, str] = {}
    with Live(console=to, refresh_per_second=8, auto_refresh=to.is_terminal) as live:
        while len(states) < len(watched) or any(state.status not in ENDED for state in states.values()):
            for name, looks in watched.items():
                states[name] = next(looks, states.get(name)) or states[name]
            if to.is_terminal:
                live.update(picture(states))
            else:
                _print_changes(states, shown, to)
            time.sleep(every_s)
        if to.is_terminal:
            live.update(picture(states))
    return states


def picture(states: Mapping[str, Execution]) -> Table:
    """A line for each execution."""
    table = Table(pad_edge=False)
    table.add_column("pipeline", no_wrap=True)
    table.add_column("steps", justify="right")
    table.add_column("now", min_width=24)
    table.add_column("seconds", justify="right")
    for name, state in states.items():
        done = sum(step.status == "Succeeded" for step in state.steps)
        table.add_row(name, str(done), Text.from_markup(_now(state)), f"{state.seconds:.1f}")
    return table


def _now(state: Execution) -> str:
    if state.status in ENDED:
        return styled(state.status)
    return ", ".join(step.name for step in state.steps if step.status in _RUNNING) or state.status


def _print_changes(states: Mapping[str, Execution], shown: dict[str, str], to: Console) -> None:
    for name, state in states.items():
        now = Text.from_markup(_now(state)).plain
        if shown.get(name) != now:
            shown[name] = now
            to.print(f"{state.seconds:6.1f} s  {name}: {now}")
