"""How long a training job stands still when hosts or the rendezvous are lost, and when hosts come.

Hosts, processes of this machine, train a small network with the entry point and the settings of a cluster's
hosts, over and over: two of them, or four. When they train and a checkpoint is written, one of these strikes:

- `host`, `first_host`: kill -9 of all processes of a host, in the second case that of the first rank.
- `cut`, `first_cut`: likewise its line is cut, nobody is told, and it goes on for itself. Each host is in a
  network namespace of its own; where the machine gives none, this is not measured, and says why.
- `stopped`: SIGTERM to a host, as before Spot takes it.
- `rendezvous`: kill -9 of it. The hosts end; another rendezvous and two hosts are started at once.
- `all`: kill -9 of both hosts; two are started at once.
- `replaced`: a host was killed and the other trains alone; another host is started.
- `shrunk`, `grown`: of four hosts two are killed; and two are started when the two that are left train.

Measured from there to the first step that is done in what follows; for hosts that come, the first with them:
until they are ready the others train, so that the longest time without a step is told too.
What a platform takes to notice, and to find capacity, is not in it. Steps are read from telemetry, told ten
times a second. Bounds: 15 s each time; the steps of an interval between checkpoints lost, with SIGTERM, the
rendezvous and hosts that come none.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.elastic_job import EVERY, PATIENCE_S, SIDE, Job, kill
from benchmarks.image_scale import generate
from benchmarks.recovery_timeline import Life
from benchmarks.step_process import run_step
from tools.network import Network

BOUND_S, ROUNDS = 15.0, 3
IMAGES, SIZE = 1330, (48, 40)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds until the first step, and steps that were done and are to be done again. `still`: the longest
    time in between without a step, which for hosts that come is less."""

    seconds: float
    lost: int
    still: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What strikes, when, and what is to follow.

    Args:
        strike: Does it.
        most: Hosts that the job starts with.
        before: What happens to them before; they train with a checkpoint when it returns.
        after: Hosts that the first step is to be done with; None: any number.
        loses: Whether steps since the last checkpoint may be lost.
        cuts: Whether it needs lines that can be cut.
    """

    strike: Callable[[Job], None]
    most: int = 2
    before: Callable[[Job], None] | None = None
    after: int | None = None
    loses: bool = True
    cuts: bool = False


def recovery(found: Sequence[Life], struck: float, hosts: int | None = None) -> Recovery | None:
    """What followed on a fault at `struck`, epoch seconds, with so many `hosts`; None: nothing yet.

    >>> before = Life(0.0, 1, 2, [(0.0, 0), (4.0, 38)])
    >>> recovery([before, Life(9.0, 1, 1, [(9.0, 20), (9.1, 20), (9.2, 22)])], struck=4.2)
    Recovery(seconds=5.0, lost=18, still=5.2)
    """
    done = max(step for life in found if life.began <= struck for _, step in life.points)
    lost = 0
    for life in found:
        if life.began <= struck:
            continue
        resumed = life.points[0][1]
        # Hosts may come one by one, and each time steps be lost.
        lost = max(lost, done - resumed)
        if hosts not in (None, life.hosts):
            continue
        for at, step in life.points:
            if step > resumed:
                return Recovery(round(at - struck, 2), lost, _still(found, struck, at))
    return None


def _still(found: Sequence[Life], struck: float, until: float) -> float:
    steps = [
        at
        for life in found
        for (_, before), (at, step) in itertools.pairwise(life.points)
        if step > before and at <= until
    ]
    begin = max((at for at in steps if at <= struck), default=struck)
    times = [begin, *sorted(at for at in steps if at > struck)]
    return round(max(after - before for before, after in itertools.pairwise(times)), 2)


def _kill(job: Job, *names: str) -> None:
    for name in names:
        kill(job.hosts[name])


def _stopped(job: Job) -> None:
    job.hosts[job.others()[0]].send_signal(signal.SIGTERM)


def _rendezvous(job: Job) -> None:
    kill(job.rendezvous)
    for process in job.hosts.values():
        process.wait(PATIENCE_S)
    job.meet()
    job.start("e", "f", attempt=2)


def _all(job: Job) -> None:
    _kill(job, *job.hosts)
    job.start("e", "f", attempt=2)


def _alone(job: Job) -> None:
    _kill(job, job.others()[0])
    job.train(1)


def _halved(job: Job) -> None:
    _kill(job, *job.others()[:2])
    job.train(2)


FAULTS: dict[str, Fault] = {
    "host": Fault(strike=lambda job: _kill(job, job.others()[0])),
    "first_host": Fault(strike=lambda job: _kill(job, job.first())),
    "cut": Fault(strike=lambda job: job.cut(job.others()[0]), cuts=True),
    "first_cut": Fault(strike=lambda job: job.cut(job.first()), cuts=True),
    "stopped": Fault(strike=_stopped, loses=False),
    "rendezvous": Fault(strike=_rendezvous, loses=False),
    "all": Fault(strike=_all),
    "replaced": Fault(before=_alone, strike=lambda job: job.start("e"), after=2, loses=False),
    "shrunk": Fault(most=4, strike=lambda job: _kill(job, *job.others()[:2]), after=2),
    "grown": Fault(most=4, before=_halved, strike=lambda job: job.start("e", "f"), after=4, loses=False),
}


def measure(rounds: int = ROUNDS, faults: Sequence[str] = tuple(FAULTS)) -> dict[str, Any]:
    refused = _no_lines()
    left_out = {name: refused for name in faults if FAULTS[name].cuts and refused}
    found: dict[str, list[Recovery]] = {name: [] for name in faults if name not in left_out}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        generate(data / "processing" / "input" / "data", IMAGES, SIZE)
        run_step(data, "training.vision.preprocess", ["--image-size", str(SIDE)])
        for number in range(rounds):
            for name, runs in found.items():
                root = Path(folder) / f"{name}-{number}"
                root.mkdir()
                runs.append(run(root, data / "processing" / "output", FAULTS[name]))
    return summary(found) | ({"not_measured": left_out} if left_out else {})


def run(root: Path, dataset: Path, fault: Fault) -> Recovery:
    """One fault of one job."""
    lines: contextlib.AbstractContextManager[Network | None] = contextlib.nullcontext()
    if fault.cuts:
        lines = contextlib.closing(Network())
    with lines as network, Job(root, dataset, fault.most, network) as job:
        job.start(*"abcd"[: fault.most])
        job.train(fault.most)
        if fault.before:
            fault.before(job)
        struck = time.time()
        fault.strike(job)
        return job.wait(lambda: recovery(job.lives(), struck, fault.after))


def summary(found: Mapping[str, Sequence[Recovery]]) -> dict[str, Any]:
    """The figures of each fault, and whether all of them hold."""
    rows = {}
    for name, runs in found.items():
        seconds, lost = [run.seconds for run in runs], max(run.lost for run in runs)
        rows[name] = {
            "hosts": FAULTS[name].most,
            "median_s": statistics.median(seconds),
            "min_s": min(seconds),
            "max_s": max(seconds),
            "without_a_step_s": statistics.median(run.still for run in runs),
            "lost_steps_at_most": lost,
            "lost_steps_allowed": 2 * EVERY if FAULTS[name].loses else 0,
        }
    return {
        "steps_between_checkpoints": EVERY,
        "recoveries": rows,
        "bound_s": BOUND_S,
        "holds": all(
            row["max_s"] <= BOUND_S and row["lost_steps_at_most"] <= row["lost_steps_allowed"]
            for row in rows.values()
        ),
    }


def _no_lines() -> str:
    """Why this machine has no lines that can be cut; empty where it has."""
    try:
        network = Network()
        try:
            network.machine()
        finally:
            network.close()
    except OSError as error:
        return f"this machine gives no network namespaces: {error}"
    return ""
