"""How an image travels in JSON: `{"image": "<base64>"}`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

KEY = "image"


class ImagePayloadError(ValueError):
    """An instance that holds no image."""


def instance_of(data: bytes) -> dict[str, str]:
    return {KEY: base64.b64encode(data).decode("ascii")}


def image_of(instance: object) -> bytes:
    """The image's bytes; raises ImagePayloadError.

    >>> image_of(instance_of(b"picture"))
    b'picture'
    """
    if not isinstance(instance, Mapping) or not isinstance(instance.get(KEY), str):
        raise ImagePayloadError('needs the form {"image": "<base64>"}')
    unknown = sorted(str(name)[:60] for name in instance if name != KEY)
    if unknown:
        raise ImagePayloadError(f"has an unknown member {unknown[0]!r}")
    try:
        return base64.b64decode(instance[KEY], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImagePayloadError(f"is not base64: {error}") from None
