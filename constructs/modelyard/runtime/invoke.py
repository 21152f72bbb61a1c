"""InvokeEndpoint on a multi-model endpoint, patient with a model that the endpoint must load first.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

import json
import random
import time
from collections.abc import Callable
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError
from urllib3.exceptions import HTTPError as TransportError

from modelyard.runtime.limits import ANSWER_SECONDS, CANARY_ANSWER_SECONDS

# No retries by botocore: they would multiply with the ones here.
CONFIG = Config(
    connect_timeout=5, read_timeout=ANSWER_SECONDS, retries={"total_max_attempts": 1}, tcp_keepalive=True
)
CANARY_CONFIG = CONFIG.merge(Config(read_timeout=CANARY_ANSWER_SECONDS))

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_TRY_AGAIN = frozenset({429, 500, 502, 503, 504, 530})
# From the model's own server: too busy, or no memory for one more model until another is unloaded.
_MODEL_TRY_AGAIN = frozenset({429, 503, 507})
# SageMaker's status of a container that gave no answer. What ends one container may end the next, too: few
# attempts, so that one request does not take down an endpoint.
_NO_ANSWER, _LOST_ATTEMPTS = 0, 3

_LONGEST_SAID = 2000
# No answer, or none that is whole: botocore lets through what happens while it reads a body, and what its
# parsers make of one that something between has written.
BROKEN = (HTTPClientError, BotoConnectionError, IncompleteReadError, TransportError, UnicodeDecodeError)


class NotReadyError(Exception):
    """No answer yet though the request may be fine: a cold model, throttling, a fault that passes."""


class LostError(NotReadyError):
    """The container ended, or stood still, with the request."""


class ModelError(Exception):
    """The model's server answered with an error; `status` and `message` are its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the model answered {status}: {message}")
        self.status = status
        self.message = message


class RefusedError(Exception):
    """The endpoint does not take the call: it or the artifact is missing, or the role may not invoke it."""


class Invoker:
    """Calls one endpoint through a `sagemaker-runtime` client made with `CONFIG` or `CANARY_CONFIG`."""

    def __init__(
        self,
        client: Any,
        endpoint_name: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._endpoint_name, self._sleep, self._clock = client, endpoint_name, sleep, clock

    def invoke(self, target_model: str, body: bytes, *, retry_seconds: float, request_id: str) -> bytes:
        """The model's answer to a JSON body. New attempts start for `retry_seconds`; each lasts at most
        as long as the client's configuration says. `request_id` (visible ASCII, at most 64 characters) names
        the request in captured data and in the log of the model's server. Raises NotReadyError, ModelError
        or RefusedError."""
        deadline = self._clock() + retry_seconds
        pause, lost = _FIRST_PAUSE, 0
        while True:
            try:
                return self._once(target_model, body, request_id)
            except NotReadyError as error:
                lost += isinstance(error, LostError)
                if lost == _LOST_ATTEMPTS or self._clock() + pause > deadline:
                    raise
            self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads callers, hides nothing
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(self, target_model: str, body: bytes, request_id: str) -> bytes:
        try:
            answer = self._client.invoke_endpoint(
                EndpointName=self._endpoint_name,
                TargetModel=target_model,
                Body=body,
                ContentType="application/json",
                Accept="application/json",
                InferenceId=request_id,
                # Handed on to the container as a header: its log names requests so.
                CustomAttributes=request_id,
            )
            with answer["Body"] as stream:
                return bytes(stream.read())
        except BROKEN as error:
            raise NotReadyError(f"no answer from the endpoint: {error}") from error
        except ClientError as error:
            raise _meaning(error) from error


def _meaning(error: ClientError) -> Exception:
    said = error.response.get("Error", {})  # to botocore, an answer of 300 has none
    code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    if code == "ModelError":
        status = int(error.response.get("OriginalStatusCode", 500))
        message = _said(str(error.response.get("OriginalMessage") or message))
        if status == _NO_ANSWER:
            return LostError(message)
        return NotReadyError(message) if status in _MODEL_TRY_AGAIN else ModelError(status, message)
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if "Throttl" in code or status in _TRY_AGAIN:
        return NotReadyError(f"{code}: {message}")
    return RefusedError(f"{code or status}: {message}")


def _said(message: str) -> str:
    """What the model's server said, as one line; our own server says it as {"error": "..."}."""
    try:
        answer = json.loads(message)
    except (ValueError, RecursionError):
        answer = None
    said = answer.get("error") if isinstance(answer, dict) else None
    line = " ".join((said if isinstance(said, str) else message).split())[:_LONGEST_SAID]
    return "".join(letter if letter.isprintable() else "?" for letter in line) or "it gave no reason"
