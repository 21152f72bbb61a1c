"""Models: what an endpoint or a transform job runs.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html
"""

from __future__ import annotations

from typing import Any

from localcloud.sagemaker.errors import ServiceError, validation
from localcloud.sagemaker.image_uri import require_image
from localcloud.sagemaker.model_data import require_model_data
from localcloud.sagemaker.pagination import arrange, page
from localcloud.sagemaker.registry import find_package
from localcloud.sagemaker.service import Call, operation
from localcloud.sagemaker.store import AlreadyExists, NotFound, Store, now

KIND = "model"


@operation("CreateModel")
def create(call: Call) -> dict[str, Any]:
    """Create a model from images and artifacts, or from a model package."""
    request = call.request
    role = request.get("ExecutionRoleArn")
    if role:
        call.pass_role(role)
    arn = call.arn(KIND, request["ModelName"])
    # Names that differ in case only share their ARN, which is what has to be unique.
    if call.store.find_alike(KIND, request["ModelName"]):
        raise _taken(arn)
    given = _given_containers(request)
    resolved = [_resolve(call, container) for container in given]
    for container in resolved:
        require_model_data(call, role, container)
    record = {
        **{name: value for name, value in request.items() if name != "Tags"},
        "ModelArn": arn,
        "CreationTime": now(),
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        "_Containers": resolved,
    }
    try:
        call.store.create(KIND, request["ModelName"], record)
    except AlreadyExists:
        raise _taken(arn) from None
    return {"ModelArn": arn}


@operation("DescribeModel")
def describe(call: Call) -> dict[str, Any]:
    """Return a model."""
    return get_model(call, call.request["ModelName"])


@operation("ListModels")
def list_models(call: Call) -> dict[str, Any]:
    """List models, newest first unless asked otherwise."""
    found = arrange(call.store.query(KIND), call.request, name="ModelName")
    chosen, token = page(found, call.request, key=lambda record: record["ModelArn"])
    return {"Models": chosen, "NextToken": token}


@operation("DeleteModel")
def delete(call: Call) -> dict[str, Any]:
    """Delete a model; endpoints that run it go on, as on AWS."""
    try:
        call.store.delete(KIND, call.request["ModelName"])
    except NotFound:
        raise _missing(call, call.request["ModelName"]) from None
    return {}


def get_model(call: Call, name: str) -> dict[str, Any]:
    """Return a model's record, or ValidationException in AWS's words."""
    record = call.store.find(KIND, name)
    if record is None:
        raise _missing(call, name)
    return record


def model_containers(store: Store, name: str) -> list[dict[str, Any]]:
    """The containers that a model runs, in order, those from model packages resolved.

    Each has Image and, unless the image brings its own, ModelDataUrl; Mode is SingleModel or MultiModel.
    Raises NotFound.

    Example:
        >>> model_containers(store, "m")[0]["Image"]
    """
    containers: list[dict[str, Any]] = store.get(KIND, name)["_Containers"]
    return containers


def _given_containers(request: dict[str, Any]) -> list[dict[str, Any]]:
    primary, several = request.get("PrimaryContainer"), request.get("Containers")
    if primary and several:
        raise validation("Specify either PrimaryContainer or Containers, not both.")
    containers: list[dict[str, Any]] = [primary] if primary else several or []
    if not containers:
        raise validation("Specify PrimaryContainer or Containers.")
    hosts = [container["ContainerHostname"] for container in containers if "ContainerHostname" in container]
    if len(set(hosts)) != len(hosts):
        raise validation(f"Each ContainerHostname may be given once: {', '.join(hosts)}.")
    return containers


def _resolve(call: Call, container: dict[str, Any]) -> dict[str, Any]:
    """The container as it runs: that of the package where one is named, with this model's environment."""
    mode = {"Mode": container.get("Mode", "SingleModel")}
    reference = container.get("ModelPackageName")
    if bool(reference) == ("Image" in container):
        raise validation(
            "Specify one of either Image and Model Data URL or ModelPackageName in container definition."
        )
    if not reference:
        require_image(call.cloud, "Image", container["Image"])
        return _with_data({**mode, **container})
    package = find_package(call, reference)
    if package["ModelPackageStatus"] != "Completed":
        raise validation(f"ModelPackage {package['ModelPackageArn']} is {package['ModelPackageStatus']}.")
    wanted = container.get("InferenceSpecificationName")
    packed = _specification(package, wanted)["Containers"][0]
    environment = {**packed.get("Environment", {}), **container.get("Environment", {})}
    return _with_data({**mode, **packed, **container, "Environment": environment})


def _with_data(container: dict[str, Any]) -> dict[str, Any]:
    """A multi-model container as it is, refused without the prefix that its models lie under."""
    if container["Mode"] == "MultiModel" and "ModelDataUrl" not in container:
        raise validation("ModelDataUrl is required for a container of Mode MultiModel.")
    return container


def _specification(package: dict[str, Any], name: str | None) -> dict[str, Any]:
    if name is None:
        specification: dict[str, Any] | None = package.get("InferenceSpecification")
    else:
        more = package.get("AdditionalInferenceSpecifications", [])
        specification = next((one for one in more if one["Name"] == name), None)
    if specification is None:
        what = f"inference specification {name}" if name else "InferenceSpecification"
        raise validation(f"ModelPackage {package['ModelPackageArn']} has no {what} to make a model of.")
    return specification


def _taken(arn: str) -> ServiceError:
    return validation(f'Cannot create already existing model "{arn}".')


def _missing(call: Call, name: str) -> ServiceError:
    return validation(f'Could not find model "{call.arn(KIND, name)}".')
