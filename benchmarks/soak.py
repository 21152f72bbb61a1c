"""Serving under load for minutes, while versions are approved, rejected and tried as canaries all the while.

The load goes through the deployed function URL, since only there a switch or a canary can cost a request:
callers of the endpoint name the archive themselves. So 70 % is of what that path takes on this machine,
measured first, callers included: function, table, authorization and the endpoint's front are all in the local
cloud's one process, and reach their limit long before the model server does (benchmark `serving` is of that).
Requests are sent by a timetable, nobody tries again, and a late answer counts from when it was due.

Meanwhile, over and over: one model gets a sound canary that is promoted, is put back, and gets one that
breaks and is rolled back; another is switched between two versions. The archives are the same few: new ones
would fill the server's cache of models, as they are meant to.

Zero requests may fail. Memory, handles and threads of the model servers and of the local cloud's process are
sampled; after a warm-up of a quarter of the time they may not grow (`benchmarks.growth`): memory by 3 %,
handles and threads, which come and go with connections, by 5 % or 2. The cloud's memory is also AWS's disks:
its logs, which have a size that they do not exceed, are filled first; metrics take more with each minute, so
that it may grow by 10 %. Of functions' processes the memory counts, too; their clients open connections as
they need them, up to ten each, which is shown.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks import growth
from benchmarks.deployed import MODEL, Deployed, archive, deployed, row
from benchmarks.growth import Sample
from benchmarks.harness import OUT
from benchmarks.soak_chart import as_svg
from benchmarks.traffic import Answer, Caller, Traffic, percentile

MINUTES = 10.0
SHARE = 0.7
CALLERS = 4
CAPACITY_S = 20.0
EVERY_S = 2.0
WARM_UP = 0.25
OTHER = "refinance-loan-amount"
CANARY_PERCENT = 20
SERVERS, CLOUD = "model server", "local cloud"
FUNCTIONS = {"inference function": "inference/InferenceFunction", "deployer": "serving/DeployerFunction"}
# Growth over the measured time: a share of the memory, a number of the rest.
MEMORY_SHARE, CLOUD_SHARE, HANDLES_SHARE, HANDLES = 0.03, 0.1, 0.05, 2.0
# Of the local cloud's logs (`localcloud.aws.differences.log_streams`), and a little more.
LOG_BYTES, LINE = 66_000_000, 10_000


def measure(minutes: float = MINUTES) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, deployed(Path(folder), Deployed) as app:
        churn = Churn(app)
        churn.prepare()
        fill_logs(app)
        with _traffic(app, None) as closed:
            time.sleep(CAPACITY_S)
        capacity = closed.per_second
        samples: list[Sample] = []
        began = time.monotonic()
        with _traffic(app, SHARE * capacity) as traffic, churn:
            while (now := time.monotonic() - began) < minutes * 60:
                samples += growth.sample(_roles(app), now)
                time.sleep(max(0.0, EVERY_S - (time.monotonic() - began - now)))
    return summary(minutes, capacity, traffic.answers, samples, churn)


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


def _roles(app: Deployed) -> dict[str, list[psutil.Process]]:
    run = json.loads(app.state.run_json.read_text())
    cloud = [psutil.Process(int(run["pid"]))]
    servers = [p for server in app.servers() for p in (server, *server.children(recursive=True))]
    return {SERVERS: servers, CLOUD: cloud} | {
        name: app.workers(function) for name, function in FUNCTIONS.items()
    }


def summary(
    minutes: float, capacity: float, answers: Sequence[Answer], samples: Sequence[Sample], churn: Churn
) -> dict[str, Any]:
    """Figures, and the picture beside them."""
    totals = growth.by_role(samples)
    begin = minutes * 60 * WARM_UP
    trends = {
        role: trends_of(
            [each for each in found if each.at >= begin], CLOUD_SHARE if role == CLOUD else MEMORY_SHARE
        )
        for role, found in totals.items()
    }
    OUT.mkdir(parents=True, exist_ok=True)
    title = f"{minutes:g} minutes at {SHARE:.0%} load, versions switched and tried all the while"
    (OUT / "soak.svg").write_text(as_svg(title, totals, begin))
    failed = Counter(f"{each.status} {each.code}" for each in answers if each.status != 200)
    judged = [
        trend
        for role, found in trends.items()
        for name, trend in found.items()
        if role not in FUNCTIONS or name == "rss_mb"
    ]
    return {
        "minutes": minutes,
        "capacity_per_second": round(capacity, 1),
        "asked_per_second": round(SHARE * capacity, 1),
        "requests": len(answers),
        "failed": dict(failed),
        "p50_ms": round(percentile(answers, 0.5) * 1000, 1),
        "p99_ms": round(percentile(answers, 0.99) * 1000, 1),
        "slowest_ms": round(percentile(answers, 1.0) * 1000, 1),
        "versions": {
            f"{model} {version}": count
            for (model, version), count in sorted(
                Counter((each.model, each.version or 0) for each in answers if not each.code).items()
            )
        },
        "decisions": dict(churn.done),
        "problems": churn.problems,
        "growth": {
            role: {name: trend.as_json() for name, trend in found.items()} for role, found in trends.items()
        },
        "holds": not failed
        and not churn.problems
        and {SERVERS, CLOUD} <= trends.keys()
        and all(trend.holds for trend in judged),
    }


def trends_of(samples: Sequence[Sample], share: float) -> dict[str, growth.Trend]:
    """Of a role's samples, by measure; its memory may grow by a share."""
    times = [each.at for each in samples]
    found = {}
    for name in growth.MEASURES:
        values = [float(getattr(each, name)) for each in samples]
        bound = share * values[0] if name == "rss_mb" else max(HANDLES, HANDLES_SHARE * values[0])
        found[name] = growth.trend(times, values, bound)
    return found
