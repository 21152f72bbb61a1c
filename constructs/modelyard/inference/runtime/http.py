"""Function URL events (payload format 2.0) in, its responses out.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ApiError, malformed, too_many_rows

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, less status and headers.
_MAX_ANSWER_BYTES = 6_291_456 - 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request; `media_type` is its content type without parameters, `query` as it was sent."""

    method: str
    path: str
    query: str
    media_type: str
    body: bytes


def parse(event: Any, max_body_bytes: int) -> Request:
    """Raises ApiError for a body that is too large or not what its encoding says, and for any other event."""
    if not _is_request(event):
        raise malformed("this is no event of a function URL; call the URL, or send what it would")
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    return Request(
        method=event["requestContext"]["http"]["method"],
        path=event.get("rawPath") or "/",
        query=event.get("rawQueryString") or "",
        media_type=_media_type(headers.get("content-type", "")),
        body=_body(event, max_body_bytes),
    )


def _is_request(event: Any) -> bool:
    """Who may invoke the function can send it anything; an exception would count against its version."""
    if not isinstance(event, dict) or not isinstance(event.get("requestContext"), dict):
        return False
    http, headers = event["requestContext"].get("http"), event.get("headers") or {}
    if not isinstance(http, dict) or not isinstance(headers, dict):
        return False
    texts = [event.get(name) or "" for name in ("rawPath", "rawQueryString", "body")]
    return all(isinstance(text, str) for text in (http.get("method"), *headers.values(), *texts))


def response(status: int, content: Mapping[str, Any], **headers: str) -> dict[str, Any]:
    """A JSON response; `retry_after="5"` becomes the header `retry-after: 5`.

    Raises ApiError for more than Lambda returns.
    """
    body = json.dumps(content, allow_nan=False, separators=(",", ":"))
    # Lambda counts it as text within JSON.
    if len(body) + body.count('"') + body.count("\\") > _MAX_ANSWER_BYTES:
        raise too_many_rows("the answer is over the 6 MB that Lambda returns; ask for less in one request")
    return {
        "statusCode": status,
        "headers": {
            "content-type": "application/json",
            "cache-control": "no-store",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        "body": body,
    }


def _media_type(content_type: str) -> str:
    media_type, *parameters = content_type.lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise ApiError(415, "unsupported_media_type", "the body must be in UTF-8")
    return media_type.strip()


def _body(event: Mapping[str, Any], limit: int) -> bytes:
    text: str = event.get("body") or ""
    encoded = bool(event.get("isBase64Encoded"))
    # Four characters carry three bytes, so that an oversized body is refused before it is decoded.
    if (len(text) // 4 * 3 - 2 if encoded else len(text)) > limit:
        raise _too_large(limit)
    if not encoded:
        body = text.encode(errors="surrogatepass")
    else:
        try:
            body = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise malformed(f"the body is not valid base64: {error}") from error
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> ApiError:
    return ApiError(
        413, "body_too_large", f"the body is over {limit} bytes; send the rows in several requests"
    )
