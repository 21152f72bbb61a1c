"""Images from outside, which may be hostile or broken: decoded within bounds, or refused with one line.

The size is known from a file's head, before a pixel is decoded: a few kilobytes can claim gigabytes.
Preprocessing and the server prepare an image with the same function, so that they cannot disagree.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG")
SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_PIXELS = 50_000_000
MAX_BYTES = 64 * 1024 * 1024
# Of a panorama the middle: a side without bound would be an image without bound after scaling.
MAX_ASPECT = 2
ORIENTATION = 0x0112
# What Pillow's parsers raise on nonsense is not documented; found by feeding them damaged files.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    UserWarning,
    zlib.error,
    struct.error,
)
_SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L")

Pixels = NDArray[np.uint8]
# A damaged file is refused, or used without its metadata; a line in the log for each adds nothing.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class ImageError(ValueError):
    """An image that is refused; the text is one line, without the image's name."""


class TooLarge(ImageError):
    """Its bytes or pixels are beyond the bounds."""


def decode(data: bytes, side: int, *, max_pixels: int = MAX_PIXELS) -> Any:
    """An image's bytes -> PIL's RGB image, upright, whose shorter side has `side` pixels.

    Grey, palette, CMYK and 16-bit images become RGB of 8 bits, transparent ones lie on white. The longer
    side is cut to `MAX_ASPECT` times the shorter one, from the middle. An image that has these sizes already
    is not scaled. Raises ImageError.

    >>> picture = io.BytesIO()
    >>> Image.new("L", (400, 200)).save(picture, "PNG")
    >>> decode(picture.getvalue(), 32).size
    (64, 32)
    """
    if len(data) > MAX_BYTES:
        raise TooLarge(f"is larger than {MAX_BYTES:,} bytes")
    if not data:
        raise ImageError("is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(image, max_pixels)
            image.draft(None, (side * MAX_ASPECT, side * MAX_ASPECT))  # a JPEG is decoded at a fraction
            return _fit(_rgb(image), image, side)
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError("is neither a JPEG nor a PNG image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooLarge(f"has more than {max_pixels:,} pixels") from None
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ImageError(f"is truncated or broken: {reason}") from None


def centre(image: Any, size: int) -> Pixels:
    """The middle `size` x `size` pixels of an image, (size, size, 3)."""
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _check(image: Any, max_pixels: int) -> None:
    if min(image.size) < 1:
        raise ImageError("has no pixels")
    if image.width * image.height > max_pixels:
        raise TooLarge(f"has {image.width} x {image.height} pixels, more than {max_pixels:,}")
    # MPO: a camera's JPEG with previews behind it; the first image is the photo.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"is animated ({image.n_frames} frames)")


def _rgb(image: Any) -> Any:
    if image.mode in _SIXTEEN_BIT:
        # Pillow would cut at 255: all but the darkest would be white.
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    return image.convert("RGB")


def _fit(rgb: Any, source: Any, side: int) -> Any:
    width, height = rgb.size
    short = min(width, height)
    wide, high = min(width, short * MAX_ASPECT), min(height, short * MAX_ASPECT)
    left, top = (width - wide) / 2, (height - high) / 2
    if short != side or (wide, high) != (width, height):
        scale = side / short
        target = (max(1, round(wide * scale)), max(1, round(high * scale)))
        box = (left, top, left + wide, top + high)
        rgb = rgb.resize(target, Image.Resampling.BICUBIC, box=box)
    orientation = _orientation(source)
    if orientation != 1:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        rgb.info["exif"] = exif.tobytes()
        rgb = ImageOps.exif_transpose(rgb)
    return rgb


def _orientation(image: Any) -> int:
    """How the camera was held, 1 to 8; a photo with broken metadata is a photo all the same."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except DAMAGE:
        return 1
    return orientation if orientation in range(1, 9) else 1
