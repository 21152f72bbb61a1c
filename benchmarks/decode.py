"""Decoding photographs as preprocessing and the server do, beside OpenCV, Pillow and simplejpeg, on one CPU.

JPEGs of the two photographs that scikit-learn ships, cut and turned, of a web page's size and of a camera's,
become RGB arrays:

- `decoded`: as large as they are. Ours also bounds what is decoded, turns it upright, and takes what is
  neither RGB nor a JPEG. All give the same pixels: `differs` is 0.
- `prepared`: 256 pixels on the shorter side. All decode at a fraction that leaves at least twice the side,
  and scale down from there: ours and Pillow by Pillow's bicubic filter, which weighs four times as many
  pixels each way as one is made of; the others by the plain averages of OpenCV's areas.

Bound of each: at most 1.1 times the time of the fastest.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.harness import ROOT, Sample, ratio

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
SIZES = {"500 x 375": (500, 375), "2048 x 1536": (2048, 1536)}
IMAGES = {"500 x 375": 60, "2048 x 1536": 12}
SIDE, ROUNDS, QUALITY, BOUND = 256, 15, 90, 1.1


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    decoded, prepared = {}, {}
    for name, size in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            photographs(Path(folder), size, IMAGES[name])
            decoded[name] = _run(Path(folder), min(size), rounds)
            prepared[name] = _run(Path(folder), SIDE, rounds)
    return {
        "decoded": decoded,
        "prepared": prepared,
        "bound": BOUND,
        "holds": all(
            each["ours_over_it"]["median"] <= BOUND for each in (*decoded.values(), *prepared.values())
        ),
    }


def photographs(folder: Path, size: tuple[int, int], count: int) -> None:
    """`count` JPEGs of `size`, no two alike."""
    from sklearn.datasets import load_sample_images

    pictures, chance = load_sample_images().images, np.random.default_rng(1)
    for number in range(count):
        picture = Image.fromarray(pictures[number % len(pictures)])
        left, top = (int(chance.integers(0, side // 4)) for side in picture.size)
        part = picture.crop((left, top, left + picture.width * 3 // 4, top + picture.height * 3 // 4))
        part.rotate(180 * (number // 2 % 2)).resize(size, Image.Resampling.BICUBIC).save(
            folder / f"{number:03d}.jpg", quality=QUALITY
        )


def _run(folder: Path, side: int, rounds: int) -> dict[str, Any]:
    if not PEERS_PYTHON.is_file():
        raise SystemExit("the other decoders are missing: python3 tools/setup.py peers")
    command = [str(PEERS_PYTHON), str(ROOT / "benchmarks" / "peers" / "decoders.py"), str(folder)]
    command += [str(side), str(rounds)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    samples = {name: Sample(tuple(seconds)) for name, seconds in answer["seconds"].items()}
    fastest = min((name for name in samples if name != "ours"), key=lambda name: samples[name].median)
    over = ratio(samples["ours"], samples[fastest])
    return {
        "images_per_second": {
            name: round(answer["images"] / sample.median, 1) for name, sample in samples.items()
        },
        "differs": answer["differs"],
        "fastest_other": fastest,
        "ours_over_it": over,
    }
