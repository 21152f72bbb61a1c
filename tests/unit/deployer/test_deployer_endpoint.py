"""The deployer on the endpoint: patience with a cold model, and what is final."""

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.stub import ANY
from serving_runtime.aws_endpoint import SageMakerEndpoint
from serving_runtime.errors import DeployError

from modelyard.runtime.invoke import Invoker
from tests.unit.deployer.deployer_support import body


def endpoint(client, retry=100.0):
    clock = [0.0]
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        clock[0] += seconds

    return SageMakerEndpoint(Invoker(client, "models", sleep=sleep, clock=lambda: clock[0]), retry), naps


def test_cold_model_is_waited_for(stubbed):
    client, stub = stubbed("sagemaker-runtime")
    model_error = {"OriginalStatusCode": 507, "OriginalMessage": "no memory"}
    for code, status, more in (
        ("ModelNotReadyException", 429, {}),
        ("ThrottlingException", 400, {}),
        ("ServiceUnavailable", 503, {}),
        ("ModelError", 424, model_error),
    ):
        stub.add_client_error("invoke_endpoint", code, http_status_code=status, modeled_fields=more or None)
    asked = {
        "EndpointName": "models",
        "TargetModel": "loans/3-abc.tar.gz",
        "Body": b'{"instances": [{"fico": 700}]}',
        "ContentType": "application/json",
        "Accept": "application/json",
        "InferenceId": ANY,
        "CustomAttributes": ANY,
    }
    stub.add_response("invoke_endpoint", {"Body": body(b'{"predictions": [1.5]}')}, asked)
    port, naps = endpoint(client)
    assert port.predict("loans/3-abc.tar.gz", [{"fico": 700}]) == [1.5]
    assert len(naps) == 4
    assert naps[0] < naps[-1] <= 5


@pytest.mark.parametrize(
    ("code", "status", "fields", "message"),
    [
        ("ValidationError", 400, {}, "Endpoint models not found"),
        ("AccessDeniedException", 403, {}, "Endpoint models not found"),
        (
            "ModelError",
            424,
            {"OriginalStatusCode": 400, "OriginalMessage": "feature x"},
            "answered 400: feature x",
        ),
    ],
)
def test_final_refusals_are_not_repeated(stubbed, code, status, fields, message):
    client, stub = stubbed("sagemaker-runtime")
    stub.add_client_error(
        "invoke_endpoint",
        code,
        "Endpoint models not found",
        http_status_code=status,
        modeled_fields=fields or None,
    )
    port, naps = endpoint(client)
    with pytest.raises(DeployError, match=message):
        port.predict("a", [1])
    assert naps == []


@pytest.mark.parametrize("error", [ReadTimeoutError(endpoint_url="e"), ConnectTimeoutError(endpoint_url="e")])
def test_an_endpoint_that_never_answers_is_given_up(error):
    class Silent:
        calls = 0

        def invoke_endpoint(self, **_):
            self.calls += 1
            raise error

    client = Silent()
    port, naps = endpoint(client, retry=30.0)
    with pytest.raises(DeployError, match="golden rows got no prediction"):
        port.predict("a", [1])
    assert 5 < client.calls < 40
    assert sum(naps) <= 30


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"error": 1}', b"\xff"])
def test_answers_without_predictions_are_refused(stubbed, answer):
    client, stub = stubbed("sagemaker-runtime")
    stub.add_response("invoke_endpoint", {"Body": body(answer)})
    with pytest.raises(DeployError, match="golden rows is no"):
        endpoint(client)[0].predict("a", [1])
