"""What the construct tells the function: written by one, read by the other, through this class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.runtime.limits import ANSWER_SECONDS, CANARY_SECONDS

# Of a request's time, to read its images.
IMAGE_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Environment of the inference handler.

    `models`: names that may be asked for (the deployer's groups); any other is unknown without a look-up.
    `cache_seconds`: how long the answer "this model is served by that artifact" is reused. A switch or a
    rejection reaches callers after at most that time.
    `stale_seconds`: how much longer it is reused while the table cannot be read; 0 for never.
    `max_body_bytes`: largest request body, decoded (Lambda itself ends at 6 MB, encoded).
    `max_rows`: most rows in one request.
    `retry_seconds`: how long after a request's arrival new attempts at a cold model are started.
    `image_bucket`, `image_prefix`: where images may lie; empty where none are taken. The prefix ends in "/".
    `max_images`: most images in one request.
    """

    endpoint_name: str
    table_name: str
    models: tuple[str, ...]
    cache_seconds: int = 10
    stale_seconds: int = 120
    max_body_bytes: int = 4_000_000
    max_rows: int = 1000
    retry_seconds: int = 30
    image_bucket: str = ""
    image_prefix: str = ""
    max_images: int = 32

    def __post_init__(self) -> None:
        for name in ("endpoint_name", "table_name"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty")
        if not self.models or not all(self.models):
            raise ValueError("models is empty or holds an empty name; name at least one model package group")
        if min(self.cache_seconds, self.stale_seconds) < 0:
            raise ValueError("cache_seconds and stale_seconds must not be negative")
        if not 1 <= self.max_body_bytes <= 6_000_000:
            raise ValueError(f"max_body_bytes is {self.max_body_bytes}; give 1 to 6000000, Lambda's limit")
        if self.max_rows < 1:
            raise ValueError(f"max_rows is {self.max_rows}; give at least 1")
        if not 0 <= self.retry_seconds <= 800:
            raise ValueError(
                f"retry_seconds is {self.retry_seconds}; give 0 to 800, as Lambda ends after 900 s"
            )
        if bool(self.image_bucket) != bool(self.image_prefix):
            raise ValueError("image_bucket and image_prefix go together; give both, or neither")
        if self.image_prefix and not self.image_prefix.endswith("/"):
            raise ValueError(f"image_prefix {self.image_prefix!r} must end in '/'")
        if not 1 <= self.max_images <= 64:
            raise ValueError(f"max_images is {self.max_images}; give 1 to 64, what the model server takes")

    @property
    def timeout_seconds(self) -> int:
        """The timeout that the function needs so that every answer, also the last refusal, is its own."""
        images = IMAGE_SECONDS if self.image_bucket else 0
        return max(self.retry_seconds, CANARY_SECONDS) + images + ANSWER_SECONDS + 5

    def to_environment(self) -> dict[str, str]:
        return {
            "ENDPOINT_NAME": self.endpoint_name,
            "TABLE_NAME": self.table_name,
            "MODELS": ",".join(self.models),
            "CACHE_SECONDS": str(self.cache_seconds),
            "STALE_SECONDS": str(self.stale_seconds),
            "MAX_BODY_BYTES": str(self.max_body_bytes),
            "MAX_ROWS": str(self.max_rows),
            "RETRY_SECONDS": str(self.retry_seconds),
            **(self._images_to_environment() if self.image_bucket else {}),
        }

    def _images_to_environment(self) -> dict[str, str]:
        return {
            "IMAGE_BUCKET": self.image_bucket,
            "IMAGE_PREFIX": self.image_prefix,
            "MAX_IMAGES": str(self.max_images),
        }

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Reverse of `to_environment`. Raises KeyError for what is missing, ValueError for what is wrong."""
        return cls(
            endpoint_name=environment["ENDPOINT_NAME"],
            table_name=environment["TABLE_NAME"],
            models=tuple(environment["MODELS"].split(",")),
            cache_seconds=int(environment["CACHE_SECONDS"]),
            stale_seconds=int(environment["STALE_SECONDS"]),
            max_body_bytes=int(environment["MAX_BODY_BYTES"]),
            max_rows=int(environment["MAX_ROWS"]),
            retry_seconds=int(environment["RETRY_SECONDS"]),
            **(_images_from(environment) if "IMAGE_BUCKET" in environment else {}),
        )


def _images_from(environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "image_bucket": environment["IMAGE_BUCKET"],
        "image_prefix": environment["IMAGE_PREFIX"],
        "max_images": int(environment["MAX_IMAGES"]),
    }
