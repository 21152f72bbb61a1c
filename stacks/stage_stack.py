"""What the stacks of one stage have in common."""

from __future__ import annotations

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
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, environment: Environment, description: str
    ) -> None:
        place = environment.placement
        super().__init__(
            scope,
            construct_id,
            stack_name=f"modelyard-{environment.name}-{construct_id.lower()}",
            description=f"Modelyard: {description}",
            env=cdk.Environment(account=place.account, region=place.region),
            termination_protection=place.termination_protection,
            # Of the stack, and by CloudFormation of everything in it.
            tags={"project": "modelyard", "environment": environment.name},
        )
