"""The multi-model endpoint, through `modelyard.runtime.invoke`."""

import json
import uuid
from typing import Any

from modelyard.runtime.invoke import Invoker, ModelError, NotReadyError, RefusedError

from .errors import DeployError


class SageMakerEndpoint:
    """The endpoint, through `invoke.Invoker`."""

    def __init__(self, invoker: Invoker, replay_seconds: float) -> None:
        self._invoker, self._replay_seconds = invoker, replay_seconds

    def predict(self, artifact: str, instances: list[Any]) -> Any:
        answer = self._ask("golden", artifact, instances, self._replay_seconds)
        try:
            return json.loads(answer)["predictions"]
        except (ValueError, KeyError, TypeError) as error:
            raise DeployError('the model\'s answer to golden rows is no {"predictions": [...]}') from error

    def warm(self, artifact: str, instances: list[Any]) -> None:
        self._ask("warm", artifact, instances, 0)

    def _ask(self, purpose: str, artifact: str, instances: list[Any], retry_seconds: float) -> bytes:
        body = json.dumps({"instances": instances}).encode()
        try:
            return self._invoker.invoke(
                artifact, body, retry_seconds=retry_seconds, request_id=f"{purpose}-{uuid.uuid4()}"
            )
        except (NotReadyError, ModelError, RefusedError) as error:
            raise DeployError(f"{purpose} rows got no prediction: {error}") from error
