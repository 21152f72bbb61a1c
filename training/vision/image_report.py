"""The page on a classifier of images: accuracy beside the baseline, what is confused, the worst errors."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.common.image_model import ImageModel
from training.common.images import decode
from training.reporting.charts import bars, histogram, matrix
from training.reporting.page import Page
from training.vision.shards import Entry

MAX_MATRIX = 30
MAX_PAIRS = 15
MAX_ERRORS = 12
COLUMNS, TILE, CAPTION = 4, 96, 30


def image_page(
    model: ImageModel,
    report: Mapping[str, Any],
    entries: Sequence[Entry],
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
) -> Page:
    """`report` is what `evaluation` returned for `truth` (images,) and `probabilities` (images, classes)."""
    classes, measured, baseline = model.manifest.classes, report["classification_metrics"], report["baseline"]
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    page = Page(f"Evaluation of a classifier of {len(classes)} kinds of images")
    page.verdict(
        f"Of {report['rows']:,} images that it was not trained on, the model names "
        f"{measured['top1']['value']:.1%} rightly; always saying {baseline['class']!r} reaches "
        f"{baseline['top1']['value']:.1%}."
    )
    page.table(
        "Held-out images",
        ("metric", "model", "standard error", "baseline"),
        [
            (name, measured[name]["value"], measured[name]["standard_deviation"], baseline[name]["value"])
            for name in measured
        ],
    )
    if len(wrong):
        pairs = _pairs(truth[wrong], predicted[wrong], classes)
        page.table("Most often confused", ("true", "predicted", "images"), pairs[:MAX_PAIRS])
    shown = _most_confused(truth, predicted, len(classes))
    counts = [[int(((truth == row) & (predicted == column)).sum()) for column in shown] for row in shown]
    names = [classes[code] for code in shown]
    some = f" The {MAX_MATRIX} classes with the most errors." if len(shown) < len(classes) else ""
    page.chart(
        "Confusion matrix",
        matrix(counts, names, x_label="predicted", y_label="true"),
        f"On the diagonal a prediction is right.{some}",
    )
    recall = {name: value for name, value in report["recall_by_class"].items() if isinstance(value, float)}
    missed = {name: 1 - value for name, value in recall.items()}
    page.chart("Classes by errors", bars(missed, x_label="share of a class's images that is named wrongly"))
    page.chart(
        "Certainty", histogram(probabilities.max(axis=1), x_label="probability of the predicted class")
    )
    # The worst: the true class was thought least likely, compared with the one that was named.
    gaps = probabilities[wrong, predicted[wrong]] - probabilities[wrong, truth[wrong]]
    worst = wrong[np.argsort(-gaps, kind="stable")][:MAX_ERRORS].tolist()
    if worst:
        captions = [(classes[truth[place]], classes[predicted[place]]) for place in worst]
        page.chart(
            "Worst errors", _gallery([entries[place] for place in worst], captions), "True → predicted."
        )
    training = model.manifest.training
    values = [("images", training.get("rows")), ("epoch kept", training.get("epoch"))]
    page.table("Training", ("", "value"), [*values, *training.get("hyperparameters", {}).items()])
    return page


def _pairs(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> list[tuple[str, str, int]]:
    found, counts = np.unique(np.stack([truth, predicted]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(classes[found[0, place]], classes[found[1, place]], int(counts[place])) for place in order]


def _most_confused(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> list[int]:
    wrong = truth != predicted
    errors = np.bincount(truth[wrong], minlength=classes) + np.bincount(predicted[wrong], minlength=classes)
    return sorted(int(code) for code in np.argsort(-errors, kind="stable")[:MAX_MATRIX])


def _gallery(entries: Sequence[Entry], captions: Sequence[tuple[str, str]]) -> str:
    """Thumbnails as SVG, with the images inside, so that the page fetches nothing."""
    rows = (len(entries) + COLUMNS - 1) // COLUMNS
    shapes = []
    for place, (entry, (true, predicted)) in enumerate(zip(entries, captions, strict=True)):
        x, y = place % COLUMNS * (TILE + 12), place // COLUMNS * (TILE + CAPTION)
        stream = io.BytesIO()
        Image.fromarray(decode(entry.read(), TILE)).save(stream, "JPEG", quality=85)
        source = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
        shapes.append(
            f'<image x="{x}" y="{y}" width="{TILE}" height="{TILE}" preserveAspectRatio="xMidYMid slice" '
            f'href="{source}"/><text x="{x}" y="{y + TILE + 14}" font-size="10">'
            f"{html.escape(f'{true[:12]} → {predicted[:12]}')}</text>"
        )
    box = f"0 0 {COLUMNS * (TILE + 12)} {rows * (TILE + CAPTION)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img">'
        f"<title>errors</title>{''.join(shapes)}</svg>"
    )
