"""Images from outside, which may be hostile or broken: decoded within bounds, or refused with one line.

The size is known from a file's head, before a pixel is decoded: a few kilobytes can claim gigabytes.
Preprocessing and the server prepare an image with the same function, so that they cannot disagree.

A JPEG that has the right size already is decoded by simplejpeg, what is to be scaled by Pillow. Both are
libjpeg-turbo with its exact transform and smooth colours, and give the same pixels; but Pillow keeps four
bytes for three, and gives them away as copies.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

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
# Memory that Pillow keeps for its next images, 4 blocks of 16 MB at most: the system takes longer to give new
# memory than it takes to scale into it. https://pillow.readthedocs.io/en/stable/reference/block_allocator.html
Image.core.set_blocks_max(4)


class ImageError(ValueError):
    """An image that is refused; the text is one line, without the image's name."""


class TooLarge(ImageError):
    """Its bytes or pixels are beyond the bounds."""


def decode(data: bytes, side: int, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """An image's bytes -> its pixels (high, wide, 3) in RGB, upright, `side` of them on the shorter side.

    Grey, palette, CMYK and 16-bit images become RGB of 8 bits, transparent ones lie on white. The longer
    side is cut to `MAX_ASPECT` times the shorter one, from the middle. An image that has these sizes already
    is not scaled. Raises ImageError.

    >>> picture = io.BytesIO()
    >>> Image.new("L", (400, 200)).save(picture, "PNG")
    >>> decode(picture.getvalue(), 32).shape
    (32, 64, 3)
    """
    if len(data) > MAX_BYTES:
        raise TooLarge(f"is larger than {MAX_BYTES:,} bytes")
    if not data:
        raise ImageError("is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(image, max_pixels)
            pixels = _unscaled(data, image) if _is_fit(image.size, side) else None
            if pixels is None:
                image.draft(None, (side * MAX_ASPECT, side * MAX_ASPECT))  # a JPEG is decoded at a fraction
                pixels = np.asarray(_fit(_rgb(image), side))
            return _upright(pixels, _orientation(image))
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError("is neither a JPEG nor a PNG image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooLarge(f"has more than {max_pixels:,} pixels") from None
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ImageError(f"is truncated or broken: {reason}") from None


def centre(image: Pixels, size: int) -> Pixels:
    """The middle `size` x `size` pixels of an image, (size, size, 3)."""
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]


def _check(image: Any, max_pixels: int) -> None:
    if min(image.size) < 1:
        raise ImageError("has no pixels")
    if image.width * image.height > max_pixels:
        raise TooLarge(f"has {image.width} x {image.height} pixels, more than {max_pixels:,}")
    # MPO: a camera's JPEG with previews behind it; the first image is the photo.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"is animated ({image.n_frames} frames)")


def _unscaled(data: bytes, image: Any) -> Pixels | None:
    """All pixels of a JPEG that is neither CMYK nor damaged; None: of what else, which Pillow judges.

    Never at a fraction: simplejpeg 1.9.0 brings libjpeg-turbo 3.1.2, which writes a lossless JPEG unscaled
    into the memory for a scaled one (fixed in 3.1.4).
    https://github.com/libjpeg-turbo/libjpeg-turbo/blob/main/ChangeLog.md
    """
    if image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
        return None
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    try:
        # Its own view of the size must fit in this memory, and be the same.
        found = simplejpeg.decode_jpeg(data, "RGB", buffer=pixels)
    except (ValueError, RuntimeError):
        return None
    return pixels if found.shape == pixels.shape else None


def _rgb(image: Any) -> Any:
    if image.mode in _SIXTEEN_BIT:
        # Pillow would cut at 255: all but the darkest would be white.
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_fit(size: tuple[int, int], side: int) -> bool:
    return min(size) == side and max(size) <= side * MAX_ASPECT


def _fit(rgb: Any, side: int) -> Any:
    if _is_fit(rgb.size, side):
        return rgb
    width, height = rgb.size
    short = min(width, height)
    wide, high = min(width, short * MAX_ASPECT), min(height, short * MAX_ASPECT)
    left, top = (width - wide) / 2, (height - high) / 2
    scale = side / short
    target = (max(1, round(wide * scale)), max(1, round(high * scale)))
    return rgb.resize(target, Image.Resampling.BICUBIC, box=(left, top, left + wide, top + high))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Exif's orientations 5 to 8 lie on their side, and each may be mirrored and upside down."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _orientation(image: Any) -> int:
    """How the camera was held, 1 to 8; a photo with broken metadata is a photo all the same."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except DAMAGE:
        return 1
    return orientation if orientation in range(1, 9) else 1
