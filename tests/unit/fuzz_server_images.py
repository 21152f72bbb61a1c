"""Images as nobody should send them: cut, changed, of other formats, of sizes that are claims, as JSON."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from typing import Any

from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

SIDE = 24
TYPES = ("image/png", "image/jpeg", "application/x-image", "Image/PNG; q=1")
PNG = b"\x89PNG\r\n\x1a\n"


def encoded(image: Any, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    width: int, height: int, data: bytes, *, depth: int = 8, colour: int = 0, before: bytes = b""
) -> bytes:
    """A PNG whose head says what it wants to."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        PNG + _chunk(b"IHDR", head) + before + _chunk(b"IDAT", zlib.compress(data, 9)) + _chunk(b"IEND", b"")
    )


def _claims(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame says another size."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def _photo(mode: str) -> Any:
    return Image.linear_gradient("L").resize((SIDE * 2, SIDE)).convert(mode)


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(_photo("RGB"), "JPEG", exif=exif.tobytes())


def _with_text() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 100_000, zip=True)
    return encoded(_photo("RGB"), "PNG", pnginfo=text)


_JPEG, _PNG = encoded(_photo("RGB"), "JPEG"), encoded(_photo("RGB"), "PNG")
SOUND = [
    _JPEG,
    _PNG,
    encoded(_photo("CMYK"), "JPEG"),
    encoded(_photo("L"), "JPEG", progressive=True),
    *(encoded(_photo(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGBA", "I;16")),
    encoded(_photo("P"), "PNG", transparency=3),
    _turned(),
    _with_text(),
    png(1, 1, b"\0\0"),
    png(3000, 1, b"\0" * 3001),
    png(1, 3000, b"\0\0" * 3000),
]
# Some seconds of work for a few kilobytes.
LARGE = [png(5000, 5000, bytes(5001 * 5000)), encoded(Image.new("L", (5000, 4999)), "JPEG")]
ODD = [
    *(encoded(_photo("RGB"), kind) for kind in ("GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "PDF")),
    encoded(_photo("RGB"), "PNG", save_all=True, append_images=[_photo("L").convert("RGB")] * 3),
    png(5001, 5000, b""),
    png(2**31 - 1, 2**31 - 1, b"\0"),
    png(2**32 - 1, 1, b"\0"),
    png(0, 5, b"\0"),
    png(4999, 5000, b"\0"),
    png(SIDE, SIDE, bytes(10_000_000)),
    png(SIDE, SIDE, b"\0", depth=3),
    png(SIDE, SIDE, b"\0", colour=7),
    png(SIDE, SIDE, b"\0", colour=3),
    png(SIDE, SIDE, b"\0" * 600, before=_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(3_000_000)))),
    png(SIDE, SIDE, b"\0" * 600, before=_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(3_000_000)))),
    png(SIDE, SIDE, b"\0" * 600, before=_chunk(b"eXIf", b"II*\0" + b"\xff" * 40)),
    png(SIDE, SIDE, b"\0" * 600, before=_chunk(b"acTL", struct.pack(">II", 2**31, 0))),
    _claims(_JPEG, 65535, 65535),
    _claims(_JPEG, 4999, 5000),
    _claims(_JPEG, 0, 0),
    _JPEG + _JPEG,
    _PNG + b"\0" * 100_000,
    PNG,
    b"\xff\xd8\xff",
    b"\xff\xd8" + b"\xff\xe1\xff\xff" * 5000,
    b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    b"%!PS\nshowpage",
    b"",
]


@st.composite
def damaged(draw: Any) -> bytes:
    """A sound image that is cut, or of which bytes are others, more, or fewer."""
    data = draw(st.sampled_from(SOUND))
    if draw(st.booleans()):
        return bytes(data[: draw(st.integers(0, len(data)))])
    for _ in range(draw(st.integers(1, 8))):
        # Most often near the start, where the formats' numbers stand.
        at = draw(st.integers(0, min(len(data), 200)) | st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at + draw(st.integers(0, 4)) :]
    return bytes(data)


def images() -> st.SearchStrategy[bytes]:
    large = st.sampled_from(range(60)).flatmap(
        lambda chance: st.sampled_from(LARGE if chance == 0 else SOUND)
    )
    return st.one_of(large, st.sampled_from(ODD), damaged(), damaged())


def _in_base64(data: bytes, how: str) -> str:
    text = base64.b64encode(data).decode()
    return {
        "well": text,
        "cut": text[:-1],
        "lines": "\n".join(text[start : start + 76] for start in range(0, len(text), 76)),
        "address": f"data:image/png;base64,{text}",
        "for URLs": base64.urlsafe_b64encode(data).decode(),
        "twice": base64.b64encode(text.encode()).decode(),
        "odd": text + "\u00e9\0",
    }[how]


HOW = ["well"] * 12 + ["cut", "lines", "address", "for URLs", "twice", "odd"]


def documents() -> st.SearchStrategy[bytes]:
    """JSON with images: each whole or not, few or more than may be sent."""
    texts = st.builds(_in_base64, images(), st.sampled_from(HOW))
    others = st.sampled_from([None, 3, "", "x", [], {}, {"b64": "x"}, "\ud800"])
    values = st.one_of(texts, texts, texts, others)
    instances = st.one_of(
        values.map(lambda value: {"image": value}),
        values.map(lambda value: {"image": value}),
        values.map(lambda value: {"image": value, "\ud800": 1}),
        others,
    )
    small = st.builds(
        lambda data, count: [{"image": _in_base64(data, "well")}] * count,
        st.sampled_from(SOUND),
        st.sampled_from([1, 2, 16, 64, 65]),
    )
    lists = st.one_of(st.lists(instances, max_size=4), small)
    return lists.map(lambda found: json.dumps({"instances": found}).encode())


def bodies() -> st.SearchStrategy[bytes]:
    return st.one_of(images(), documents())


def typed() -> st.SearchStrategy[tuple[str, bytes]]:
    """A body with its type."""
    return st.one_of(
        st.tuples(st.sampled_from(TYPES), images()), st.tuples(st.just("application/json"), documents())
    )
