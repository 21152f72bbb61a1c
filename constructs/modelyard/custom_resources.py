"""CDK's provider framework around one of our functions, with roles that may log and call it, and no more."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import custom_resources as cr
from constructs import Construct

from modelyard.functions import FunctionSize, RuntimeFunction, service_role
from modelyard.permissions import acknowledge_wildcards
from modelyard.singletons import StackSingleton


class CustomResourceProvider(StackSingleton):
    """Answers CloudFormation for the custom resources of one kind in a stack.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        domain: Whose `runtime` is the handler.
        description: What the handler does.
        environment: The handler's environment variables.
        timeout_seconds: The handler's timeout.

    Attributes:
        handler: The handler.
        handler_role: Its role.
        service_token: What custom resources name.
        service_timeout: How long CloudFormation waits for an answer; its own default is an hour, for which a
            handler that cannot even start would hang a stack.
    """

    handler: RuntimeFunction
    handler_role: iam.Role
    service_token: str
    service_timeout: Duration

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        domain: str,
        description: str,
        environment: Mapping[str, str],
        timeout_seconds: int,
    ) -> None:
        super().__init__(scope, construct_id)
        self.service_timeout = Duration.seconds(timeout_seconds + 60)
        self.handler = RuntimeFunction(
            self,
            "Handler",
            domain=domain,
            description=description,
            environment=environment,
            size=FunctionSize(memory_mib=512, timeout_seconds=timeout_seconds),
        )
        self.handler_role = self.handler.execution_role
        log_group = logs.LogGroup(
            self,
            "FrameworkLogs",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=RemovalPolicy.DESTROY,
        )
        framework_role = service_role(
            self, "FrameworkRole", description="Runs: CDK's custom resource framework", log_group=log_group
        )
        framework = cr.Provider(
            self,
            "Framework",
            on_event_handler=self.handler,
            framework_on_event_role=framework_role,
            log_group=log_group,
        )
        acknowledge_wildcards(
            framework_role,
            [f"{self.handler.function_arn}:*"],
            "CDK's framework invokes any version of its handler.",
        )
        self.service_token = framework.service_token

    def permissions(self, scope: Construct, name: str) -> iam.Policy:
        """An empty policy of the handler's role, for what one custom resource needs.

        One each, on which the custom resource depends: when that leaves its template, CloudFormation takes
        its policy away only after it; statements in a policy shared with others would be gone before.

        Args:
            scope: Where the custom resource lives.
            name: What it is about. Under another name it is another policy, so that the permission to delete
                what was renamed goes only after it.
        """
        return iam.Policy(scope, f"HandlerPermissions-{name}", roles=[self.handler_role])
