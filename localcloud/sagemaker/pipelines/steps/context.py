"""What a step has at hand while it runs."""

import secrets
import string
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from localcloud.aws.errors import RoleNotAssumable
from localcloud.sagemaker.pipelines.conditions import ConditionError
from localcloud.sagemaker.pipelines.execution import Execution, ExecutionScope
from localcloud.sagemaker.pipelines.expressions import ExpressionError, resolve
from localcloud.sagemaker.pipelines.failures import StepFailure, StepStopped, call_failure
from localcloud.sagemaker.pipelines.model import Step
from localcloud.sagemaker.pipelines.records import StepRecord
from localcloud.sagemaker.store import Store

_RANDOM = string.ascii_letters + string.digits
_MAX_NAME = 63


class StopSignal:
    """Tells the running steps of an execution to stop, whatever they are doing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._actions: dict[object, Callable[[], None]] = {}

    @property
    def given(self) -> bool:
        """Whether the execution is being stopped."""
        return self._event.is_set()

    def give(self) -> None:
        """Stop: runs what the steps have asked for."""
        with self._lock:
            self._event.set()
            actions = list(self._actions.values())
        for action in actions:
            action()

    def on_stop(self, owner: object, action: Callable[[], None]) -> None:
        """Run an action when the signal is given, at once if it was given already."""
        with self._lock:
            self._actions[owner] = action
            late = self._event.is_set()
        if late:
            action()

    def forget(self, owner: object) -> None:
        """Drop the owner's action."""
        with self._lock:
            self._actions.pop(owner, None)

    def pause(self, seconds: float) -> None:
        """Wait, and raise StepStopped when the signal is given meanwhile."""
        if self._event.wait(seconds):
            raise StepStopped


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A step that went well.

    Args:
        properties: what later steps may refer to, the Describe operation's answer, times as epoch seconds.
        metadata: what the step list shows, for example `{"TrainingJob": {"Arn": ...}}`.
        outcome: of a Condition step, else None.
    """

    properties: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    outcome: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepContext:
    """One attempt at one step."""

    step: Step
    execution: Execution
    scope: ExecutionScope
    record: StepRecord
    stop: StopSignal
    store: Store

    def resolve(self, value: Any) -> Any:
        """A value with its expressions replaced. Raises StepFailure when one has no value."""
        try:
            return resolve(value, self.scope)
        except (ExpressionError, ConditionError) as error:
            raise StepFailure(f"ClientError: Step {self.step.name!r}: {error}") from error
        except RoleNotAssumable as error:
            raise StepFailure(f"ClientError: {error}") from error

    def arguments(self) -> dict[str, Any]:
        """The step's arguments, resolved."""
        arguments: dict[str, Any] = self.resolve(dict(self.step.arguments))
        return arguments

    def target(self) -> Any:
        """The step's function or queue, resolved; None where it has none."""
        return self.resolve(self.step.target)

    def call(
        self, operation: str, arguments: Mapping[str, Any], *, service: str = "sagemaker"
    ) -> dict[str, Any]:
        """Call an AWS API as the execution role.

        Returns:
            The answer, times as epoch seconds.

        Raises:
            StepFailure: the call was refused or did not get through.
        """
        try:
            client = self.scope.session.client(service)
            answer = getattr(client, xform_name(operation))(**arguments)
        except RoleNotAssumable as error:
            raise StepFailure(
                f"ClientError: Failed to invoke {service}:{operation}. Error Details: {error}"
            ) from error
        except (ClientError, BotoCoreError) as error:
            raise call_failure(f"{service}:{operation}", error) from error
        answer.pop("ResponseMetadata", None)
        plain: dict[str, Any] = _plain(answer)
        return plain

    def named(self, job_name: str) -> "StepContext":
        """The same attempt, with `Execution.TrainingJobName` and `Execution.ProcessingJobName` known."""
        return replace(self, scope=replace(self.scope, job_name=job_name))

    def new_name(self, prefix: Any = None) -> str:
        """A name for what this attempt creates: `pipelines-<execution id>-<step>-<ten random characters>`.

        Args:
            prefix: the job's name in the definition, if any: it takes the place of `pipelines` and the step.
        """
        tail = "".join(secrets.choice(_RANDOM) for _ in range(10))
        if isinstance(prefix, str) and prefix:
            return f"{prefix[: _MAX_NAME - 24].rstrip('-')}-{self.execution.id}-{tail}"
        room = _MAX_NAME - len(f"pipelines-{self.execution.id}--{tail}")
        part = self.step.name.replace("_", "-")[:room].strip("-")
        return f"pipelines-{self.execution.id}-{part}-{tail}"

    def tags(self, arguments: Mapping[str, Any]) -> list[dict[str, str]]:
        """The definition's tags and the one that AWS adds, by which lineage finds the execution."""
        own = [dict(tag) for tag in arguments.get("Tags") or []]
        return [*own, {"Key": "sagemaker:pipeline-execution-arn", "Value": self.execution.arn}]


Run = Callable[[StepContext], StepResult]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.timestamp() if isinstance(value, datetime) else value
