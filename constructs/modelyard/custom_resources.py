"""One of our functions behind custom resources: it answers CloudFormation itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from aws_cdk import CustomResource, Duration
from constructs import Construct, IDependable

from modelyard.functions import FunctionSize, RuntimeFunction
from modelyard.permissions import PolicyDraft, in_one_policy
from modelyard.singletons import StackSingleton

# How late the function may begin. What begins later than CloudFormation's patience allows for would act on a
# stack that has gone on without it.
_LATE_SECONDS = 60


class CustomResourceProvider(StackSingleton):
    """The function behind the custom resources of one kind in a stack, and what their permissions hang on.

    CloudFormation invokes it asynchronously, with the right of whoever deploys. Lambda does not repeat what
    failed: by then the stack may be rolling back.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        domain: Whose `runtime` holds the handler, which answers through `modelyard.runtime.cloudformation`.
        description: What the function does.
        environment: Its environment variables.
        timeout_seconds: Its timeout.

    Attributes:
        function: The function.

    See https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-custom-resources-lambda.html
    """

    function: RuntimeFunction

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
        self.function = RuntimeFunction(
            self,
            "Function",
            domain=domain,
            description=description,
            environment=environment,
            size=FunctionSize(memory_mib=512, timeout_seconds=timeout_seconds),
        )
        self.function.configure_async_invoke(retry_attempts=0, max_event_age=Duration.seconds(_LATE_SECONDS))
        self._service_token = self.function.function_arn
        # CloudFormation's own default is an hour, for which a function that cannot even start would hang a
        # stack.
        self._service_timeout = Duration.seconds(_LATE_SECONDS + timeout_seconds)

    def permissions(self, scope: Construct, name: str) -> AbstractContextManager[PolicyDraft]:
        """A policy of the function's role, for what one custom resource needs: all that the block allows to
        `function.execution_role`.

        One each, on which the custom resource depends: when that leaves its template, CloudFormation takes
        its policy away only after it; statements in a policy shared with others would be gone before.

        Args:
            scope: Where the custom resource lives.
            name: What it is about. Under another name it is another policy, so that the permission to delete
                what was renamed goes only after it.
        """
        return in_one_policy(self.function.execution_role, f"Permissions-{name}", scope=scope)

    def resource(
        self,
        scope: Construct,
        construct_id: str,
        *,
        resource_type: str,
        properties: Mapping[str, Any],
        after: Sequence[IDependable],
    ) -> CustomResource:
        """A custom resource that is made after, and deleted before, the function and what is in `after`.

        The permissions belong there, and whatever else the function needs or touches.
        """
        resource = CustomResource(
            scope,
            construct_id,
            resource_type=resource_type,
            service_token=self._service_token,
            service_timeout=self._service_timeout,
            properties=properties,
        )
        resource.node.add_dependency(self, *after)
        return resource
