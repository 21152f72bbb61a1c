"""Write real images for the pipelines that classify them.

    python tools/image_data.py --out build/data

Writes under OUT:
    digits/images/<class>/<name>.png   class folders for InputData
    digits/batch/<name>.png            held-back images for BatchData
    digits/batch_truth.json            their true classes: {name: class}

The digits are the 1,797 handwritten ones that come with scikit-learn, 8 x 8 pixels in 17 shades of grey.
The same arguments write the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

BATCH_IMAGES = 50
_SHADES = 16  # scikit-learn's white; PNG's is 255


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write real images for the pipelines that classify them.")
    parser.add_argument("--out", type=Path, default=Path("build/data"))
    options = parser.parse_args(arguments)
    try:
        images, batch = write(options.out / "digits")
    except ModuleNotFoundError as error:
        print(f"error: the package {error.name} is missing: python3 tools/setup.py vision", file=sys.stderr)
        return 1
    print(f"{options.out / 'digits'}: {images} images in class folders, {batch} held back for the batch")
    return 0


def write(folder: Path) -> tuple[int, int]:
    """Write the digits anew; returns how many images there are and how many were held back."""
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch = load_digits()
    named = {
        f"D{index:04d}.png": (Image.fromarray((pixels * 255 / _SHADES).round().astype("uint8")), str(label))
        for index, (pixels, label) in enumerate(zip(bunch.images, bunch.target, strict=True), start=1)
    }
    ranked = sorted(named, key=lambda name: hashlib.sha256(name.encode()).digest())
    shutil.rmtree(folder, ignore_errors=True)
    for name in ranked[:-BATCH_IMAGES]:
        image, label = named[name]
        _save(image, folder / "images" / label / name)
    truth = {}
    for name in sorted(ranked[-BATCH_IMAGES:]):
        image, truth[name] = named[name]
        _save(image, folder / "batch" / name)
    (folder / "batch_truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return len(named) - BATCH_IMAGES, BATCH_IMAGES


def _save(image: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


if __name__ == "__main__":
    sys.exit(main())
