"""How a service of ours joins MiniStack: its dispatcher verifies the signature, then calls us."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from localcloud.aws.identity import Caller, caller_of

# Not asyncio's default pool: that one runs Lambda functions, which call back into these handlers.
_WORKERS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One signed request: `headers` by lower-case name, `query` with every value of a name."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, list[str]]
    caller: Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What goes back over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def register(signing_name: str, handle: Callable[[Request], Response]) -> None:
    """Serve requests signed for `signing_name`, for example `sagemaker`.

    Args:
        signing_name: the service in the signature's credential scope.
        handle: runs in a worker thread. The caller's signature has been verified; whether the
            caller may do this is the handler's to ask, through `localcloud.aws.identity.require`.

    Example:
        >>> register("sagemaker", lambda request: Response(status=200, headers={}, body=b"{}"))
    """
    from ministack import app
    from ministack.core import router

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> tuple[int, dict[str, str], bytes]:
        caller = caller_of(headers, query)
        if caller.region != os.environ.get("AWS_REGION", caller.region):
            return _other_region(caller.region)
        request = Request(method=method, path=path, headers=headers, body=body, query=query, caller=caller)
        context = contextvars.copy_context()
        response = await asyncio.get_running_loop().run_in_executor(_WORKERS, context.run, handle, request)
        return response.status, dict(response.headers), response.body

    module: Any = SimpleNamespace(
        handle_request=handle_request,
        # Our services keep their own state: MiniStack has nothing of theirs to save, restore or reset.
        get_state=lambda: None,
        load_persisted_state=lambda _data: None,
        reset=lambda: None,
    )
    name = f"modelyard_{signing_name.replace('-', '_')}"
    app._loaded_modules[name] = module
    app.SERVICE_REGISTRY[signing_name] = {"module": name}
    app.SERVICE_HANDLERS[signing_name] = app._lazy_handler(name)
    # For a scope without patterns the router loads botocore's models of all services, on the event loop.
    router.SERVICE_PATTERNS.setdefault(signing_name, {})


def _other_region(region: str) -> tuple[int, dict[str, str], bytes]:
    """Our services have one region; a resource made for another one would lie in the wrong place.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
    """
    error = {
        "__type": "InvalidSignatureException",
        "message": f"Credential should be scoped to a valid region, not '{region}'. ",
    }
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": error["__type"]}
    return 403, headers, json.dumps(error).encode()
