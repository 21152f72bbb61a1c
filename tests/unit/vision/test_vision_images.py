"""Decoding: every kind of image a camera or a drawing program writes, and nothing that is hostile."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from training.common import images
from training.common.images import ImageError, TooLarge, centre, decode


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def grey(image):
    return int(image[image.shape[0] // 2, image.shape[1] // 2].mean())


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width, height):
    """A small file whose head claims any size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("L", 100, "PNG", 100),
        ("L", 100, "JPEG", 100),
        ("1", 1, "PNG", 255),
        ("RGB", (100, 100, 100), "JPEG", 100),
        ("CMYK", (0, 0, 0, 155), "JPEG", 100),
        ("RGBA", (0, 0, 0, 0), "PNG", 255),
        ("RGBA", (100, 100, 100, 255), "PNG", 100),
        ("LA", (0, 0), "PNG", 255),
        ("I;16", 100 * 256, "PNG", 100),
    ],
)
def test_every_mode_becomes_rgb_of_eight_bits(mode, colour, kind, expected):
    found = decode(encoded(Image.new(mode, (50, 40), colour), kind), 32)
    assert (found.dtype, found.shape) == (np.uint8, (32, 40, 3))
    assert abs(grey(found) - expected) <= 2


def test_a_palette_keeps_its_colours_and_its_transparency():
    image = Image.new("P", (40, 40), 1)
    image.putpalette([0, 0, 0, 200, 200, 200] + [0] * 750)
    assert grey(decode(encoded(image), 32)) == 200
    assert grey(decode(encoded(image, transparency=1), 32)) == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright_however_the_camera_was_held(orientation):
    upright = Image.new("RGB", (80, 64), "black")
    upright.paste("white", (0, 0, 40, 32))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's transpositions that store it so
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(encoded(stored, "JPEG", exif=exif, quality=95), 32).mean(axis=2)
    assert found.shape == (32, 40)
    assert found[8, 8] > 240
    assert max(found[24, 8], found[8, 32], found[24, 32]) < 15


@pytest.mark.parametrize("size", [(32, 32), (32, 64), (40, 32)])
def test_an_image_of_the_size_already_is_untouched(size):
    source = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    assert np.array_equal(decode(encoded(Image.fromarray(source)), 32), source)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (7, 9), (3000, 31)])
def test_the_shorter_side_is_as_asked_and_the_longer_bounded(size):
    found = decode(encoded(Image.new("RGB", size)), 32)
    assert min(found.shape[:2]) == 32
    assert max(found.shape[:2]) <= 64
    assert centre(found, 32).shape == (32, 32, 3)


def test_the_centre_is_the_middle():
    image = Image.new("RGB", (64, 32), "black")
    image.paste("white", (16, 0, 48, 32))
    assert centre(np.asarray(image), 32).min() == 255


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"hello", "is neither a JPEG nor a PNG image"),
        (encoded(Image.new("RGB", (9, 9)), "GIF"), "is neither a JPEG nor a PNG image"),
        (encoded(Image.new("RGB", (9, 9)), "BMP"), "is neither a JPEG nor a PNG image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is neither a JPEG nor a PNG image"),
        (encoded(Image.effect_noise((90, 90), 50))[:900], "is truncated or broken"),
        (encoded(Image.effect_noise((90, 90), 50), "JPEG")[:900], "is truncated or broken"),
        (png_claiming(0, 5), ""),
        (png_claiming(300, 300), "is truncated or broken"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(data, reason):
    with pytest.raises(ImageError, match=f"^{reason}") as caught:
        decode(data, 32)
    assert "\n" not in str(caught.value)


def test_an_animation_is_refused():
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animated"):
        decode(data, 32)


@pytest.mark.parametrize("size", [(7072, 7072), (65_500, 65_500), (2**31 - 1, 2**31 - 1), (50_000_001, 1)])
def test_a_bomb_is_refused_before_a_pixel_is_decoded(size, monkeypatch):
    monkeypatch.setattr(images, "_rgb", None)  # decoding would fail here
    with pytest.raises(TooLarge, match="pixels"):
        decode(png_claiming(*size), 32)


def test_too_many_bytes_are_refused():
    with pytest.raises(TooLarge, match="bytes"):
        decode(bytes(images.MAX_BYTES + 1), 32)


@pytest.fixture
def by_pillow(monkeypatch):
    """Decodes without simplejpeg."""

    def decode_so(data, side):
        with monkeypatch.context() as patched:
            patched.setattr(images, "_unscaled", lambda *_: None)
            return decode(data, side)

    return decode_so


PHOTO = Image.merge("RGB", [Image.effect_noise((75, 64), spread) for spread in (10, 40, 90)])


@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0},
        {"subsampling": 1},
        {"subsampling": 2},
        {"progressive": True},
        {"restart_marker_blocks": 2},
        {"quality": 100, "optimize": True},
        {"keep_rgb": True},
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_that_is_not_scaled_has_pillows_pixels_to_the_bit(mode, options, by_pillow):
    data = encoded(PHOTO.convert(mode), "JPEG", **({} if mode == "L" else options))
    with Image.open(io.BytesIO(data)) as image:
        assert images._unscaled(data, image) is not None
    found = decode(data, 64)
    assert found.shape == (64, 75, 3)
    assert np.array_equal(found, by_pillow(data, 64))


def frame(data, *, place=0, value=b""):
    """A JPEG with other bytes from this place of its frame's segment on: marker 1, bits 4, height 5."""
    start = data.index(b"\xff\xc0") + place
    return data[:start] + value + data[start + len(value) :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"place": 1, "value": b"\xc3"}, "lossless"),
        ({"place": 1, "value": b"\xc9"}, "arithmetic"),
        ({"place": 4, "value": b"\x0c"}, "twelve bits"),
        ({"place": 5, "value": b"\x40\x00"}, "higher than its data"),
    ],
)
def test_a_jpeg_with_a_frame_of_another_kind_is_refused_as_pillow_does(change, reason, by_pillow):
    data = frame(encoded(PHOTO, "JPEG"), **change)
    found = []
    for way in (decode, by_pillow):
        try:
            found.append(way(data, 64).tolist())
        except ImageError as error:
            found.append(str(error))
    assert found[0] == found[1], reason


def test_what_the_decoder_sees_otherwise_than_the_head_gets_no_memory(monkeypatch):
    """Two sizes in one file: the memory is that of the size that was checked."""
    small, large = encoded(PHOTO, "JPEG"), encoded(PHOTO.resize((2000, 2000)), "JPEG")
    with Image.open(io.BytesIO(small)) as image:
        assert images._unscaled(large, image) is None
        assert images._unscaled(small, image) is not None


def test_damage_that_pillow_overlooks_is_overlooked_all_the_same(by_pillow):
    data = encoded(PHOTO, "JPEG")
    place = data.index(b"\xff\xda") + 400
    harmed = data[:place] + bytes([data[place] ^ 0x55, data[place + 1] ^ 0x33]) + data[place + 2 :]
    assert np.array_equal(decode(harmed, 64), by_pillow(harmed, 64))


@pytest.mark.parametrize("left", [0.3, 0.9, 0.999])
def test_a_truncated_jpeg_of_the_right_size_is_refused(left):
    data = encoded(PHOTO, "JPEG")
    with pytest.raises(ImageError, match="truncated or broken"):
        decode(data[: int(len(data) * left)], 64)


NOISE = Image.effect_noise((60, 50), 60).convert("RGB")
WHOLE = {
    "PNG": encoded(NOISE),
    "JPEG": encoded(NOISE, "JPEG", exif=Image.Exif()),
    "P": encoded(NOISE.quantize(8)),
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(sorted(WHOLE)), side=st.sampled_from([16, 50]), changes=st.data())
def test_damage_anywhere_is_refused_or_harmless(kind, side, changes):
    data = bytearray(WHOLE[kind])
    for _ in range(changes.draw(st.integers(1, 6))):
        place = changes.draw(st.one_of(st.integers(0, 120), st.integers(0, len(data) - 1)))
        data[min(place, len(data) - 1)] = changes.draw(st.integers(0, 255))
    del data[changes.draw(st.one_of(st.just(len(data)), st.integers(0, len(data)))) :]
    try:
        size = decode(bytes(data), side, max_pixels=1_000_000).shape[:2]
    except ImageError as error:
        size, reason = (side, side), str(error)
    else:
        reason = ""
    assert min(size) == side
    assert "\n" not in reason
