"""Images out of S3, as a request to the endpoint: bounded in number, bytes and time.

A request of several images is one call, in JSON: the endpoint decodes them side by side, and all of them are
answered by one version. Base64 costs a third more bytes; writing and reading it took 0.3 ms for a JPEG that
took 4 ms to decode and scale, and 35 ms to predict.
"""

import base64
import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from modelyard.runtime.invoke import BROKEN
from modelyard.runtime.limits import INVOKE_BYTES
from modelyard.runtime.log import log

from .errors import ApiError, invalid_images
from .image_addresses import ImagePlace
from .payloads import Payload
from .settings import IMAGE_SECONDS

_WORKERS = 8
_CHUNK = 1 << 17
_HEAD, _BEFORE, _AFTER, _END = b'{"instances":[', b'{"image":"', b'"}', b"]}"
# Of one image alone, before base64.
MAX_BYTES = (INVOKE_BYTES - len(_HEAD + _BEFORE + _AFTER + _END)) // 4 * 3

CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 2},
    max_pool_connections=_WORKERS,
    tcp_keepalive=True,
)
# Besides 3xx, what botocore's client of S3 takes for "ask another region".
_ELSEWHERE = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}


class MovedError(Exception):
    """S3 says to ask elsewhere."""


def make_client(session: Any) -> Any:
    """The `s3` client, which keeps to its place.

    botocore's would follow: to any region that an answer names, and where none is named, by asking for the
    bucket, whose answer it follows again, until the stack is full.
    """
    client = session.create_client("s3", config=CONFIG)
    client.meta.events.register_first("needs-retry.s3", _refuse_redirect)
    return client


def _refuse_redirect(response: Any = None, **_: Any) -> None:
    if response is None:
        return
    status, code = response[0].status_code, response[1].get("Error", {}).get("Code", "")
    if 300 <= status < 400 or code in _ELSEWHERE:
        raise MovedError(f"S3 answered {status} {code}, which is not followed")


class Images:
    """Reads objects below one prefix of one bucket.

    Args:
        client: `make_client`; called once, for the first image.
        place: Where images may lie.
        max_images: Most images in one request.
        clock: Seconds.
    """

    def __init__(
        self,
        client: Callable[[], Any],
        place: ImagePlace,
        max_images: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_client, self._place, self._max_images, self._clock = client, place, max_images, clock
        self._client: Any = None
        self._pool: Any = None

    def payload(self, model: str, addresses: Sequence[str]) -> Payload:
        """Raises ApiError that names the image it is about, never its address, which may hold a signature."""
        if len(addresses) > self._max_images:
            message = f"images holds {len(addresses)}; send at most {self._max_images} per request"
            raise ApiError(422, "too_many_images", message)
        keys = [self._place.key(address, _name(number)) for number, address in enumerate(addresses)]
        encoded = self._fetch(keys)
        body = b"".join((_HEAD, b",".join(b"".join((_BEFORE, image, _AFTER)) for image in encoded), _END))
        return Payload(model=model, body=body, count=len(keys), invalid="invalid_images")

    def _fetch(self, keys: Sequence[str]) -> list[bytes]:
        """Base64 of the objects, side by side."""
        if self._pool is None:
            # Here, with the client: who only sends rows waits for neither.
            from concurrent.futures import ThreadPoolExecutor

            self._client, self._pool = self._make_client(), ThreadPoolExecutor(_WORKERS)
        deadline = self._clock() + IMAGE_SECONDS
        room = _Room(INVOKE_BYTES - len(_HEAD) - len(_END), deadline, self._clock)
        waiting = [self._pool.submit(self._get, room, _name(n), key) for n, key in enumerate(keys)]
        try:
            return [found.result(max(0.0, deadline - self._clock())) for found in waiting]
        except TimeoutError as error:
            raise _too_slow() from error
        finally:
            room.close()
            for each in waiting:
                each.cancel()

    def _get(self, room: "_Room", what: str, key: str) -> bytes:
        room.check()
        try:
            answer = self._client.get_object(Bucket=self._place.bucket, Key=key)
            size = answer.get("ContentLength")
            with answer["Body"] as stream:
                if size is None:  # S3 always says; without, there would be no bound
                    raise _unavailable(f"{what} cannot be read from S3 now; try again")
                if size > MAX_BYTES:
                    raise _too_large(f"{what} has {size} bytes; an image may have {MAX_BYTES}")
                room.take(len(_BEFORE) + (size + 2) // 3 * 4 + len(_AFTER) + 1)
                parts: list[bytes] = []
                while part := stream.read(_CHUNK):
                    room.check()
                    parts.append(part)
        except ClientError as error:
            raise _meaning(error, what) from error
        except (BotoCoreError, MovedError, *BROKEN) as error:
            log("image not read", reason=str(error))
            raise _unavailable(f"{what} cannot be read from S3 now; try again") from error
        return base64.b64encode(b"".join(parts))


class _Room:
    """What the images of one request may take together, of the body and of time; shared by their threads."""

    def __init__(self, free: int, deadline: float, clock: Callable[[], float]) -> None:
        self._free, self._deadline, self._clock, self._lock = free, deadline, clock, Lock()

    def take(self, size: int) -> None:
        """Before the bytes are read: what does not fit is never in memory."""
        with self._lock:
            self._free -= size
            if self._free < -1:  # the last image has no comma after it
                raise _too_large(
                    f"the images are over {MAX_BYTES} bytes together; send them in several requests"
                )

    def check(self) -> None:
        if self._clock() > self._deadline:
            raise _too_slow()

    def close(self) -> None:
        """Threads that still read give up at their next piece."""
        self._deadline = float("-inf")


def _name(number: int) -> str:
    return f"images[{number}]"


def _meaning(error: ClientError, what: str) -> ApiError:
    code = error.response["Error"]["Code"]
    if code == "NoSuchKey":
        return ApiError(404, "image_not_found", f"{what} does not exist")
    if code == "InvalidObjectState":
        return invalid_images(f"{what} is archived; restore it first")
    if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
        log("image denied", reason=str(error))
        message = f"{what} does not exist, or may not be read: S3 tells only who may list the folder"
        return ApiError(404, "image_denied", message)
    log("image not read", reason=str(error))
    return _unavailable(f"{what} cannot be read from S3 now; try again")


def _too_large(message: str) -> ApiError:
    return ApiError(413, "images_too_large", message)


def _too_slow() -> ApiError:
    return _unavailable(f"the images cannot be read from S3 within {IMAGE_SECONDS} s; try again")


def _unavailable(message: str) -> ApiError:
    return ApiError(503, "images_unavailable", message, retry_after=5)
