"""Serving under load for minutes, while versions are approved, rejected and tried as canaries all the while.

The load goes through the deployed function URL, since only there a switch or a canary can cost a request:
callers of the endpoint name the archive themselves. So 70 % is of what that path takes on this machine while
versions change, measured before and once more after, callers included: function, table, authorization and the
endpoint's front are all in the local cloud's one process, and reach their limit long before the model server
does (benchmark `serving` is of that). Requests are sent by a timetable, nobody tries again, and a late answer
counts from when it was due.

All the while, over and over: one model gets a sound canary that is promoted, is put back, and gets one that
breaks and is rolled back; another is switched between two versions. The archives are the same few: new ones
would fill the server's cache of models, as they are meant to.

Zero requests may fail. Memory, handles and threads of each process are sampled (`benchmarks.soak_sampler`);
after a warm-up of a quarter of the time it must be ruled out that they grow (`benchmarks.growth`): memory by
3 %, handles and threads, which come and go with connections, by 5 % or 2. The process that tries models is
apart from the server that it belongs to: it comes and goes. The cloud's memory is also AWS's disks: its logs,
which have a size that they do not exceed, are filled first; metrics take more with each minute, so that it
may grow by 10 %. It is judged while the endpoint has the same instances and the functions the same
environments, for the longest time that they have: the cloud keeps connections to each instance, and three
pipes to each environment. Of functions the memory counts, of the deployer the handles, too; the other's
clients open connections as they need them, up to ten each, which is shown.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import growth
from benchmarks.deployed import MODEL, Deployed, archive, deployed, row
from benchmarks.growth import MEASURES, Sample
from benchmarks.soak_chart import draw
from benchmarks.soak_sampler import CLOUD, SERVERS, TRIAL, Moment, Sampler
from benchmarks.soak_timeline import timeline
from benchmarks.traffic import Answer, Caller, Traffic, percentile

MINUTES = 10.0
SHARE = 0.7
CALLERS = 4
CAPACITY_S = 30.0
WARM_UP = 0.25
# Of the time that counts: a process that was there for less is not judged.
LEAST = 1 / 3
# Until a new instance has its share of the load.
SETTLE_S = 20.0
OTHER = "refinance-loan-amount"
CANARY_PERCENT = 20
INFERENCE, DEPLOYER = "inference function", "deployer"
FUNCTIONS = {INFERENCE: "inference/InferenceFunction", DEPLOYER: "serving/DeployerFunction"}
JUDGED = {
    SERVERS: MEASURES,
    CLOUD: MEASURES,
    TRIAL: MEASURES,
    INFERENCE: ("rss_mb",),
    DEPLOYER: ("rss_mb", "handles"),
}
# Without at least one of their processes judged nothing is shown; a trial may have had nothing to do.
NEEDED = frozenset(JUDGED) - {TRIAL}
# Growth over the time that counts: a share of the memory, a number of the rest.
MEMORY_SHARE, CLOUD_SHARE, HANDLES_SHARE, HANDLES = 0.03, 0.1, 0.05, 2.0
# Of the local cloud's logs (`localcloud.aws.differences.log_streams`), and a little more.
LOG_BYTES, LINE = 66_000_000, 10_000

__all__ = ["draw", "measure"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was seen; times are in seconds since the load began. `capacity`: a second, before and after it."""

    run: str
    minutes: float
    capacity: tuple[float, float]
    answers: Sequence[Answer]
    samples: Sequence[Sample]
    machine: Sequence[Moment]
    decisions: Counter[str]
    problems: Sequence[str]


def measure(minutes: float = MINUTES) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, deployed(Path(folder), Deployed) as app:
        churn = Churn(app)
        churn.prepare()
        fill_logs(app)
        functions = {app.physical(*place.split("/")): role for role, place in FUNCTIONS.items()}
        cloud = int(json.loads(app.state.run_json.read_text())["pid"])
        started = datetime.now(UTC).isoformat(timespec="seconds")
        with churn:
            before = _capacity(app)
            with Sampler(cloud, functions) as sampler:
                began = time.monotonic()
                with _traffic(app, SHARE * before) as traffic:
                    time.sleep(minutes * 60)
            after = _capacity(app)
    samples, machine = sampler.read(began)
    return summary(
        Run(
            run=started,
            minutes=minutes,
            capacity=(before, after),
            answers=[replace(answer, at=answer.at - began) for answer in traffic.answers],
            samples=samples,
            machine=machine,
            decisions=churn.done,
            problems=churn.problems,
        )
    )


def _capacity(app: Deployed) -> float:
    """Predictions a second when each caller asks again at once."""
    with _traffic(app, None) as closed:
        time.sleep(CAPACITY_S)
    return closed.per_second * (1 - len(closed.failed) / len(closed.answers))


def _traffic(app: Deployed, per_second: float | None) -> Traffic:
    caller = Caller(app.outputs["FunctionUrl"], app.scientist, (MODEL, OTHER), [row()], CALLERS)
    return Traffic(caller, callers=CALLERS, per_second=per_second)


class Churn:
    """Decides about versions from entering its block to leaving it.

    Attributes:
        done: how often what was done: approved, rejected, promoted, rolled-back.
        problems: what did not come about in time; the soak fails then.
    """

    def __init__(self, app: Deployed) -> None:
        self.done: Counter[str] = Counter()
        self.problems: list[str] = []
        self._app = app
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(act,)) for act in (self._canaries, self._switches)
        ]

    def prepare(self) -> None:
        """Register every version, and deploy the first of both models."""
        sound, broken = archive(1.0), without_a_column(archive(2.0))
        self._first, self._sound = self._app.register(sound), self._app.register(archive(3.0))
        self._broken = self._app.register(broken)
        self._old, self._new = (self._app.register(archive(scale), OTHER) for scale in (1.0, 2.0))
        self._app.deploy(self._first)
        self._app.deploy(self._old, OTHER)

    def __enter__(self) -> Churn:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, act: Callable[[], None]) -> None:
        while not self._ended.is_set():
            try:
                act()
            except TimeoutError as error:
                self.problems.append(f"{act.__name__.strip('_')}: {error}")

    def _canaries(self) -> None:
        self._canary(self._sound, "promoted")
        self._decide(self._sound, "Rejected", MODEL, self._first)
        self._canary(self._broken, "rolled-back")

    def _canary(self, version: int, outcome: str) -> None:
        """By the deployer's own schedule, within the two or three minutes that this takes."""
        if self._ended.is_set():
            return
        self._app.decide(version, "Approved", canary=CANARY_PERCENT)
        self.done["approved as canaries"] += 1
        self._wait(lambda: self._app.version("canary") == version)
        self._wait(lambda: self._app.version("canary") is None, 300)
        if self._ended.is_set():
            return
        verdict = self._app.record()["verdict"]
        self.done[verdict["outcome"]] += 1
        if (verdict["version"], verdict["outcome"]) != (version, outcome):
            self.problems.append(f"canary {version} was to be {outcome}: {verdict}")

    def _switches(self) -> None:
        self._decide(self._new, "Approved", OTHER, self._new)
        self._ended.wait(5)
        self._decide(self._new, "Rejected", OTHER, self._old)
        self._ended.wait(5)

    def _decide(self, version: int, status: str, model: str, serves: int) -> None:
        self._app.decide(version, status, model=model)
        self.done[status.lower()] += 1
        self._wait(lambda: self._app.version(model=model) == serves)

    def _wait(self, done: Callable[[], bool], seconds: float = 90.0) -> None:
        self._app.wait(lambda: self._ended.is_set() or done(), seconds)


def without_a_column(body: bytes) -> bytes:
    """The archive, wanting a feature under another name: its golden rows are right, callers' rows not."""
    old, new = b'"feature_0"', b'"feature_renamed"'
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(body)) as source, tarfile.open(fileobj=out, mode="w:gz") as target:
        for member in source:
            content = source.extractfile(member)
            assert content is not None
            data = content.read()
            data = data.replace(old, new) if member.name.endswith(".json") else data
            member.size = len(data)
            target.addfile(member, io.BytesIO(data))
    return out.getvalue()


def fill_logs(app: Deployed) -> None:
    """Write to a log group until the cloud drops older lines."""
    logs, place = app.client("logs"), {"logGroupName": "/soak", "logStreamName": "filler"}
    logs.create_log_group(logGroupName="/soak")
    for number in range(5):
        place["logStreamName"] = f"filler-{number}"
        logs.create_log_stream(**place)
        for _ in range(LOG_BYTES // 5 // (50 * LINE)):
            events = [{"timestamp": int(time.time() * 1000), "message": "x" * LINE}] * 50
            logs.put_log_events(**place, logEvents=events)


def summary(run: Run) -> dict[str, Any]:
    """Figures, and whether they hold."""
    warm_up = run.minutes * 60 * WARM_UP
    counted = run.minutes * 60 - warm_up
    changes = {CLOUD: changes_of_processes(run.samples)}
    courses = growth.courses(run.samples, warm_up=warm_up, least=LEAST * counted, changes=changes)
    trends = {role: [_trends(role, each, counted) for each in courses.get(role, [])] for role in JUDGED}
    judged = [
        found[measure]
        for role, processes in trends.items()
        for found in processes
        for measure in JUDGED[role]
    ]
    failed = Counter(f"{each.status} {each.code}" for each in run.answers if each.status != 200)
    before, after = run.capacity
    not_shown = sorted(role for role in NEEDED if not trends[role])
    return {
        "run": run.run,
        "minutes": run.minutes,
        "warm_up_s": warm_up,
        "share": SHARE,
        "capacity_per_second": round(before, 1),
        "capacity_after_per_second": round(after, 1),
        "asked_per_second": round(SHARE * before, 1),
        "requests": len(run.answers),
        "failed": dict(failed),
        "p50_ms": round(percentile(run.answers, 0.5) * 1000, 1),
        "p99_ms": round(percentile(run.answers, 0.99) * 1000, 1),
        "slowest_ms": round(percentile(run.answers, 1.0) * 1000, 1),
        "versions": {
            f"{model} {version}": count
            for (model, version), count in sorted(
                Counter((each.model, each.version or 0) for each in run.answers if not each.code).items()
            )
        },
        "decisions": dict(run.decisions),
        "problems": list(run.problems),
        "growth": {
            role: [
                {
                    "pid": course[0].pid,
                    "from_s": round(course[0].at, 1),
                    "to_s": round(course[-1].at, 1),
                    **{name: trend.as_json() for name, trend in found.items()},
                }
                for course, found in zip(courses.get(role, []), processes, strict=True)
            ]
            for role, processes in trends.items()
        },
        "growth_not_shown": not_shown,
        "timeline": timeline(run.minutes * 60, run.answers, run.samples, run.machine),
        "holds": not failed and not run.problems and not not_shown and all(trend.holds for trend in judged),
    }


def changes_of_processes(samples: Sequence[Sample]) -> list[float]:
    """When instances and environments came or went, and when they have been there for a while."""
    there: dict[float, set[int]] = {}
    for each in samples:
        found = there.setdefault(each.at, set())
        if each.role in (SERVERS, *FUNCTIONS):
            found.add(each.pid)
    changed = [at for (_, before), (at, now) in itertools.pairwise(sorted(there.items())) if before != now]
    return sorted([*changed, *(at + SETTLE_S for at in changed)])


def _trends(role: str, samples: Sequence[Sample], span: float) -> dict[str, growth.Trend]:
    """Of one process, by measure; growth is told of all the time that counts."""
    times = [each.at for each in samples]
    share = CLOUD_SHARE if role == CLOUD else MEMORY_SHARE
    found = {}
    for name in MEASURES:
        values = [float(getattr(each, name)) for each in samples]
        bound = share * values[0] if name == "rss_mb" else max(HANDLES, HANDLES_SHARE * values[0])
        found[name] = growth.trend(times, values, bound, span, growth.FIGURES[name])
    return found
