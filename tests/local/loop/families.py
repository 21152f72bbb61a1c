"""The pipelines of other data and other families, which run beside the one that the loop tells of.

begin(story, TUNED)              # as the data scientist
execution = end(story, TUNED)    # waits for it
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelyard_cli import images
from modelyard_cli.demo import data
from modelyard_cli.demo.data import Data
from modelyard_cli.predict import invoke, invoke_images
from pipeline_defs.catalog import PIPELINES, ImageClassification, TabularClassification
from tests.local.loop.story import MODEL, Story

PURCHASE = "purchase-interest-rate"
TUNED = "breast-cancer"
IMAGES = "digits"
# All of the catalogue but the one that the loop tells of.
OTHERS = tuple(
    pytest.param(spec.name, marks=pytest.mark.torch) if spec.name == IMAGES else spec.name
    for spec in PIPELINES
    if spec.name != MODEL
)
TUNES = frozenset(spec.name for spec in PIPELINES if isinstance(spec.family, TabularClassification))

# As short as each may be: how well they learn is for tests of their own.
_QUICK = {
    "MaxTuningJobs": "6",
    "MaxParallelTuningJobs": "2",
    "CrossValidationFolds": "3",
    "TuningStrategy": "Random",
}
PARAMETERS: dict[str, dict[str, str]] = {
    **dict.fromkeys(TUNES, _QUICK),
    IMAGES: {"Epochs": "1", "BatchSize": "16", "Top1Threshold": "0.0"},
}
_IMAGES_A_CLASS = 15
_IMAGES_A_BATCH = 4


def data_of(story: Story, model: str) -> Data:
    """Its data, made when first asked for: images need packages that only their own tests need."""
    if model not in story.others:
        (spec,) = [spec for spec in PIPELINES if spec.name == model]
        (made,) = data.prepare([spec], story.folder / "data" / model)
        story.others[model] = _few(made) if isinstance(spec.family, ImageClassification) else made
    return story.others[model]


def begin(story: Story, model: str, **parameters: str) -> str:
    """Start its pipeline; returns the execution's ARN."""
    given = {**PARAMETERS.get(model, {}), **parameters}
    story.runs[model] = story.start(model, data_of(story, model), **given)
    return story.runs[model]


def end(story: Story, model: str) -> dict[str, Any]:
    """The execution that was begun last, at its end."""
    return story.watch(story.runs[model])


def run(story: Story, model: str, **parameters: str) -> dict[str, Any]:
    """The execution, from begin to end."""
    begin(story, model, **parameters)
    return end(story, model)


def fresh_input(story: Story, model: str) -> str:
    """One file of its data where no run has looked yet, so that the cache answers nothing."""
    chosen = data_of(story, model)
    source = chosen.table if chosen.table.is_file() else next(chosen.table.rglob("*.png"))
    bucket, prefix = story.outputs["DataBucketName"], f"{chosen.raw}{uuid.uuid4()}/"
    key = prefix + (source.name if chosen.table.is_file() else source.relative_to(chosen.table).as_posix())
    story.scientist.client("s3").upload_file(str(source), bucket, key)
    return f"s3://{bucket}/{key if chosen.table.is_file() else prefix}"


def ask(story: Story, model: str) -> dict[str, Any]:
    """Predict its examples as the data scientist, through the function URL that serves all models."""
    chosen, url = data_of(story, model), story.outputs["FunctionUrl"]
    if not chosen.images:
        return invoke(url, model, chosen.examples, story.scientist)
    files = [str(chosen.batch / name) for name in chosen.examples]
    addresses = images.upload(files, lambda: story.outputs["ImageFolder"], story.scientist)
    return invoke_images(url, model, addresses, story.scientist)


def _few(chosen: Data) -> Data:
    for folder in chosen.table.iterdir():
        _keep(sorted(folder.iterdir())[:_IMAGES_A_CLASS], folder)
    kept = chosen.examples[:_IMAGES_A_BATCH]
    _keep([chosen.batch / name for name in kept], chosen.batch)
    return replace(chosen, examples=kept, truth=chosen.truth[: len(kept)])


def _keep(files: list[Path], folder: Path) -> None:
    for path in set(folder.iterdir()) - set(files):
        path.unlink()
