"""SendPipelineExecutionStepSuccess and SendPipelineExecutionStepFailure: what ends a Callback step."""

from typing import Any

from localcloud.sagemaker.errors import conflict, resource_not_found
from localcloud.sagemaker.pipelines.records import CALLBACK, STEP
from localcloud.sagemaker.service import Call, operation
from localcloud.sagemaker.store import Document, NotFound


@operation("SendPipelineExecutionStepSuccess")
def send_pipeline_execution_step_success(call: Call) -> dict[str, Any]:
    """See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_SendPipelineExecutionStepSuccess.html."""
    given = call.request.get("OutputParameters", [])
    return _answer(call, {"Outputs": {item["Name"]: item["Value"] for item in given}})


@operation("SendPipelineExecutionStepFailure")
def send_pipeline_execution_step_failure(call: Call) -> dict[str, Any]:
    """See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_SendPipelineExecutionStepFailure.html."""
    return _answer(call, {"FailureReason": call.request.get("FailureReason", "")})


def _answer(call: Call, answer: dict[str, Any]) -> dict[str, Any]:
    token = call.request["CallbackToken"]
    answer["ClientRequestToken"] = call.request["ClientRequestToken"]

    def change(record: Document) -> None:
        if record["Answer"] == answer:
            return
        step = call.store.find(STEP, record["Step"])
        if record["Answer"] is not None or record.get("Ended") or step is None or "EndTime" in step:
            raise conflict(f"The callback step of token '{token}' is over; each token is answered once.")
        record["Answer"] = answer

    try:
        record = call.store.update(CALLBACK, token, change)
    except NotFound:
        raise resource_not_found(f"There is no callback step with the token '{token}'.") from None
    return {"PipelineExecutionArn": record["PipelineExecutionArn"]}
