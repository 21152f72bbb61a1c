"""What the containers of training have in common: roles, logs, and settings that are no secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from modelyard.arns import inherit_stack, region_of
from modelyard.images import ContainerImage
from modelyard.permissions import acknowledge, allow, in_one_policy, service_principal

_DEFINITION = ecs.CfnTaskDefinition
LONGEST_STOP_SECONDS = 120
"""Between SIGTERM and SIGKILL, the most that ECS takes."""


class ContainerTask(Construct):
    """A task definition of one container, with a role of its own for what it does and one for its start.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        name: Of the container, and of its log streams.
        description: Of its role.
        image: What runs.
        command: Its entry point with its arguments.
        environment: Its variables, which are no secrets.
        log_retention: How long its log is kept; needed without `beside`.
        beside: A task of the same image whose log, and whose role for the start, this one shares.
        definition: Members of the task definition, besides.
        container: Members of the container definition, besides.

    Attributes:
        definition: The task definition.
        container_name: As given.
        task_role: What the container's code may do: nothing yet.
        execution_role: What ECS may do to start it: pull the image, write the log.
        log_group: Its log.
        log_group_name: Likewise by name.
    """

    definition: ecs.CfnTaskDefinition
    container_name: str
    task_role: iam.Role
    execution_role: iam.Role
    log_group: logs.LogGroup
    log_group_name: str
    _log_arn: str

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        description: str,
        image: ContainerImage,
        command: list[str],
        environment: Mapping[str, str],
        log_retention: logs.RetentionDays | None = None,
        beside: ContainerTask | None = None,
        definition: Mapping[str, Any],
        container: Mapping[str, Any],
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        self.container_name = name
        self.task_role = self._role("TaskRole", description)
        first: Construct | None
        if beside:
            self.log_group, self.execution_role, first = (
                beside.log_group,
                beside.execution_role,
                beside.definition,
            )
            self.log_group_name, self._log_arn = beside.log_group_name, beside._log_arn
        else:
            self.log_group = logs.LogGroup(
                self, "Logs", retention=log_retention, removal_policy=RemovalPolicy.DESTROY
            )
            # Asked once: each is a round trip to Node.
            self._log_arn, self.log_group_name = self.log_group.log_group_arn, self.log_group.log_group_name
            self.execution_role = self._role("ExecutionRole", f"Starts: {description}")
            first = self._may_start(image)
        self.definition = _DEFINITION(
            self,
            "Definition",
            network_mode="awsvpc",
            task_role_arn=self.task_role.role_arn,
            execution_role_arn=self.execution_role.role_arn,
            container_definitions=[
                _DEFINITION.ContainerDefinitionProperty(
                    name=name,
                    image=image.uri,
                    essential=True,
                    # The list form: the process itself is what gets SIGTERM, with no shell in between.
                    entry_point=command,
                    environment=[
                        _DEFINITION.KeyValuePairProperty(name=key, value=value)
                        for key, value in environment.items()
                    ],
                    stop_timeout=LONGEST_STOP_SECONDS,
                    log_configuration=_DEFINITION.LogConfigurationProperty(
                        log_driver="awslogs",
                        options={
                            "awslogs-group": self.log_group_name,
                            "awslogs-region": region_of(self),
                            "awslogs-stream-prefix": name,
                            # Logs that cannot be delivered do not stop the work.
                            "mode": "non-blocking",
                            "max-buffer-size": "25m",
                        },
                    ),
                    **container,
                )
            ],
            **definition,
        )
        self._arn = self.definition.ref
        if first:
            # A task that starts before it finds no image.
            self.definition.node.add_dependency(first)
        acknowledge(
            self.definition, "AwsSolutions-ECS2", "The variables are addresses and sizes; none is a secret."
        )

    @property
    def definition_arn(self) -> str:
        """ARN of the task definition's newest revision."""
        return self._arn

    def grant_read_log(self, grantee: iam.IGrantable) -> None:
        """Allow reading the log of a task whose id is known: stream `NAME/NAME/ID`, of no other group."""
        allow(grantee, actions=["logs:GetLogEvents"], resources=[self._log_arn])

    def _may_start(self, image: ContainerImage) -> iam.CfnPolicy | None:
        with in_one_policy(self.execution_role, "Permissions") as permissions:
            image.grant_pull(self.execution_role)
            allow(
                self.execution_role,
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                resources=[self._log_arn],
            )
        return permissions.policy

    def _role(self, construct_id: str, description: str) -> iam.Role:
        role = iam.Role(
            self, construct_id, description=description, assumed_by=service_principal("ecs-tasks")
        )
        inherit_stack(role, self)
        return role
