"""Why there is no answer. Every error has a `code` that stays; messages may change.

The codes of the function itself stand in `constructs/modelyard/inference/README.md`, the client's own in the
README of this package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

# AWS takes signatures that are up to five minutes old or ahead.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
_SIGNATURE_SECONDS = 300
_LONGEST_MESSAGE = 500


class ApiError(Exception):
    """No prediction.

    Attributes:
        code: Stable, for example `unknown_model`.
        message: For people.
        status: Of HTTP; None where nothing answered.
        request_id: Of the function, by which its operators find the request; None where it was not reached.
        retry_after: Seconds after which trying again makes sense; None where nothing is said about it.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{code}{f' (HTTP {status})' if status else ''}: {message}")
        self.code, self.message, self.status = code, message, status
        self.request_id, self.retry_after = request_id, retry_after


class BadRequestError(ApiError):
    """The request is wrong and stays so: its form, its rows, its images, its size."""


class NotFoundError(ApiError):
    """There is no such model, no approved version of it, or no such image that the function may read."""


class ModelError(ApiError):
    """The model failed on these rows."""


class UnavailableError(ApiError):
    """No answer now, after all attempts within the deadline; the same request may be answered later."""


class AccessDeniedError(ApiError):
    """The credentials may not call this URL, or are wrong or expired."""


class ClockSkewError(AccessDeniedError):
    """The signature was refused, and the clock of this machine is off."""


class UnexpectedAnswerError(ApiError):
    """Something answered that is not the inference function."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: BadRequestError,
    403: AccessDeniedError,
    404: NotFoundError,
    405: BadRequestError,
    413: BadRequestError,
    415: BadRequestError,
    422: BadRequestError,
    424: ModelError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}
# As the function writes them; what an intermediary says is no code of ours.
_CODE = re.compile("[a-z][a-z0-9_]{0,63}")
_OUTSIDE_CODES = {403: "access_denied", 413: "body_too_large", 429: "throttled"}


def of_answer(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> ApiError:
    """The error that an answer says, in the function's own words or in Lambda's.

    Args:
        status: Of HTTP.
        headers: With any case of names that the mapping finds.
        body: As it came.
        now: By the clock of this machine, with its zone.
    """
    retry_after = _retry_after(headers.get("retry-after"), now)
    kind = _BY_STATUS.get(status, UnexpectedAnswerError)
    document = _document(body)
    said = document.get("error")
    if isinstance(said, dict) and _CODE.fullmatch(str(said.get("code"))):
        return kind(
            str(said["code"]),
            str(said.get("message", ""))[:_LONGEST_MESSAGE],
            status=status,
            request_id=document.get("request_id") or headers.get("x-amzn-requestid"),
            retry_after=retry_after,
        )
    # Lambda's own words: it writes "message" and "Message".
    words = str(document.get("Message") or document.get("message") or _text(body))
    code = _OUTSIDE_CODES.get(status, "unavailable" if kind is UnavailableError else "unexpected_answer")
    if code == "unexpected_answer":
        kind = UnexpectedAnswerError
    if status == 403 and (skew := _skew(headers.get("date"), now)):
        kind, code = ClockSkewError, "clock_skew"
        words = f"this machine's clock is {abs(skew)} s {'ahead' if skew > 0 else 'behind'}; set it ({words})"
    return kind(
        code,
        words[:_LONGEST_MESSAGE],
        status=status,
        request_id=headers.get("x-amzn-requestid"),
        retry_after=retry_after,
    )


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(body: bytes) -> str:
    return re.sub(r"\s+", " ", body.decode("utf-8", "replace")).strip() or "no reason given"


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds, from seconds or a date; None for neither.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    date = _date(value)
    return None if date is None else max(0.0, (date - now).total_seconds())


def _skew(value: str | None, now: datetime) -> int:
    """Seconds that this machine is ahead of the server by, 0 where signatures allow for them."""
    date = _date(value)
    seconds = round((now - date).total_seconds()) if date else 0
    return seconds if abs(seconds) >= _SIGNATURE_SECONDS else 0


def _date(value: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(value) if value else None
    except ValueError:
        return None
    return date if date is None or date.tzinfo else date.replace(tzinfo=UTC)
