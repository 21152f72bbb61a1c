"""The model card of a version: what it is for, what it was trained on, and how good it is.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-details.html#model-card-schema
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.workflow.functions import Join, JsonGet

# Name -> value; or where a report has the card's list of them, as JSON in a text: a tuning job decides their
# names, and a value of an execution is never a list.
Hyperparameters: TypeAlias = Mapping[str, Any] | JsonGet
# SageMaker's enumeration; a rating is for the people who use the model.
RISK = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a family says of its models.

    purpose, intended_use, caveats: sentences for people.
    minimize: the objective of training, in words.
    metrics: name -> the number, as the evaluation step measured it.
    unit: what was held out to measure them, in the plural.
    """

    purpose: str
    intended_use: str
    caveats: str
    minimize: str
    metrics: Mapping[str, Any]
    unit: str = "rows"

    def content(self, *, training_job: Any, dataset: Any, hyperparameters: Hyperparameters) -> Join:
        """`ModelCardContent`, JSON in which SageMaker puts the values of the execution."""
        listed = (
            hyperparameters
            if isinstance(hyperparameters, JsonGet)
            else [
                {"name": name, "value": value if isinstance(value, PipelineVariable) else str(value)}
                for name, value in hyperparameters.items()
            ]
        )
        return joined(
            {
                "intended_uses": {
                    "purpose_of_model": self.purpose,
                    "intended_uses": self.intended_use,
                    "risk_rating": RISK,
                },
                "training_details": {
                    "objective_function": {
                        "function": {"function": "Minimize", "facet": "Loss"},
                        "notes": self.minimize,
                    },
                    "training_job_details": {
                        "training_arn": training_job,
                        "training_datasets": [dataset],
                        "hyper_parameters": listed,
                    },
                },
                "evaluation_details": [
                    {
                        "name": f"Held-out {self.unit}",
                        "metric_groups": [
                            {
                                "name": "metrics",
                                "metric_data": [
                                    {"name": name, "type": "number", "value": value}
                                    for name, value in self.metrics.items()
                                ],
                            }
                        ],
                    }
                ],
                "additional_information": {"caveats_and_recommendations": self.caveats},
            }
        )


def joined(document: Any) -> Join:
    """`document` as JSON text, with its pipeline variables where the execution knows their values.

    A `JsonGet` stands for a number, or for text that is JSON. Other variables stand for text, and their
    values must need no escaping in JSON: ARNs and digests, not what people name.
    """
    variables: list[PipelineVariable] = []

    def mark(value: Any) -> str:
        if not isinstance(value, PipelineVariable):
            raise TypeError(f"{value!r} has no place in a model card")
        variables.append(value)
        return f"\0{len(variables) - 1}\0"

    text = json.dumps(document, default=mark, separators=(",", ":"))
    pieces = text.split("\\u0000")
    values: list[Any] = []
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            values.append(piece)
            continue
        variable = variables[int(piece)]
        if isinstance(variable, JsonGet):  # JSON already: without quotes
            values[-1] = values[-1].removesuffix('"')
            values.append(variable)
            pieces[index + 1] = pieces[index + 1].removeprefix('"')
        else:
            values.append(variable)
    return Join(on="", values=values)
