"""What the stacks of one stage have in common."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from constructs import Construct

from stacks.environments import Environment


class StageStack(cdk.Stack):
    """A stack whose name, place, protection and tags are those of its environment.

    Args:
        scope: The app.
        construct_id: In lower case also the last part of the stack's name, for example `Data`.
        environment: The stage.
        description: What the stack holds, for people who look at it in an account.

    Attributes:
        stage_tags: Tags of the stack, which CloudFormation gives to everything in it.
    """

    stage_tags: Mapping[str, str]

    def __init__(
        self, scope: Construct, construct_id: str, *, environment: Environment, description: str
    ) -> None:
        place = environment.placement
        self.stage_tags = {"environment": environment.name, "project": "modelyard"}
        super().__init__(
            scope,
            construct_id,
            stack_name=stack_name(environment, construct_id),
            description=f"Modelyard: {description}",
            env=cdk.Environment(account=place.account, region=place.region),
            termination_protection=place.termination_protection,
            tags=self.stage_tags,
        )


def stack_name(environment: Environment, construct_id: str) -> str:
    """Name of a stack of this environment, also of one that is not made yet; people's tools ask by it."""
    return f"modelyard-{environment.name}-{construct_id.lower()}"
