"""The deployed app, and means to break what it stands on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import pytest

from benchmarks.deployed import MODEL, Deployed, archive, row
from benchmarks.traffic import Answer, Caller, Traffic
from modelyard_client import BadRequestError, Client

TREES = 10
# Requests to the model wait until that is over.
_WAITING = {
    "service": "sagemaker", "path": "/endpoints/", "operation": "POST", "when": "before", "hold_s": 60.0
}  # fmt: skip


class App(Deployed):
    """The app, with versions that cost nothing to make."""

    made = 0

    def new_version(self) -> int:
        """Register a version unlike all others; nobody has decided on it."""
        self.made += 1
        return self.register(archive(scale=float(self.made), trees=TREES))

    def traffic(self, callers: int = 3, per_second: float | None = 20.0) -> Traffic:
        """Callers of the function URL, some at once; none of them tries again."""
        return Traffic(self._caller(callers), callers=callers, per_second=per_second)

    def ask(self) -> Answer:
        """One request."""
        return self._caller(1).ask()

    def refused(self) -> str:
        """Have the model refuse a row; the id of the request."""
        session = self.scientist
        credentials, region = session.get_credentials(), session.region_name
        with (
            Client(self.outputs["FunctionUrl"], credentials=credentials, region=region) as client,
            pytest.raises(BadRequestError) as caught,
        ):
            client.predict(MODEL, [{"no feature": 1}])
        assert caught.value.code == "invalid_instances"
        assert caught.value.request_id
        return caught.value.request_id

    def lines(self, stack: str, logical: str, word: str) -> list[dict[str, Any]]:
        """Those of a log that hold `word`, without Lambda's own."""
        pages = self.client("logs").get_paginator("filter_log_events")
        found = pages.paginate(logGroupName=self.physical(stack, logical), filterPattern=f'"{word}"')
        said = [event["message"] for page in found for event in page["events"]]
        return [json.loads(line) for line in said if line.startswith("{")]

    def answers(self) -> bool:
        """Whether a request gets its prediction."""
        return self.ask().status == 200

    def _caller(self, callers: int) -> Caller:
        return Caller(self.outputs["FunctionUrl"], self.scientist, [MODEL], [row()], callers)

    @contextmanager
    def fault(self, *faults: dict[str, Any]) -> Iterator[None]:
        """AWS fails so until the block ends; see `localcloud.faults`."""
        # At once: who reads half of it would take it for none.
        new = self.state.faults.with_suffix(".new")
        new.write_text(json.dumps(faults))
        new.replace(self.state.faults)
        try:
            yield
        finally:
            self.state.faults.unlink()

    def warm(self, callers: int = 3) -> None:
        """So many requests at once find a process of the function each, which knows what serves."""
        struck = self.struck()
        # Whom the endpoint keeps waiting holds its process: the next request needs another one.
        with self.traffic(callers), self.fault(_WAITING):
            self.wait(lambda: self.struck() >= struck + callers)

    def kill_workers(self, function: str) -> None:
        """End the processes of a function; none of them is left to be asked."""
        killed = self.workers(function)
        for worker in killed:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        self.wait(lambda: not any(map(_lives, killed)))

    @contextmanager
    def only_asked(self) -> Iterator[None]:
        """The deployer looks when the test has it look: no approval, no schedule, no second attempt."""
        events, lambda_ = self.client("events"), self.client("lambda")
        rules = [
            self.physical("serving", f"Deployer{rule}") for rule in ("Approval", "Periodic1", "Periodic2")
        ]
        function = {"FunctionName": self.physical("serving", "DeployerFunction"), "Qualifier": "$LATEST"}
        known = lambda_.get_function_event_invoke_config(**function)
        deployed = {name: known[name] for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")}
        for rule in rules:
            events.disable_rule(Name=rule)
        lambda_.put_function_event_invoke_config(**function, **{**deployed, "MaximumRetryAttempts": 0})
        try:
            yield
        finally:
            lambda_.put_function_event_invoke_config(**function, **deployed)
            for rule in rules:
                events.enable_rule(Name=rule)

    def look(self) -> None:
        """Have the deployer look, and do not wait for it."""
        function = self.physical("serving", "DeployerFunction")
        self.client("lambda").invoke(
            FunctionName=function, InvocationType="Event", Payload=json.dumps({"group": MODEL})
        )

    def struck(self) -> int:
        """How many requests have met a fault so far."""
        return self.state.server_log.read_text().count("fault: ")

    def artifact(self) -> dict[str, str]:
        """Bucket and key of what serves."""
        key = f"models/multi/{self.record()['serving']['artifact']}"
        return {"Bucket": self.outputs["DataBucketName"], "Key": key}

    def exists(self, place: dict[str, str]) -> bool:
        found = self.client("s3").list_objects_v2(Bucket=place["Bucket"], Prefix=place["Key"])
        return bool(found["KeyCount"])

    def kill_server(self) -> None:
        """End the model server of one instance, at once."""
        self.servers()[0].kill()


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
