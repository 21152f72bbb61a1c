"""What the roles of resources must be allowed to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.templates import names
from modelyard_cli.check.templates.model import Resource, Template, objects, opaque, part
from modelyard_cli.check.templates.statements import ROLE, may

_OF_ENDPOINTS = (
    "InvokeEndpointAsync",
    "InvokeEndpointWithResponseStream",
    "DescribeEndpoint",
    "UpdateEndpoint",
    "UpdateEndpointWeightsAndCapacities",
    "DeleteEndpoint",
)


def role_of(template: Template, arn: Any) -> Resource | None:
    """The role of this assembly that an ARN or a name means."""
    return template.assembly.target(arn, ROLE)


def needs(template: Template) -> Iterator[tuple[Resource, str, Resource, str, str]]:
    """(resource, path, role, action, resource ARN) that a template cannot work without."""
    for function in template.of("AWS::Lambda::Function"):
        role = role_of(template, function.properties.get("Role"))
        if role is None:
            continue
        letters = part(function.properties, "DeadLetterConfig", "TargetArn")
        if isinstance(letters, str) and not opaque(letters):
            yield (
                function,
                "DeadLetterConfig",
                role,
                "sns:Publish" if ":sns:" in letters else "sqs:SendMessage",
                letters,
            )
        if function.properties.get("VpcConfig"):
            yield function, "VpcConfig", role, "ec2:CreateNetworkInterface", "*"
        for name, endpoint in _endpoints(function):
            # One that describes or updates the endpoint may well not call it.
            if not any(may(role, f"sagemaker:{action}", endpoint) for action in _OF_ENDPOINTS):
                yield function, f"Environment.Variables.{name}", role, "sagemaker:InvokeEndpoint", endpoint
    for mapping in template.of("AWS::Lambda::EventSourceMapping"):
        target = template.assembly.target(mapping.properties.get("FunctionName"), "AWS::Lambda::Function")
        role = role_of(template, target.properties.get("Role")) if target else None
        source = mapping.properties.get("EventSourceArn")
        if role is not None and isinstance(source, str) and not opaque(source) and ":sqs:" in source:
            for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"):
                yield mapping, "EventSourceArn", role, action, source
        if role is not None and isinstance(source, str) and not opaque(source) and ":dynamodb:" in source:
            yield mapping, "EventSourceArn", role, "dynamodb:GetRecords", "*"
    yield from _of_models(template)
    yield from _of_configs(template)
    yield from _of_tasks(template)
    yield from _of_targets(template)


def _endpoints(function: Resource) -> Iterator[tuple[str, str]]:
    """(variable, ARN) of the endpoints that a function's environment names."""
    variables = part(function.properties, "Environment", "Variables")
    for name, value in variables.items() if isinstance(variables, dict) else ():
        if "ENDPOINT" not in name.upper() or not isinstance(value, str) or not value:
            continue
        found = function.template.assembly.target(value, "AWS::SageMaker::Endpoint")
        if found is not None:
            yield name, names.arn_of(found)
        elif name.upper() in ("ENDPOINT_NAME", "SAGEMAKER_ENDPOINT_NAME"):
            yield name, "*"  # of another assembly


def _of_models(template: Template) -> Iterator[tuple[Resource, str, Resource, str, str]]:
    for model in template.of("AWS::SageMaker::Model"):
        role = role_of(template, model.properties.get("ExecutionRoleArn"))
        containers = [model.properties.get("PrimaryContainer"), *objects(model.properties.get("Containers"))]
        for container in (c for c in containers if isinstance(c, dict) and role is not None):
            assert role is not None
            url = container.get("ModelDataUrl")
            if isinstance(url, str) and url.startswith("s3://") and not opaque(url):
                key = url.removeprefix("s3://") + ("*" if url.endswith("/") else "")
                yield model, "ExecutionRoleArn", role, "s3:GetObject", f"arn:${{AWS::Partition}}:s3:::{key}"
                if container.get("Mode") == "MultiModel":
                    bucket = key.split("}", 1)[0] + "}" if key.startswith("${") else key.split("/", 1)[0]
                    yield (
                        model,
                        "ExecutionRoleArn",
                        role,
                        "s3:ListBucket",
                        f"arn:${{AWS::Partition}}:s3:::{bucket}",
                    )
            if model.properties.get("VpcConfig"):
                yield model, "VpcConfig", role, "ec2:CreateNetworkInterface", "*"
            if ".dkr.ecr." in str(container.get("Image")) and "${AWS::AccountId}" in str(container["Image"]):
                yield model, "ExecutionRoleArn", role, "ecr:BatchGetImage", "*"
                yield model, "ExecutionRoleArn", role, "ecr:GetAuthorizationToken", "*"


def _of_configs(template: Template) -> Iterator[tuple[Resource, str, Resource, str, str]]:
    """What endpoints write: captured requests, answers of asynchronous ones."""
    for config in template.of("AWS::SageMaker::EndpointConfig"):
        places = {
            "DataCaptureConfig": part(config.properties, "DataCaptureConfig", "DestinationS3Uri"),
            "AsyncInferenceConfig": part(
                config.properties, "AsyncInferenceConfig", "OutputConfig", "S3OutputPath"
            ),
        }
        for variant in objects(config.properties.get("ProductionVariants")):
            model = template.assembly.target(variant.get("ModelName"), "AWS::SageMaker::Model")
            role = role_of(template, model.properties.get("ExecutionRoleArn")) if model else None
            for path, url in places.items():
                if role is None:
                    continue
                if path == "AsyncInferenceConfig":
                    for topic in _topics(config):
                        yield config, path, role, "sns:Publish", topic
                if isinstance(url, str) and url.startswith("s3://") and not opaque(url):
                    key = url.removeprefix("s3://").rstrip("/") + "/*"
                    yield config, path, role, "s3:PutObject", f"arn:${{AWS::Partition}}:s3:::{key}"


def _topics(config: Resource) -> Iterator[str]:
    given = part(config.properties, "AsyncInferenceConfig", "OutputConfig", "NotificationConfig")
    for member in ("SuccessTopic", "ErrorTopic"):
        topic = part(given, member)
        if isinstance(topic, str) and not opaque(topic):
            yield topic


def _of_tasks(template: Template) -> Iterator[tuple[Resource, str, Resource, str, str]]:
    for task in template.of("AWS::ECS::TaskDefinition"):
        role = role_of(template, task.properties.get("ExecutionRoleArn"))
        if role is None:
            continue
        for index, container in enumerate(objects(task.properties.get("ContainerDefinitions"))):
            at = f"ContainerDefinitions[{index}]"
            if ".dkr.ecr." in str(container.get("Image")):
                yield task, at, role, "ecr:BatchGetImage", "*"
            if part(container, "LogConfiguration", "LogDriver") == "awslogs":
                yield task, at, role, "logs:PutLogEvents", "*"
            for secret in objects(container.get("Secrets")):
                service = (
                    "ssm:GetParameters"
                    if ":ssm:" in str(secret.get("ValueFrom"))
                    else "secretsmanager:GetSecretValue"
                )
                yield task, at, role, service, "*"


def _of_targets(template: Template) -> Iterator[tuple[Resource, str, Resource, str, str]]:
    actions = {
        ":states:": "states:StartExecution",
        ":cluster/": "ecs:RunTask",
        ":pipeline/": "sagemaker:StartPipelineExecution",
        ":event-bus/": "events:PutEvents",
    }
    for rule in template.of("AWS::Events::Rule"):
        for index, target in enumerate(objects(rule.properties.get("Targets"))):
            role, arn = role_of(template, target.get("RoleArn")), str(target.get("Arn"))
            for mark, action in actions.items():
                if mark in arn and role is not None:
                    yield (
                        rule,
                        f"Targets[{index}].RoleArn",
                        role,
                        action,
                        "*" if action == "ecs:RunTask" or opaque(arn) else arn,
                    )
                    if action == "ecs:RunTask":
                        for passed in _roles_of_task(template, target):
                            yield rule, f"Targets[{index}].RoleArn", role, "iam:PassRole", passed
    for schedule in template.of("AWS::Scheduler::Schedule"):
        role, arn = (
            role_of(template, part(schedule.properties, "Target", "RoleArn")),
            str(part(schedule.properties, "Target", "Arn")),
        )
        for mark, action in (
            {":lambda:": "lambda:InvokeFunction", ":sqs:": "sqs:SendMessage"} | actions
        ).items():
            if mark in arn and role is not None and not opaque(arn):
                yield schedule, "Target.RoleArn", role, action, "*" if action == "ecs:RunTask" else arn


def _roles_of_task(template: Template, target: dict[str, Any]) -> Iterator[str]:
    """ARNs of the roles that running a target's task hands over; `*` where they are not known."""
    task = template.assembly.target(
        part(target, "EcsParameters", "TaskDefinitionArn"), "AWS::ECS::TaskDefinition"
    )
    for member in ("ExecutionRoleArn", "TaskRoleArn") if task else ():
        arn = task.properties.get(member) if task else None
        if isinstance(arn, str):
            yield "*" if opaque(arn) else arn
    if task is None:
        yield "*"
