"""What the function of training jobs makes when it is loaded."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from typing import Any

import boto3
import pytest

from tests.unit.training_jobs_world import SETTINGS

NAME = "training_runtime.handler"


@pytest.mark.parametrize("driver", ["", "arn:aws:states:eu-west-1:1:stateMachine:driver"])
def test_clients_are_made_once(monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    """One takes long to make; EC2's is for hosts that are ended, of the cluster or single ones."""
    asked: list[str] = []

    class Client:
        """Of a cluster with one task on one host."""

        def describe_tasks(self, cluster: str, tasks: list[str]) -> dict[str, Any]:
            return {"tasks": [{"taskArn": arn, "containerInstanceArn": "host"} for arn in tasks]}

        def describe_container_instances(self, **_: Any) -> dict[str, Any]:
            return {"containerInstances": [{"containerInstanceArn": "host", "ec2InstanceId": "i-1"}]}

        def terminate_instances(self, **_: Any) -> None:
            pass

        def deregister_container_instance(self, **_: Any) -> None:
            pass

    def client(name: str) -> Client:
        asked.append(name)
        return Client()

    monkeypatch.setattr(boto3, "client", client)
    for name, value in replace(SETTINGS, driver_arn=driver).to_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    handler = importlib.import_module(NAME)
    monkeypatch.delitem(sys.modules, NAME)
    assert "ec2" not in asked
    for _ in range(2):
        assert handler.PORTS.hosts.evict(["task"]) == ("task",)
    assert {name: asked.count(name) for name in asked} == dict.fromkeys(asked, 1)
