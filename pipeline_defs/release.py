"""What becomes of a model that passed its gate: a version in the registry, a model, a scored batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagemaker.core.workflow.functions import Join

from pipeline_defs.gates import Round
from pipeline_defs.model_card import Card
from pipeline_defs.parameters import CommonParameters
from pipeline_defs.steps import StepBuilder, lineage

INSTANCES = ("ml.m5.large", "ml.m5.xlarge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What a family's server takes and answers.

    content_types, response_types: media types, for the registry.
    batch, accept: media types of a batch's objects and of what becomes of them.
    lines: whether each line of such an object is a record; else the object is one.
    """

    content_types: Sequence[str]
    response_types: Sequence[str]
    batch: str
    accept: str
    lines: bool


_ROWS = ("application/json", "application/jsonlines", "text/csv")
ROWS = Format(
    content_types=_ROWS,
    response_types=_ROWS,
    batch="application/jsonlines",
    accept="application/jsonlines",
    lines=True,
)
# A folder of images: each answered by an object `<name>.out`, so that names are kept as ids.
PICTURES = Format(
    content_types=("image/jpeg", "image/png", "application/x-image", "application/json"),
    response_types=("application/json",),
    batch="application/x-image",
    accept="application/json",
    lines=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Builds the steps after the gate, the same for every round and every family.

    steps: the pipeline's step builder.
    common: the parameters that all families have.
    code: placeholder -> module of each step's code, for the lineage.
    data_sha256: the validated data's hash, a `JsonGet`.
    form: of requests and of the batch.
    """

    steps: StepBuilder
    common: CommonParameters
    code: Mapping[str, str]
    data_sha256: Any
    form: Format = ROWS

    def of(self, passed: Round, *, card: Card, metadata: Mapping[str, Any]) -> list[Any]:
        """Register `passed` with its lineage, its card and `metadata` of its own; score the batch with it."""
        register = self.steps.register(
            f"RegisterModel{passed.suffix}",
            model_data=passed.model_data,
            evaluation=passed.evaluation,
            approval_status=self.common.approval,
            content_types=self.form.content_types,
            response_types=self.form.response_types,
            instance_types=INSTANCES,
            metadata={
                **lineage(self.code),
                "input_data": self.common.input_data,
                "input_data_sha256": self.data_sha256,
                **metadata,
                "training_job": passed.training_job,
                "report": Join(on="/", values=[passed.evaluation, "report.html"]),
            },
            card=card.content(
                training_job=passed.training_job,
                dataset=Join(on="", values=["sha256:", self.data_sha256]),
                hyperparameters=passed.hyperparameters,
            ),
        )
        model = self.steps.model(f"CreateModel{passed.suffix}", model_data=passed.model_data)
        transform = self.steps.transform(
            f"BatchTransform{passed.suffix}",
            model_name=model.properties.ModelName,
            data=self.common.batch_data,
            content_type=self.form.batch,
            accept=self.form.accept,
            lines=self.form.lines,
            instance_type=self.common.processing_type,
        )
        return [register, model, transform]
