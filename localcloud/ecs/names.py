"""ARNs of ECS's resources, and what requests may say in their place."""

from __future__ import annotations

import uuid
from dataclasses import dataclass


def new_id() -> str:
    """Of a task or a container instance: 32 hexadecimal digits."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one account and region.

    Example:
        >>> Names("us-east-1", "000000000000").arn("task", "training/0123")
        'arn:aws:ecs:us-east-1:000000000000:task/training/0123'
    """

    region: str
    account: str

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a resource; `name` of what lies in a cluster begins with the cluster's."""
        return f"arn:aws:ecs:{self.region}:{self.account}:{kind}/{name}"

    def last(self, reference: str, kind: str) -> str:
        """The last part of a name or an ARN, for example a cluster's name or a task's id.

        An ARN of another kind, account or region is returned whole, so that nothing is found by it.
        """
        if not reference.startswith("arn:"):
            return reference
        prefix = self.arn(kind, "")
        return (
            reference.removeprefix(prefix).rpartition("/")[2] if reference.startswith(prefix) else reference
        )

    def key(self, cluster: str, reference: str, kind: str) -> str:
        """`CLUSTER/NAME` of a task, service or container instance; an ARN of another cluster matches none."""
        name = self.last(reference, kind)
        if reference.startswith("arn:") and reference != self.arn(kind, f"{cluster}/{name}"):
            return f"{cluster}/{reference}"
        return f"{cluster}/{name}"

    def definition(self, reference: str) -> tuple[str, int | None]:
        """Family and revision of a task definition; None for the newest."""
        name = self.last(reference, "task-definition")
        family, colon, revision = name.rpartition(":")
        if colon and revision.isdecimal() and not name.startswith("arn:"):
            return family, int(revision)
        return name, None

    def role(self, reference: str) -> str:
        """The ARN of a role, of which requests may give the name alone."""
        return reference if reference.startswith("arn:") else f"arn:aws:iam::{self.account}:role/{reference}"
