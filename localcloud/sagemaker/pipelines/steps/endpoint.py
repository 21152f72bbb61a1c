"""EndpointConfig and Endpoint steps: a configuration for each execution, and the endpoint it goes to."""

from localcloud.sagemaker.pipelines.failures import StepFailure, StepStopped, job_failure
from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult

_ENDED = frozenset({"InService", "Failed", "UpdateRollbackFailed"})


def run_endpoint_config(context: StepContext) -> StepResult:
    """Create a configuration, see
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html.
    """
    arguments = context.arguments()
    name = context.new_name(arguments.get("EndpointConfigName"))
    request = {**arguments, "EndpointConfigName": name, "Tags": context.tags(arguments)}
    metadata = {"EndpointConfig": {"Arn": context.call("CreateEndpointConfig", request)["EndpointConfigArn"]}}
    context.record.executing(metadata)
    described = context.call("DescribeEndpointConfig", {"EndpointConfigName": name})
    return StepResult(properties=described, metadata=metadata)


def run_endpoint(context: StepContext) -> StepResult:
    """Create the endpoint, or update it if it exists, and wait until it serves the configuration.

    See https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html.
    """
    arguments = context.arguments()
    if context.stop.given:
        raise StepStopped
    name, config = arguments["EndpointName"], arguments["EndpointConfigName"]
    if _exists(context, name):
        made = context.call("UpdateEndpoint", {"EndpointName": name, "EndpointConfigName": config})
    else:
        made = context.call("CreateEndpoint", {**arguments, "Tags": context.tags(arguments)})
    metadata = {"Endpoint": {"Arn": made["EndpointArn"]}}
    context.record.executing(metadata)
    context.store.wait("endpoint", name, lambda record: record["EndpointStatus"] in _ENDED)
    described = context.call("DescribeEndpoint", {"EndpointName": name})
    if described["EndpointStatus"] != "InService" or described["EndpointConfigName"] != config:
        raise job_failure(described.get("FailureReason") or f"the endpoint {name} does not serve {config}")
    return StepResult(properties=described, metadata=metadata)


def _exists(context: StepContext, name: str) -> bool:
    try:
        context.call("DescribeEndpoint", {"EndpointName": name})
    except StepFailure as failure:
        if "Could not find" in failure.reason:
            return False
        raise
    return True
