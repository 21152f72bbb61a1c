"""Operations on endpoints, and InvokeEndpoint.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html
"""

from __future__ import annotations

from typing import Any

from localcloud.sagemaker.endpoint_configs import check_count, get_endpoint_config, require_traffic
from localcloud.sagemaker.errors import ServiceError, validation
from localcloud.sagemaker.hosting import plan, rollout
from localcloud.sagemaker.hosting.endpoints import KIND, MOVING
from localcloud.sagemaker.models import get_model, model_containers
from localcloud.sagemaker.pagination import arrange, page
from localcloud.sagemaker.service import Call, operation
from localcloud.sagemaker.store import now


@operation("CreateEndpoint")
def create_endpoint(call: Call) -> dict[str, Any]:
    """Start an endpoint of a configuration; it is Creating until its containers answer."""
    request, moment = call.request, now()
    name = request["EndpointName"]
    planned = _plan(call, request["EndpointConfigName"], moment)
    arn = call.arn(KIND, name)
    record = {
        "EndpointName": name,
        "EndpointArn": arn,
        "EndpointConfigName": request["EndpointConfigName"],
        "EndpointStatus": "Creating",
        "CreationTime": moment,
        "LastModifiedTime": moment,
        "_NextPlan": planned,
    }
    if "DeploymentConfig" in request:
        _check_rollout(request["DeploymentConfig"], planned)
        record["LastDeploymentConfig"] = request["DeploymentConfig"]
    with call.store.transaction():
        # Names that differ in case only share their ARN, which is what has to be unique.
        if call.store.find_alike(KIND, name):
            raise validation(f'Cannot create already existing endpoint "{arn}".')
        call.store.create(KIND, name, record)
    call.sagemaker.hosting.deploy(name)
    return {"EndpointArn": arn}


@operation("UpdateEndpoint")
def update_endpoint(call: Call) -> dict[str, Any]:
    """Bring an endpoint to another configuration: the old fleet serves until the new one is healthy."""
    request, moment = call.request, now()
    name = request["EndpointName"]
    planned = _plan(call, request["EndpointConfigName"], moment)
    excluded = [item["VariantPropertyType"] for item in request.get("ExcludeRetainedVariantProperties", [])]

    def change(record: dict[str, Any]) -> None:
        _require_settled(record)
        if record["EndpointStatus"] == "Failed":
            raise validation(f"Endpoint {name} is Failed; a failed endpoint can only be deleted.")
        if request.get("RetainAllVariantProperties"):
            fresh = [entry["Summary"] for entry in planned["Variants"]]
            kept = plan.retain(fresh, record.get("ProductionVariants", []), excluded)
            for entry, summary in zip(planned["Variants"], kept, strict=True):
                entry["Summary"] = summary
        if "DeploymentConfig" in request:
            record["LastDeploymentConfig"] = request["DeploymentConfig"]
        elif not request.get("RetainDeploymentConfig"):
            record.pop("LastDeploymentConfig", None)
        if "LastDeploymentConfig" in record:
            _require_same_variants(record, planned)
            _check_rollout(record["LastDeploymentConfig"], planned)
        record.update(EndpointStatus="Updating", LastModifiedTime=moment, _NextPlan=planned)
        record.pop("FailureReason", None)

    get_endpoint(call, name)
    call.store.update(KIND, name, change)
    call.sagemaker.hosting.deploy(name)
    return {"EndpointArn": call.arn(KIND, name)}


@operation("UpdateEndpointWeightsAndCapacities")
def update_weights_and_capacities(call: Call) -> dict[str, Any]:
    """Change weights and instance counts of variants."""
    request = call.request
    name = request["EndpointName"]
    desired = {item["VariantName"]: item for item in request["DesiredWeightsAndCapacities"]}

    def change(record: dict[str, Any]) -> None:
        _require_settled(record)
        if record["EndpointStatus"] != "InService":
            raise validation(f"Endpoint {name} is {record['EndpointStatus']}; it must be InService.")
        known = {summary["VariantName"]: summary for summary in record["ProductionVariants"]}
        if missing := sorted(desired.keys() - known.keys()):
            raise validation(f'Could not find variant "{missing[0]}" of endpoint "{record["EndpointArn"]}".')
        require_traffic(
            {**summary, **desired.get(variant, {})}.get("DesiredWeight", 0)
            for variant, summary in known.items()
        )
        for variant, item in desired.items():
            if "ServerlessUpdateConfig" in item:
                raise validation(f"{variant}: the local SageMaker does not run serverless variants.")
            check_count(variant, item.get("DesiredInstanceCount", 1))
            for member in ("DesiredWeight", "DesiredInstanceCount"):
                if member in item:
                    known[variant][member] = item[member]
        record.update(EndpointStatus="Updating", LastModifiedTime=now())

    get_endpoint(call, name)
    call.store.update(KIND, name, change)
    call.sagemaker.hosting.scale(name)
    return {"EndpointArn": call.arn(KIND, name)}


@operation("DescribeEndpoint")
def describe_endpoint(call: Call) -> dict[str, Any]:
    """Return an endpoint."""
    return get_endpoint(call, call.request["EndpointName"])


@operation("ListEndpoints")
def list_endpoints(call: Call) -> dict[str, Any]:
    """List endpoints, newest first unless asked otherwise."""
    found = arrange(call.store.query(KIND), call.request, name="EndpointName", status="EndpointStatus")
    chosen, token = page(found, call.request, key=lambda record: str(record["EndpointArn"]))
    return {"Endpoints": chosen, "NextToken": token}


@operation("DeleteEndpoint")
def delete_endpoint(call: Call) -> None:
    """Stop an endpoint; its record goes when its containers have ended."""
    name = call.request["EndpointName"]

    def change(record: dict[str, Any]) -> None:
        _require_settled(record)
        record.update(EndpointStatus="Deleting", LastModifiedTime=now())

    get_endpoint(call, name)
    call.store.update(KIND, name, change)
    call.sagemaker.hosting.remove(name)


@operation("InvokeEndpoint")
def invoke_endpoint(call: Call) -> dict[str, Any]:
    """Have a model answer."""
    name = call.request["EndpointName"]
    record = call.store.find(KIND, name)
    if record is None or "_Plan" not in record or record["EndpointStatus"] == "Deleting":
        raise ServiceError("ValidationError", f"Endpoint {name} of account {call.cloud.account} not found.")
    return call.sagemaker.hosting.invoke(name, call.request)


def get_endpoint(call: Call, name: str) -> dict[str, Any]:
    """Return an endpoint's record, or ValidationException in AWS's words."""
    record = call.store.find(KIND, name)
    if record is None:
        raise validation(f'Could not find endpoint "{call.arn(KIND, name)}".')
    return record


def _require_settled(record: dict[str, Any]) -> None:
    if record["EndpointStatus"] in MOVING:
        raise validation(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')


def _require_same_variants(record: dict[str, Any], planned: dict[str, Any]) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html"""
    old = sorted(summary["VariantName"] for summary in record.get("ProductionVariants", []))
    new = sorted(entry["Summary"]["VariantName"] for entry in planned["Variants"])
    if old != new:
        raise validation(
            f"An update with a DeploymentConfig keeps the variants' names: {', '.join(old)} would become "
            f"{', '.join(new)}."
        )


def _check_rollout(config: dict[str, Any], planned: dict[str, Any]) -> None:
    try:
        rollout.plan(config, sum(entry["Summary"]["DesiredInstanceCount"] for entry in planned["Variants"]))
    except rollout.RolloutError as error:
        raise validation(str(error)) from None


def _plan(call: Call, config_name: str, moment: float) -> dict[str, Any]:
    """Everything that an endpoint needs of its configuration and models, which may be deleted later."""
    config = get_endpoint_config(call, config_name)
    entries: list[dict[str, Any]] = []
    images: dict[str, str] = {}
    for variant in config["ProductionVariants"]:
        model = get_model(call, variant["ModelName"])
        containers = model_containers(call.store, variant["ModelName"])
        if len(containers) != 1:
            raise validation(
                f"Model {variant['ModelName']} has {len(containers)} containers; the local SageMaker "
                "runs one."
            )
        role = model.get("ExecutionRoleArn") or config.get("ExecutionRoleArn")
        if role is None:
            raise validation(f"Model {variant['ModelName']} has no ExecutionRoleArn; create it with one.")
        images[variant["ModelName"]] = containers[0]["Image"]
        entries.append(
            {
                "Container": containers[0],
                "RoleArn": role,
                "ModelArn": model["ModelArn"],
                "Isolated": model.get("EnableNetworkIsolation", False),
                "StartSeconds": variant.get("ContainerStartupHealthCheckTimeoutInSeconds"),
            }
        )
    for entry, summary in zip(entries, plan.summaries(config, images, moment), strict=True):
        entry["Summary"] = summary
    return {
        "EndpointConfigName": config_name,
        "Variants": entries,
        "Capture": config.get("DataCaptureConfig"),
    }
