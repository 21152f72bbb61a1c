"""Python functions as this library wants them: newest runtime, own role, own logs, code of one domain."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import RemovalPolicy, Size
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from modelyard.archives import function_code
from modelyard.arns import inherit_stack
from modelyard.assets import FileAsset, add_file
from modelyard.durations import seconds
from modelyard.permissions import service_principal


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionSize:
    """Resources of a function.

    Args:
        memory_mib: Memory; CPU grows with it (1769 MiB is one vCPU).
        timeout_seconds: Lambda ends the function after this, at most 900.
        storage_mib: Size of /tmp, 512 to 10240.

    Raises:
        ValueError: A number outside Lambda's limits.
    """

    memory_mib: int = 512
    timeout_seconds: int = 60
    storage_mib: int = 512

    def __post_init__(self) -> None:
        for name, low, high in (
            ("memory_mib", 128, 10240),
            ("timeout_seconds", 1, 900),
            ("storage_mib", 512, 10240),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"FunctionSize.{name} is {getattr(self, name)}; Lambda takes {low} to {high}"
                )


class RuntimeFunction(lambda_.Function):
    """A function whose code is the folder `runtime` of a domain of this library.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        domain: The domain: `serving` for the handler `modelyard.serving.runtime.handler.handle`.
        entry: The module of the handler, where a domain has several functions.
        description: What the function does.
        environment: Environment variables.
        size: Memory, time and disk.
        log_retention: How long logs are kept.
        dead_letter_queue: Where asynchronous events go that failed for good.
        reserved_concurrency: Concurrency set aside and not exceeded; None for the account's pool.

    Attributes:
        execution_role: May write to the function's own log group and nowhere else; the construct around it
            grants the rest, to the role, since CDK is asked less about that than about a function.
    """

    execution_role: iam.Role

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        domain: str,
        entry: str = "handler",
        description: str,
        environment: Mapping[str, str],
        size: FunctionSize,
        log_retention: logs.RetentionDays = logs.RetentionDays.THREE_MONTHS,
        dead_letter_queue: sqs.IQueue | None = None,
        reserved_concurrency: int | None = None,
    ) -> None:
        log_group = logs.LogGroup(
            scope, f"{construct_id}Logs", retention=log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        self.execution_role = service_role(
            scope, f"{construct_id}Role", description=f"Runs: {description}", log_group=log_group
        )
        runtime, architecture = _platform()
        super().__init__(
            scope,
            construct_id,
            description=description,
            runtime=runtime,
            architecture=architecture,
            handler=f"modelyard.{domain}.runtime.{entry}.handle",
            code=_ArchivedCode(
                add_file(
                    scope,
                    function_code(domain),
                    suffix=".zip",
                    name=f"modelyard.{domain}.runtime",
                    deploy_time=True,
                )
            ),
            environment=dict(environment),
            memory_size=size.memory_mib,
            timeout=seconds(size.timeout_seconds),
            ephemeral_storage_size=Size.mebibytes(size.storage_mib) if size.storage_mib != 512 else None,
            role=self.execution_role,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            dead_letter_queue=dead_letter_queue,
            reserved_concurrent_executions=reserved_concurrency,
        )


@functools.cache
def _platform() -> tuple[lambda_.Runtime, lambda_.Architecture]:
    return lambda_.Runtime.PYTHON_3_14, lambda_.Architecture.ARM_64


class _ArchivedCode(lambda_.Code):
    """Code that is an archive already; CDK's own `Code.from_asset` makes one of a folder, with an Asset."""

    def __init__(self, archive: FileAsset) -> None:
        super().__init__()
        self._archive = archive

    def bind(self, scope: Construct) -> lambda_.CodeConfig:
        """Where Lambda finds it."""
        del scope
        return lambda_.CodeConfig(
            s3_location=s3.Location(
                bucket_name=self._archive.bucket_name, object_key=self._archive.object_key
            )
        )


def service_role(
    scope: Construct, construct_id: str, *, description: str, log_group: logs.ILogGroup
) -> iam.Role:
    """A role for a function that may write to `log_group`; AWS's managed policy would allow every group."""
    role = iam.Role(
        scope,
        construct_id,
        description=description,
        assumed_by=service_principal("lambda"),
    )
    inherit_stack(role, scope)
    log_group.grant_write(role)
    return role
