"""Executions of the state machine, through the `stepfunctions` client."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from .attempt import Attempt
from .aws_errors import code


class StepFunctions:
    """One execution for each part of an attempt, named after it; `ports.Executions`."""

    def __init__(self, client: Any, state_machine_arn: str) -> None:
        self._client, self._machine = client, state_machine_arn

    def start(self, attempt: Attempt) -> None:
        try:
            self._client.start_execution(
                stateMachineArn=self._machine,
                name=attempt.execution,
                input=json.dumps(attempt.to_document(), sort_keys=True),
            )
        except ClientError as error:
            # Names are used once: whoever asks again hears this, even after the execution has ended.
            if code(error) != "ExecutionAlreadyExists":
                raise

    def status(self, attempt: Attempt) -> str | None:
        last = None
        while (status := self._status(attempt)) is not None:
            last, attempt = status, replace(attempt, part=attempt.part + 1)
        return last

    def _status(self, attempt: Attempt) -> str | None:
        place = self._machine.replace(":stateMachine:", ":execution:")
        try:
            answer = self._client.describe_execution(executionArn=f"{place}:{attempt.execution}")
        except ClientError as error:
            if code(error) == "ExecutionDoesNotExist":
                return None
            raise
        return str(answer["status"])
