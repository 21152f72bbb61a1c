"""What is sent to the endpoint, whichever form the request had."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.runtime.limits import INVOKE_BYTES

from .errors import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """`body` asks `model` for `count` predictions; `invalid`: the code if the model cannot take it."""

    model: str
    body: bytes
    count: int
    invalid: str


def of_rows(model: str, rows: Sequence[dict[str, Any]]) -> Payload:
    """Raises ApiError for more than SageMaker takes."""
    body = json.dumps({"instances": rows}, separators=(",", ":")).encode()
    # Larger than what came in, where text is not ASCII or CSV named the features once.
    if len(body) > INVOKE_BYTES:
        message = f"the rows are over {INVOKE_BYTES} bytes as JSON; send them in several requests"
        raise ApiError(413, "body_too_large", message)
    return Payload(model=model, body=body, count=len(rows), invalid="invalid_instances")
