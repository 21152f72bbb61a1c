"""A host that is lost: what its tasks are told to have ended of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from localcloud.context import Cloud
from localcloud.ec2.interruptions import Notices
from localcloud.ecs import interruption
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

    def __init__(self) -> None:
        self.hosts, self.lost = self, list[str]()

    def drains(self, _record: dict[str, Any]) -> bool:
        return False

    def lose(self, instance: str) -> None:
        self.lost.append(instance)


def test_a_notice_may_be_taken_back(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Any] = []
    monkeypatch.setattr(interruption, "emit", lambda *members: events.append(members))
    store, hosts = Store(tmp_path / "ecs.db"), Hosts()
    record = {
        "containerInstanceArn": "arn/2",
        "ec2InstanceId": "i-1",
        "_cluster": "yard",
        "_zone": "us-east-1a",
    }
    store.create(HOST, PLACE, record)
    spot, notices, file = (
        interruption.Interruptions(cloud, store, cast(Any, hosts)),
        Notices(cloud.folder),
        cloud.folder.interruptions,
    )
    file.write_text('{"i-1": 3600}')
    spot.tick()
    assert (len(events), notices.due("i-1"), "spot/instance-action" in notices.facts("i-1")) == (
        1,
        False,
        True,
    )
    for nothing in (b"{}", b"[1]", b"\xff", b'{"i-1": "soon"}'):
        file.write_bytes(nothing)
        spot.tick()
        assert notices.facts("i-1") == {}
    assert hosts.lost == []
    file.write_text('{"i-1": 0}')
    spot.tick()
    spot.tick()
    assert (hosts.lost, len(events), notices.due("i-1")) == (["i-1"], 2, True)
    store.close()


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
