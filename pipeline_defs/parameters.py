"""The parameters that pipelines of every family have, under the same names."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sagemaker.core.workflow.parameters import Parameter, ParameterInteger, ParameterString

from pipeline_defs.session import BUCKET

DEFAULT_INSTANCE = "ml.m5.large"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonParameters:
    """What every execution can choose. A stage sets the instance types' defaults."""

    input_data: ParameterString
    batch_data: ParameterString
    processing_count: ParameterInteger
    processing_type: ParameterString
    training_type: ParameterString
    training_count: ParameterInteger
    approval: ParameterString
    on_gate_failure: ParameterString

    def all(self) -> list[Parameter]:
        return [getattr(self, item.name) for item in fields(self)]


def common_parameters(pipeline: str, *, batch: str = "batch.jsonl") -> CommonParameters:
    """New parameters of `pipeline`, whose batch lies below `batch/<pipeline>/`: the file `batch`, or all."""
    return CommonParameters(
        # No default: the cache compares addresses, so a fixed one would answer new data with old results.
        input_data=ParameterString("InputData"),
        batch_data=ParameterString("BatchData", default_value=f"s3://{BUCKET}/batch/{pipeline}/{batch}"),
        processing_count=ParameterInteger("ProcessingInstanceCount", default_value=1),
        processing_type=ParameterString("ProcessingInstanceType", default_value=DEFAULT_INSTANCE),
        training_type=ParameterString("TrainingInstanceType", default_value=DEFAULT_INSTANCE),
        training_count=ParameterInteger("TrainingInstanceCount", default_value=1),
        approval=ParameterString(
            "ModelApprovalStatus",
            default_value="PendingManualApproval",
            enum_values=["Approved", "Rejected", "PendingManualApproval"],
        ),
        on_gate_failure=ParameterString(
            "OnGateFailure", default_value="Fail", enum_values=["Fail", "Retrain"]
        ),
    )
