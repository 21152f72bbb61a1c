"""What workers tell CloudWatch is what they brought into the ledger."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.aws.differences.embedded_metrics import parse
from tests.unit.preprocessing.preprocessing_world import World, picture
from training.preprocessing.ports import UnavailableError
from training.preprocessing.progress import Progress
from training.preprocessing.records import IMAGE, QUARANTINED
from training.preprocessing.telemetry import (
    IMAGE_TIME,
    NAMESPACE,
    PREPARED,
    Telemetry,
    metric_line,
)
from training.preprocessing.telemetry import QUARANTINED as QUARANTINED_IMAGES
from training.preprocessing.worker import work
from training.vision.parallel import ordered


class Log:
    """Lines of workers, read as CloudWatch does."""

    def __init__(self, world: World) -> None:
        self.world, self.lines = world, list[str]()

    def telemetry(self, cluster: str = "gpu") -> Telemetry:
        return Telemetry(
            cluster=cluster, dataset="dogs", clock=lambda: self.world.now, write=self.lines.append
        )

    def sums(self) -> dict[str, float]:
        """Of each count, over all lines."""
        found: Counter[str] = Counter()
        for line in self.lines:
            for datum in parse(line, self.world.now):
                assert (datum.namespace, datum.dimensions) == (
                    NAMESPACE,
                    {"Cluster": "gpu", "Dataset": "dogs"},
                )
                found[datum.name] += sum(datum.values)
        found.pop(IMAGE_TIME, None)
        return {name: count for name, count in found.items() if count}


def ledger(world: World) -> dict[str, float]:
    states = Counter(record.state for record in world.ledger.records.values())
    told = {PREPARED: states[IMAGE], QUARANTINED_IMAGES: states[QUARANTINED]}
    return {name: count for name, count in told.items() if count}


def test_the_line_is_in_the_format() -> None:
    line = metric_line(1_000_000_000, "gpu", "dogs", prepared=6, quarantined=2, seconds=0.1)
    found = {datum.name: (datum.values, datum.unit) for datum in parse(line, 1_000_000.0)}
    assert found == {
        PREPARED: ([6.0], "Count"),
        QUARANTINED_IMAGES: ([2.0], "Count"),
        IMAGE_TIME: ([12.5], "Milliseconds"),
    }
    assert "\n" not in line


def test_each_batch_tells_what_is_new() -> None:
    log = Log(World())
    telemetry, progress = log.telemetry(), Progress()
    telemetry.tell(progress, 1.0)
    progress.done, progress.duplicates = 3, 5
    telemetry.tell(progress, 1.0)
    telemetry.tell(progress, 1.0)
    progress.quarantined = 1
    telemetry.tell(progress, 1.0)
    assert len(log.lines) == 2
    assert log.sums() == {PREPARED: 3, QUARANTINED_IMAGES: 1}


def test_nothing_is_told_where_nobody_asked(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    world.upload("a/1.png", picture(1))
    work(world.worker(), 10, 0.0, 30, until_empty=True, tell=Log(world).telemetry(cluster="").tell)
    assert "_aws" not in capsys.readouterr().out


@settings(max_examples=40, deadline=None)
@given(
    images=st.integers(1, 12),
    broken=st.integers(0, 3),
    copies=st.integers(1, 3),
    fault=st.sampled_from(["", "get", "put", "claim", "delete"]),
    threads=st.booleans(),
)
def test_what_is_told_is_what_the_ledger_has(
    images: int, broken: int, copies: int, fault: str, threads: bool
) -> None:
    """However often a message comes, and whatever fails before an answer came."""
    world = World()
    log = Log(world)
    for number in range(images + broken):
        world.upload(f"a/{number}.png", picture(number + 1 if number < images else 0))
    for body in list(world.queue.messages.values()):
        for _ in range(copies - 1):
            world.queue.send(body)
    world.faults = {fault}
    each = {"each": ordered} if threads else {}
    while world.queue.messages:
        with contextlib.suppress(UnavailableError):
            work(world.worker(**each), 4, 0.0, 30, until_empty=True, tell=log.telemetry().tell)
    assert (
        log.sums()
        == ledger(world)
        == {name: count for name, count in ((PREPARED, images), (QUARANTINED_IMAGES, broken)) if count}
    )


def test_a_claim_whose_answer_is_lost_is_told_never_rather_than_twice() -> None:
    world = World()
    log = Log(world)
    world.upload("a/1.png", picture(1))
    world.upload("b/1.png", picture(2))
    world.faults = {"answer"}
    with pytest.raises(UnavailableError):
        work(world.worker(), 4, 0.0, 30, until_empty=True, tell=log.telemetry().tell)
    work(world.worker(), 4, 0.0, 30, until_empty=True, tell=log.telemetry().tell)
    assert (log.sums(), ledger(world)) == ({PREPARED: 1}, {PREPARED: 2})
