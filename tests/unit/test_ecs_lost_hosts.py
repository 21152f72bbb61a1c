"""A host that is lost: what its tasks are told to have ended of."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from localcloud.context import Cloud
from localcloud.ec2.interruptions import Notices
from localcloud.ecs import host_operations, interruption
from localcloud.ecs.names import Names
from localcloud.ecs.runner import Runner
from localcloud.ecs.service import HOST, TASK
from localcloud.folder import StateFolder
from localcloud.sagemaker.store import Store

KEY, PLACE = "yard/1", "yard/2"


class Run:
    """Stands for the processes of a task: notes what was known of it when they were ended."""

    def __init__(self, store: Store, host: str) -> None:
        self.host, self._store = host, store
        self.known: list[str] = []

    def stop(self, _most_grace: float) -> None:
        """Its end takes a while."""

    def cut(self) -> None:
        self.known.append(self._store.get(TASK, KEY).get("stopCode", "none"))


@pytest.fixture(name="cloud")
def cloud_fixture(tmp_path: Path) -> Cloud:
    return Cloud(
        account="000000000000",
        region="us-east-1",
        endpoint_url="https://localhost:1",
        ca_bundle=tmp_path / "ca.pem",
        folder=StateFolder(tmp_path),
    )


class Hosts:
    """Stands for the groups: notes which instances were taken."""

    def __init__(self, *, drains: bool = False) -> None:
        self.hosts, self.lost, self._drains = self, list[str](), drains

    def drains(self, _record: dict[str, Any]) -> bool:
        return self._drains

    def lose(self, instance: str) -> None:
        self.lost.append(instance)


@pytest.fixture(name="events")
def events_fixture(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    events: list[Any] = []
    monkeypatch.setattr(interruption, "emit", lambda *members: events.append(members))
    return events


@pytest.fixture(name="store")
def store_fixture(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "ecs.db")
    record = {
        "containerInstanceArn": "arn/2",
        "ec2InstanceId": "i-1",
        "status": "ACTIVE",
        "_cluster": "yard",
        "_zone": "us-east-1a",
    }
    store.create(HOST, PLACE, record)
    yield store
    store.close()


def spot_of(cloud: Cloud, store: Store, hosts: Hosts) -> interruption.Interruptions:
    return interruption.Interruptions(cloud, store, cast(Any, hosts))


def state(store: Store) -> str:
    return str(store.get(HOST, PLACE)["status"])


def test_a_notice_may_be_taken_back(cloud: Cloud, store: Store, events: list[Any]) -> None:
    hosts = Hosts()
    spot, notices, file = spot_of(cloud, store, hosts), Notices(cloud.folder), cloud.folder.interruptions
    for take_back in (lambda: file.write_text("{}"), file.unlink):
        file.write_text('{"i-1": 3600}')
        spot.tick()
        assert not notices.due("i-1")
        assert "spot/instance-action" in notices.facts("i-1")
        take_back()
        spot.tick()
        assert notices.facts("i-1") == {}
    assert (hosts.lost, len(events)) == ([], 2)
    file.write_text('{"i-1": 0}')
    spot.tick()
    spot.tick()
    assert (hosts.lost, len(events), notices.due("i-1")) == (["i-1"], 3, True)


def test_a_file_that_is_none_changes_nothing(cloud: Cloud, store: Store, events: list[Any]) -> None:
    """Whoever writes it first empties it, and may be seen in the middle."""
    hosts = Hosts()
    spot, notices, file = spot_of(cloud, store, hosts), Notices(cloud.folder), cloud.folder.interruptions
    file.write_text('{"i-1": 3600}')
    spot.tick()
    since = notices.facts("i-1")
    assert since
    for nothing in (b"", b'{"i-1": 36', b"[1]", b"\xff", b'{"i-1": "soon"}'):
        file.write_bytes(nothing)
        spot.tick()
        assert notices.facts("i-1") == since
    file.write_text('{"i-1": 3600}')
    spot.tick()
    assert (hosts.lost, len(events), notices.facts("i-1")) == ([], 1, since)


@pytest.mark.parametrize("nothing", [b"", b"\xff", None])
def test_a_file_that_cannot_be_read_is_told_of_once(
    cloud: Cloud, caplog: pytest.LogCaptureFixture, nothing: bytes | None
) -> None:
    file, notices = cloud.folder.interruptions, Notices(cloud.folder)
    if nothing is None:
        file.mkdir()
    else:
        file.write_bytes(nothing)
    assert [notices.facts("i-1"), notices.facts("i-1")] == [{}, {}]
    (told,) = caplog.records
    assert str(file) in told.getMessage()


def test_a_host_takes_tasks_again_when_its_notice_is_taken_back(
    cloud: Cloud, store: Store, events: list[Any]
) -> None:
    hosts, file = Hosts(drains=True), cloud.folder.interruptions
    spot = spot_of(cloud, store, hosts)
    file.write_text('{"i-1": 3600}')
    spot.tick()
    assert state(store) == "DRAINING"
    file.write_text("{}")
    spot.tick()
    assert state(store) == "ACTIVE"
    # Also one that was warned before the cloud started again.
    file.write_text('{"i-1": 3600}')
    spot.tick()
    file.unlink()
    spot = spot_of(cloud, store, hosts)
    spot.tick()
    assert state(store) == "ACTIVE"
    # One that is gone does not.
    file.write_text('{"i-1": 0}')
    spot.tick()
    file.unlink()
    spot.tick()
    assert (hosts.lost, state(store)) == (["i-1"], "DRAINING")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_host_that_somebody_drains_goes_on_draining(
    cloud: Cloud, store: Store, events: list[Any], when: str
) -> None:
    spot, file = spot_of(cloud, store, Hosts(drains=True)), cloud.folder.interruptions
    asked = functools.partial(host_operations._set_state, "DRAINING")
    if when == "before":
        store.update(HOST, PLACE, asked)
    file.write_text('{"i-1": 3600}')
    spot.tick()
    if when == "after":
        store.update(HOST, PLACE, asked)
    file.unlink()
    spot.tick()
    assert state(store) == "DRAINING"


def test_the_reason_is_there_before_the_containers_end(cloud: Cloud, tmp_path: Path) -> None:
    store, names = Store(tmp_path / "ecs.db"), Names(cloud.region, cloud.account)
    runner = Runner(cloud, store, names, 4)
    host = names.arn("container-instance", PLACE)
    store.create(
        HOST,
        PLACE,
        {"containerInstanceArn": host, "ec2InstanceId": "i-1", "status": "ACTIVE", "_cluster": "yard"},
    )
    task: dict[str, Any] = {
        "taskArn": names.arn("task", KEY),
        "containerInstanceArn": host,
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "version": 1,
        "_cluster": "yard",
        "_placed": True,
    }
    store.create(TASK, KEY, task)
    run = Run(store, host)
    runner._active[KEY], runner._running[KEY] = None, cast(Any, run)
    # No group has it any more.
    runner.refresh({"clusterName": "yard", "capacityProviders": []})
    assert run.known == ["TerminationNotice"]
    assert store.get(TASK, KEY)["stoppedReason"] == "Host EC2 (instance i-1) terminated."
    runner._running.clear()
    runner.close()
    store.close()
