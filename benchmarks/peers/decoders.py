"""Decode photographs with several libraries in turn; prints seconds of each round by library, as JSON.

`python decoders.py FOLDER SIDE ROUNDS`: each JPEG of FOLDER becomes an RGB array whose shorter side is SIDE.
All with libjpeg-turbo's exact transform and its smooth colours, as ours; `differs` tells by how much, of 255,
a pixel of theirs differs from ours at most.
"""

import functools
import io
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from training.common.images import decode  # noqa: E402

# Of twice the side, scaled down from there: what ours decodes at, for the quality of what remains.
ROOM = 2


def ours(data: bytes, side: int) -> np.ndarray:
    return decode(data, side)


def with_opencv(data: bytes, side: int, reduced: int) -> np.ndarray:
    flag = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}[reduced]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    return _scaled(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), side)


def with_simplejpeg(data: bytes, side: int, short: int) -> np.ndarray:
    return _scaled(simplejpeg.decode_jpeg(data, min_height=short, min_width=short), side)


def with_pillow(data: bytes, side: int) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (ROOM * side, ROOM * side))
    scale = side / min(image.size)
    if scale != 1:
        image = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC
        )
    return np.asarray(image)


def _scaled(image: np.ndarray, side: int) -> np.ndarray:
    high, wide = image.shape[:2]
    scale = side / min(high, wide)
    if scale == 1:
        return image
    # Averages over areas, as Pillow's filters do when they make an image smaller.
    return cv2.resize(image, (round(wide * scale), round(high * scale)), interpolation=cv2.INTER_AREA)


def main() -> None:
    folder, side, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    cv2.setNumThreads(1)
    photographs = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    short = min(cv2.imdecode(np.frombuffer(photographs[0], np.uint8), cv2.IMREAD_COLOR).shape[:2])
    reduced = max(factor for factor in (1, 2, 4) if short / factor >= min(short, ROOM * side))
    routes = {
        "ours": ours,
        "OpenCV": functools.partial(with_opencv, reduced=reduced),
        "Pillow": with_pillow,
        "simplejpeg": functools.partial(with_simplejpeg, short=min(short, ROOM * side)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in routes}
    for number in range(rounds + 1):
        for name, route in routes.items():
            started = time.perf_counter()
            shapes = {route(data, side).shape for data in photographs}
            if number:
                seconds[name].append(time.perf_counter() - started)
            assert {min(shape[:2]) for shape in shapes} == {side}, (name, shapes)
    differs = {
        name: max(_difference(route(data, side), ours(data, side)) for data in photographs)
        for name, route in routes.items()
        if name != "ours"
    }
    print(json.dumps({"images": len(photographs), "seconds": seconds, "differs": differs}))


def _difference(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


if __name__ == "__main__":
    main()
