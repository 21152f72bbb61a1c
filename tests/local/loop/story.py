"""What the chapters of the loop share: the deployed app, and the clients that people use."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from modelyard_cli.demo import commands, phases
from modelyard_cli.errors import CliError
from modelyard_cli.executions import start, watch
from modelyard_cli.predict import invoke
from tests.local.loop.grants import Decision, Grant, Names, read_audit

MODEL = phases.MODEL
WAIT_S = 300.0


@dataclass
class Story:
    """The deployed app, and what one chapter leaves for the next.

    `grants` is what the roles of the stacks could do once deployed, `others` the data of other pipelines than
    the one that the loop tells of, `runs` the last execution of each.
    """

    environment: dict[str, str]
    outputs: dict[str, str]
    administrator: boto3.Session
    scientist: boto3.Session
    approver: boto3.Session
    data: phases.Data
    folder: Path
    names: Names
    grants: list[Grant]
    others: dict[str, phases.Data] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)

    @property
    def account(self) -> str:
        return self.outputs["DataScientistRoleArn"].split(":")[4]

    @property
    def region(self) -> str:
        return self.environment["AWS_DEFAULT_REGION"]

    @property
    def bootstrap_bucket(self) -> str:
        return f"cdk-hnb659fds-assets-{self.account}-{self.region}"

    def aws(self, person: boto3.Session, *arguments: str) -> Any:
        """The AWS CLI as one of the people."""
        return self._command(person, "aws", *arguments, "--output", "json")

    def modelyard(self, person: boto3.Session, *arguments: str) -> Any:
        """This project's own command as one of the people."""
        return self._command(person, "modelyard", *arguments, "--json")

    def _command(self, person: boto3.Session, *command: str) -> Any:
        keys = person.get_credentials().get_frozen_credentials()
        environment = commands.base_environment() | self.environment | {
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            **({"AWS_SESSION_TOKEN": keys.token} if keys.token else {}),
        }  # fmt: skip
        done = subprocess.run(
            [str(commands.BIN / command[0]), *command[1:]],
            env=environment, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return invoke(self.outputs["FunctionUrl"], MODEL, rows, self.scientist)

    def run(self, **parameters: str) -> dict[str, Any]:
        """Run the pipeline to its end; returns the execution with its steps."""
        return self.watch(self.start(MODEL, self.data, **parameters))

    def start(self, pipeline: str, data: phases.Data, **parameters: str) -> str:
        """Start a pipeline on its data as the data scientist; returns the execution's ARN."""
        values = {**phases.upload(self.scientist, self.outputs, data), **parameters}
        given = [{"Name": name, "Value": value} for name, value in values.items()]
        return start(self.scientist.client("sagemaker"), pipeline, given)

    def watch(self, execution: str) -> dict[str, Any]:
        """An execution at its end, with its steps."""
        *_, final = watch(self.scientist.client("sagemaker"), execution, 0.3)
        return final.as_json()

    def decisions(self, since: float = 0.0) -> list[Decision]:
        """What IAM decided since a moment, oldest first."""
        return read_audit(self.folder / "state" / "audit.jsonl", self.administrator.client("iam"), since)


def eventually(look: Callable[[], Any], seconds: float = WAIT_S) -> Any:
    """What `look` returns once it no longer raises a CliError or an AssertionError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return look()
        except (CliError, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
