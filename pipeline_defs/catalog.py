"""The pipelines of this app, and whether what is committed for them is still true.

No SageMaker SDK here: the stacks read this module at synth. A family is a dataclass with what its pipelines
differ in; its builder turns each of them into a definition. A committed definition is like a lock file:
beside `definitions/<name>.json` lies `definitions/<name>.lock`, with the hashes of the definition, of the
entry below and of the Python that built it. `load_definition` refuses a definition that is older than those.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline_defs.code import REPO

DEFINITIONS = REPO / "pipeline_defs" / "definitions"
# Name of an image -> its Dockerfile in `training/`, which is also its build context.
IMAGES: Mapping[str, str] = {
    "tabular": "Dockerfile",
    "vision": "vision.Dockerfile",
    "serving": "serving.Dockerfile",
}
SHARED_SOURCES = (
    "evaluation.py",
    "gates.py",
    "model_card.py",
    "parameters.py",
    "release.py",
    "session.py",
    "steps.py",
    "tuning.py",
)


class StaleDefinitionError(Exception):
    """A committed definition is missing, edited by hand, or older than the code that defines it."""


class Family(Protocol):
    """What stacks and tools know of a pipeline's family; all else is between it and its builder.

    A family is a frozen dataclass: by its `repr` a committed definition is known to be that of its entry.
    """

    @property
    def code(self) -> Mapping[str, str]:
        """Placeholder of each step's code archive -> the module that the step runs."""

    @property
    def builder(self) -> str:
        """The module whose `build(spec)` makes the definition."""

    @property
    def image(self) -> str:
        """What its jobs and models run in: a name in `IMAGES`."""

    @property
    def raw(self) -> str:
        """Folder in the data bucket that `InputData` lies below, shared by pipelines of the same data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TabularRegression:
    """One model of the tabular regression family.

    scenario: which rows; also the folder of the data under `raw/` in the data bucket.
    dataset, target: a dataset of `training.tabular.datasets` and the column to predict.
    mse_threshold: default of the parameter `MseThreshold`, in squared units of the target.
    """

    scenario: str
    dataset: str
    target: str
    mse_threshold: float

    @property
    def code(self) -> Mapping[str, str]:
        return {
            "ValidateCode": "training.tabular.validate",
            "PreprocessCode": "training.tabular.preprocess",
            "TrainCode": "training.tabular.train",
            "EvaluateCode": "training.tabular.evaluate",
        }

    @property
    def builder(self) -> str:
        return "pipeline_defs.families.tabular_regression"

    @property
    def image(self) -> str:
        return "tabular"

    @property
    def raw(self) -> str:
        return f"raw/{self.scenario}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class TabularClassification:
    """A classifier of the tabular classification family.

    dataset: of `training.classification.datasets`, the only value of the parameter `Dataset`: group, card and
    the role's reach are of one data set, and another one's model is not to be registered under its name.
    target: default of `Target`, the column to predict.
    metric, threshold: defaults of `MetricForRegistration` and `MetricThreshold`.
    purpose, caveats: sentences for the model card.
    """

    dataset: str
    target: str
    metric: str
    threshold: float
    purpose: str
    caveats: str

    @property
    def code(self) -> Mapping[str, str]:
        return {
            "ValidateCode": "training.classification.validate",
            "PreprocessCode": "training.classification.preprocess",
            "TrialCode": "training.classification.trial",
            "RefitCode": "training.classification.refit",
            "EvaluateCode": "training.classification.evaluate",
        }

    @property
    def builder(self) -> str:
        return "pipeline_defs.families.tabular_classification"

    @property
    def image(self) -> str:
        return "tabular"

    @property
    def raw(self) -> str:
        return f"raw/{self.dataset}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageClassification:
    """A classifier of the image classification family.

    dataset: the folder of the data under `raw/` in the data bucket.
    image_size, epochs, backbone: defaults of `ImageSize` (pixels), `Epochs`, `Backbone` (a name of timm's).
    wider_epochs, wider_backbone: likewise, of the round that follows a failed gate.
    top1_threshold: default of `Top1Threshold`, a share of the held-out images.
    augment: how training varies images; what is mirrored must keep its class.
    purpose, caveats: sentences for the model card.
    """

    dataset: str
    image_size: int
    epochs: int
    backbone: str
    wider_epochs: int
    wider_backbone: str
    top1_threshold: float
    augment: str
    purpose: str
    caveats: str

    @property
    def code(self) -> Mapping[str, str]:
        return {
            "ValidateCode": "training.vision.validate",
            "PreprocessCode": "training.vision.preprocess",
            "TrainCode": "training.vision.train",
            "EvaluateCode": "training.vision.evaluate",
        }

    @property
    def builder(self) -> str:
        return "pipeline_defs.families.image_classification"

    @property
    def image(self) -> str:
        return "vision"

    @property
    def raw(self) -> str:
        return f"raw/{self.dataset}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """A pipeline to deploy, and the model package group (also the public model name) that it registers in."""

    name: str
    group: str
    family: Family

    @property
    def definition(self) -> Path:
        """The committed JSON, with `${...}` placeholders."""
        return DEFINITIONS / f"{self.name}.json"

    @property
    def lock(self) -> Path:
        return DEFINITIONS / f"{self.name}.lock"

    @property
    def code(self) -> Mapping[str, str]:
        """Placeholder -> module, for `pipeline_defs.code.code_files`."""
        return self.family.code

    @property
    def placeholders(self) -> frozenset[str]:
        """Every `${Name}` that the definition contains and the deployment must fill."""
        return frozenset(
            {"ExecutionRoleArn", "ImageUri", "DataBucket", "KmsKeyArn", "ModelPackageGroupName", *self.code}
        )

    @property
    def reads(self) -> tuple[str, ...]:
        """Folders in the data bucket that hold the pipeline's inputs."""
        return (self.family.raw, f"batch/{self.name}/")

    @property
    def writes(self) -> str:
        """Folder in the data bucket that its steps write to."""
        return f"pipelines/{self.name}/"

    @property
    def sources(self) -> tuple[Path, ...]:
        """The Python files whose change makes the committed definition stale."""
        folder = REPO / "pipeline_defs"
        family = REPO / Path(*self.family.builder.split(".")).with_suffix(".py")
        return (*(folder / name for name in SHARED_SOURCES), family)


def _loans(scenario: str, target: str, mse_threshold: float) -> PipelineSpec:
    name = f"{scenario}-{target.replace('_', '-')}"
    family = TabularRegression(scenario=scenario, dataset="loans", target=target, mse_threshold=mse_threshold)
    return PipelineSpec(name=name, group=name, family=family)


# With their defaults the six algorithms reach an area under the curve of 0.998 to 1 on the 103 test rows.
_BREAST_CANCER = TabularClassification(
    dataset="breast-cancer",
    target="diagnosis",
    metric="auc",
    threshold=0.95,
    purpose="Tells malignant from benign breast masses by measures of cell nuclei in an image.",
    caveats="569 samples of one hospital, 1993: to show a pipeline, not to diagnose.",
)
# With their defaults the six algorithms reach an area under the curve of 0.69 to 0.77 on the 386 test rows,
# 47 of them rejected, which is a standard error of 0.04: half-way between the best of them and chance, 0.5.
_MORTGAGES = TabularClassification(
    dataset="mortgages",
    target="decision",
    metric="auc",
    threshold=0.62,
    purpose="Estimates how likely a bank is to reject an application for a mortgage.",
    caveats=(
        "Learnt from what banks in Boston decided in 1990, fair or not, without race, sex, marital status, "
        "age and what stands for them: to show a pipeline, not to decide on applications."
    ),
)
# With their defaults the first round reaches a top-1 accuracy of 0.99 on the 169 test images and the local
# stage's fewer epochs 0.96, with a standard error of 0.014; the most frequent class alone is right for 0.07.
# Half-way, 0.53, a model would pass that has hardly learnt: at 0.9 none does by chance, none fails by it.
_DIGITS = ImageClassification(
    dataset="digits",
    image_size=32,
    epochs=20,
    backbone="test_resnet",
    wider_epochs=40,
    wider_backbone="resnet10t",
    top1_threshold=0.9,
    augment="crop",
    purpose="Tells the ten handwritten digits apart.",
    caveats="Learnt from 1,747 small scans, 8 x 8 pixels: to show a pipeline, not to read letters.",
)
# Thresholds lie half-way between a model's mean squared error on held-out rows and that of always predicting
# the training mean, rounded down. Model and mean were, with standard errors of 5 to 9 %:
# 15.2 and 25.6, 5.78e7 and 1.05e8, 14.1 and 22.4, 7.75e7 and 1.17e8.
PIPELINES: tuple[PipelineSpec, ...] = (
    _loans("refinance", "interest_rate", 20.0),
    _loans("refinance", "loan_amount", 8.0e7),
    _loans("purchase", "interest_rate", 18.0),
    _loans("purchase", "loan_amount", 9.7e7),
    PipelineSpec(name="breast-cancer", group="breast-cancer", family=_BREAST_CANCER),
    PipelineSpec(name="mortgage-approval", group="mortgage-approval", family=_MORTGAGES),
    PipelineSpec(name="digits", group="digits", family=_DIGITS),
)


def load_definition(spec: PipelineSpec) -> str:
    """The committed definition's text; raises `StaleDefinitionError` with the command that mends it.

    >>> '"Version"' in load_definition(PIPELINES[0])
    True
    """
    reason = stale_reason(spec)
    if reason:
        raise StaleDefinitionError(f"pipeline definition {spec.name}: {reason}; run `make definitions`")
    return spec.definition.read_text(encoding="utf-8")


def stale_reason(spec: PipelineSpec) -> str | None:
    """Why the committed definition must be rebuilt, or None."""
    if not spec.definition.is_file() or not spec.lock.is_file():
        missing = spec.lock if spec.definition.is_file() else spec.definition
        return f"{missing.relative_to(REPO)} is missing"
    recorded = json.loads(spec.lock.read_text(encoding="utf-8"))
    current = lock_record(spec)
    if recorded["definition"] != current["definition"]:
        return f"{spec.definition.relative_to(REPO)} was edited by hand"
    if recorded.get("entry") != current["entry"]:
        return "its entry in pipeline_defs/catalog.py changed since it was built"
    changed = sorted(
        name
        for name in {**recorded["sources"], **current["sources"]}
        if recorded["sources"].get(name) != current["sources"].get(name)
    )
    return f"{', '.join(changed)} changed since it was built" if changed else None


def lock_record(spec: PipelineSpec) -> dict[str, Any]:
    """What `<name>.lock` holds for the files as they are now."""
    return {
        "definition": _digest(spec.definition),
        "entry": hashlib.sha256(f"{spec!r} {dict(spec.code)}".encode()).hexdigest(),
        "sources": {path.relative_to(REPO).as_posix(): _digest(path) for path in spec.sources},
    }


def _digest(path: Path) -> str:
    """SHA-256 of a text file, the same whatever line endings git checked it out with."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
