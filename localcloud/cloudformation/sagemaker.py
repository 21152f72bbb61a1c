"""CloudFormation's SageMaker types: Model, EndpointConfig, Endpoint, ModelPackageGroup.

They call the operations that a user would call. The role with which CloudFormation deploys is not evaluated
for these calls; who may deploy a stack is decided where the stack is deployed.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_SageMaker.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from localcloud.cloudformation.properties import refuse_unknown, typed
from localcloud.cloudformation.register import physical_name, register_type
from localcloud.sagemaker import shapes
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.store import NotFound

if TYPE_CHECKING:
    from localcloud.sagemaker.service import SageMaker

Properties = Mapping[str, Any]
Created = tuple[str, dict[str, Any]]

_NAME_LENGTH = 63
# Longer than the longest deployment may take; a stack must not hang for ever.
_STABLE_WITHIN = 28_800.0 + 600
_MOVING = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})


class EndpointError(Exception):
    """An endpoint did not get into service; the text is its FailureReason."""


class SageMakerType:
    """A type whose resources are created at once, and change only by replacement or in their tags.

    Args:
        noun: what the operations are called after, for example `Model`.
        kind: the store's.
        attributes: what GetAtt finds; Ref is the ARN.
        replace_on: properties whose change replaces the resource.
        in_place: properties, besides Tags, whose change does not.
        unsupported: properties that AWS takes and the local cloud cannot do.
    """

    def __init__(
        self,
        sagemaker: SageMaker,
        *,
        noun: str,
        kind: str,
        attributes: tuple[str, ...],
        replace_on: frozenset[str],
        in_place: frozenset[str] = frozenset(),
        unsupported: frozenset[str] = frozenset(),
    ) -> None:
        self.sagemaker = sagemaker
        self.noun = noun
        self.kind = kind
        self.replace_on = replace_on
        self._attributes = attributes
        self._known = replace_on | in_place | {"Tags"}
        self._unsupported = unsupported

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Created:
        """Create the resource, named by the template or by stack and logical id."""
        refuse_unknown(logical_id, properties, self._known, self._unsupported)
        request = typed(properties, shapes.input_shape(f"Create{self.noun}"))
        request.setdefault(f"{self.noun}Name", physical_name(stack_name, logical_id, _NAME_LENGTH))
        self._create(request)
        return self._created(request[f"{self.noun}Name"])

    def update(self, physical_id: str, old: Properties, new: Properties, stack_name: str) -> Created:  # noqa: ARG002 - the engine's signature
        """Bring the tags to what the template says."""
        record = self._find(physical_id)
        if record is None:
            raise ServiceError("ValidationException", f"{physical_id} does not exist any more.")
        self._update(record, new)
        before = {tag["Key"]: tag["Value"] for tag in old.get("Tags", [])}
        after = {tag["Key"]: tag["Value"] for tag in new.get("Tags", [])}
        gone = sorted(before.keys() - after.keys())
        if gone:
            self.sagemaker.call("DeleteTags", {"ResourceArn": physical_id, "TagKeys": gone}, None)
        if after != before and after:
            tags = [{"Key": key, "Value": str(value)} for key, value in after.items()]
            self.sagemaker.call("AddTags", {"ResourceArn": physical_id, "Tags": tags}, None)
        return self._created(record[f"{self.noun}Name"])

    def delete(self, physical_id: str, properties: Properties) -> None:  # noqa: ARG002 - the engine's signature
        """Delete the resource if it is still there."""
        record = self._find(physical_id)
        if record is not None:
            self._delete(record[f"{self.noun}Name"])

    def _create(self, request: dict[str, Any]) -> None:
        self.sagemaker.call(f"Create{self.noun}", request, None)

    def _update(self, record: dict[str, Any], new: Properties) -> None:
        """Nothing of these types changes in place but tags."""

    def _delete(self, name: str) -> None:
        self.sagemaker.call(f"Delete{self.noun}", {f"{self.noun}Name": name}, None)

    def _find(self, physical_id: str) -> dict[str, Any] | None:
        member = f"{self.noun}Arn"
        found = self.sagemaker.store.query(self.kind, where=lambda record: record.get(member) == physical_id)
        return found[0] if found else None

    def _created(self, name: str) -> Created:
        described = self.sagemaker.call(f"Describe{self.noun}", {f"{self.noun}Name": name}, None)
        return described[f"{self.noun}Arn"], {key: described[key] for key in self._attributes}


class EndpointType(SageMakerType):
    """Endpoints: waited for until they are in service, or until the reason is known why not."""

    def _create(self, request: dict[str, Any]) -> None:
        super()._create(request)
        name = request["EndpointName"]
        try:
            self._settle(name, request["EndpointConfigName"])
        except EndpointError:
            # CloudFormation knows no physical id yet, so nobody else would take the wreck away.
            self._delete(name)
            raise

    def _update(self, record: dict[str, Any], new: Properties) -> None:
        name = record["EndpointName"]
        # The roll-back of a failed update comes to an endpoint that has kept the old configuration.
        if new["EndpointConfigName"] == self._wait(name)["EndpointConfigName"]:
            return
        request = typed(new, shapes.input_shape("UpdateEndpoint"))
        self.sagemaker.call("UpdateEndpoint", {**request, "EndpointName": name}, None)
        self._settle(name, new["EndpointConfigName"])

    def _delete(self, name: str) -> None:
        try:
            self._wait(name)
            super()._delete(name)
            # The record itself goes last, so its absence is the end of the deletion.
            self.sagemaker.store.wait("endpoint", name, lambda _record: False, _STABLE_WITHIN)
        except NotFound:
            return

    def _settle(self, name: str, config: str) -> None:
        record = self._wait(name)
        if record["EndpointStatus"] != "InService" or record["EndpointConfigName"] != config:
            reason = record.get("FailureReason") or f"the endpoint is {record['EndpointStatus']}"
            raise EndpointError(f"Endpoint {name} did not get into service with {config}: {reason}")

    def _wait(self, name: str) -> dict[str, Any]:
        return self.sagemaker.store.wait(
            "endpoint", name, lambda record: record["EndpointStatus"] not in _MOVING, _STABLE_WITHIN
        )


_MODEL = frozenset(
    {
        "Containers",
        "EnableNetworkIsolation",
        "ExecutionRoleArn",
        "InferenceExecutionConfig",
        "ModelName",
        "PrimaryContainer",
        "VpcConfig",
    }
)
_ENDPOINT_CONFIG = frozenset(
    {
        "AsyncInferenceConfig",
        "DataCaptureConfig",
        "EnableNetworkIsolation",
        "EndpointConfigName",
        "ExecutionRoleArn",
        "ExplainerConfig",
        "KmsKeyId",
        "ProductionVariants",
        "ShadowProductionVariants",
        "VpcConfig",
    }
)
_ENDPOINT_IN_PLACE = frozenset(
    {
        "DeploymentConfig",
        "EndpointConfigName",
        "ExcludeRetainedVariantProperties",
        "RetainAllVariantProperties",
        "RetainDeploymentConfig",
    }
)


def install(sagemaker: SageMaker) -> None:
    """Let templates use the four types."""
    for handler in (
        SageMakerType(sagemaker, noun="Model", kind="model", attributes=("ModelName",), replace_on=_MODEL),
        SageMakerType(
            sagemaker,
            noun="EndpointConfig",
            kind="endpoint-config",
            attributes=("EndpointConfigName",),
            replace_on=_ENDPOINT_CONFIG,
        ),
        SageMakerType(
            sagemaker,
            noun="ModelPackageGroup",
            kind="model-package-group",
            attributes=("ModelPackageGroupArn", "ModelPackageGroupStatus", "CreationTime"),
            replace_on=frozenset({"ModelPackageGroupDescription", "ModelPackageGroupName"}),
            unsupported=frozenset({"ModelPackageGroupPolicy", "ManagedConfiguration"}),
        ),
        EndpointType(
            sagemaker,
            noun="Endpoint",
            kind="endpoint",
            attributes=("EndpointName",),
            replace_on=frozenset({"EndpointName"}),
            in_place=_ENDPOINT_IN_PLACE,
        ),
    ):
        register_type(f"AWS::SageMaker::{handler.noun}", handler, name_property=f"{handler.noun}Name")
