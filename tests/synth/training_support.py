"""What the tests of training constructs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from aws_cdk import aws_ecs as ecs
from aws_cdk.assertions import Template

from modelyard.training import ImageFolder, PreprocessingQueue, TrainingNetwork

UPLOADS, OUTPUT = "uploads/dogs/", "datasets/dogs/"
Statement = dict[str, Any]


class Built:
    """A stack's template, asked by type and by name."""

    def __init__(self, stack: Any) -> None:
        self.resources: dict[str, Any] = Template.from_stack(stack).to_json()["Resources"]

    def of(self, kind: str, name: str = "") -> list[dict[str, Any]]:
        """Properties of all resources of a type whose logical id holds `name`."""
        return [
            resource["Properties"]
            for logical_id, resource in self.resources.items()
            if resource["Type"] == f"AWS::{kind}" and name in logical_id
        ]

    def one(self, kind: str, name: str = "") -> dict[str, Any]:
        """Properties of the only one."""
        (found,) = self.of(kind, name)
        return found

    def rights(self, role: str) -> Iterator[tuple[list[str], list[Any], Statement]]:
        """Actions, resources and statement of everything that a role whose logical id holds `role` may do."""
        for policy in self.of("IAM::Policy"):
            if any(role in holder["Ref"] for holder in policy["Roles"]):
                for statement in policy["PolicyDocument"]["Statement"]:
                    yield _list(statement["Action"]), _list(statement["Resource"]), statement

    def actions(self, role: str) -> set[str]:
        """All of them."""
        return {action for actions, _, _ in self.rights(role) for action in actions}

    def right(self, role: str, action: str) -> Statement:
        """The only statement with an action."""
        (found,) = [statement for actions, _, statement in self.rights(role) if action in actions]
        return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def flat(value: Any) -> str:
    """A value with its intrinsic functions, as a person writes it."""
    match value:
        case {"Fn::Join": [joint, parts]}:
            return str(joint).join(flat(part) for part in parts)
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Fn::Base64": inner}:
            return flat(inner)
    return str(value)


def preprocessing(stack: Any, image: Any, bucket: Any) -> Callable[..., PreprocessingQueue]:
    """Makes queues in a network and a cluster; of the dogs of a bucket, unless told otherwise."""
    network = TrainingNetwork(stack, "Network")
    cluster = ecs.Cluster.from_cluster_attributes(stack, "Cluster", cluster_name="shared", vpc=network.vpc)

    def make(name: str = "Dogs", *, folder: ImageFolder | None = None, **settings: Any) -> PreprocessingQueue:
        dogs = ImageFolder(dataset="dogs", bucket=bucket, uploads=UPLOADS, output=OUTPUT)
        return PreprocessingQueue(
            stack, name, folder=folder or dogs, cluster=cluster, network=network, image=image, **settings
        )

    return make
