"""What the environment says about this server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from training.common.failure import UserError

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
ALL_INTERFACES = "0.0.0.0"  # noqa: S104  SageMaker calls a container from outside it
MODEL_SHARE = 0.7  # of the memory; the rest is for the interpreter, XGBoost and requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`max_rows` per request, `max_body_bytes` of a request, `model_bytes` for all loaded models together;
    `evict`: make room without being told; `max_images` per request, `max_pixels` of an image; `max_requests`
    in flight and waiting, `max_held_bytes` of their bodies, `receive_s` for one to arrive; `metrics_port` on
    the loopback address; `access_log`: a line for each request."""

    host: str = ALL_INTERFACES
    port: int = 8080
    multi_model: bool = False
    max_rows: int = 100_000
    max_body_bytes: int = 6 * 1024 * 1024
    model_bytes: int = 1024**3
    max_images: int = 64
    max_pixels: int = 25_000_000
    evict: bool = False
    max_requests: int = 128
    max_held_bytes: int = 64 * 1024 * 1024
    receive_s: int = 20
    drain_s: int = 30
    metrics_port: int | None = None
    access_log: bool = False

    @classmethod
    def from_environment(cls) -> Settings:
        """Raises UserError for a variable that is no positive number."""
        return cls(
            host=os.environ.get("UVICORN_HOST") or ALL_INTERFACES,
            port=_number("SAGEMAKER_BIND_TO_PORT", 8080),
            multi_model=os.environ.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true",
            max_rows=_number("SERVING_MAX_ROWS", 100_000),
            max_body_bytes=_number("SERVING_MAX_BODY_BYTES", 6 * 1024 * 1024),
            model_bytes=_number("SERVING_MODEL_BYTES", int(memory_bytes() * MODEL_SHARE)),
            max_images=_number("SERVING_MAX_IMAGES", 64),
            max_pixels=_number("SERVING_MAX_PIXELS", 25_000_000),
            evict=os.environ.get("SERVING_EVICT", "").lower() == "true",
            max_requests=_number("SERVING_MAX_REQUESTS", 128),
            max_held_bytes=_number("SERVING_MAX_HELD_BYTES", 64 * 1024 * 1024),
            receive_s=_number("SERVING_RECEIVE_SECONDS", 20),
            metrics_port=_number("SERVING_METRICS_PORT", 0) or None,
            access_log=os.environ.get("SERVING_ACCESS_LOG", "").lower() == "true",
            drain_s=_number("SERVING_DRAIN_SECONDS", 30),
        )


def memory_bytes() -> int:
    """The container's memory limit, or the machine's memory where there is none."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = int(CGROUP_LIMIT.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return machine
    return min(limit, machine)


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        raise UserError(f"environment variable {name} needs a whole number, got {text!r}") from None
    if value < 1:
        raise UserError(f"environment variable {name} must be at least 1, got {value}")
    return value
