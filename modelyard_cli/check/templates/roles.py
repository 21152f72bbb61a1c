"""Roles: who assumes them, and whether they may do what their bearer has to.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-services-that-work-with-iam.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.model import Resource, Template, known, listed, objects, opaque, part
from modelyard_cli.check.templates.statements import ROLE, may, trust_statements, trusted

# type -> path of the role -> the service that assumes it
_BEARERS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("AWS::Lambda::Function", ("Role",), "lambda"),
    ("AWS::SageMaker::Model", ("ExecutionRoleArn",), "sagemaker"),
    ("AWS::SageMaker::Pipeline", ("RoleArn",), "sagemaker"),
    ("AWS::SageMaker::NotebookInstance", ("RoleArn",), "sagemaker"),
    ("AWS::SageMaker::FeatureGroup", ("RoleArn",), "sagemaker"),
    ("AWS::SageMaker::Domain", ("DefaultUserSettings", "ExecutionRole"), "sagemaker"),
    ("Custom::SageMakerPipeline", ("RoleArn",), "sagemaker"),
    ("AWS::StepFunctions::StateMachine", ("RoleArn",), "states"),
    ("AWS::ECS::TaskDefinition", ("TaskRoleArn",), "ecs-tasks"),
    ("AWS::ECS::TaskDefinition", ("ExecutionRoleArn",), "ecs-tasks"),
    ("AWS::CodeDeploy::DeploymentGroup", ("ServiceRoleArn",), "codedeploy"),
    ("AWS::EC2::FlowLog", ("DeliverLogsPermissionArn",), "vpc-flow-logs"),
    ("AWS::Scheduler::Schedule", ("Target", "RoleArn"), "scheduler"),
    ("AWS::Pipes::Pipe", ("RoleArn",), "pipes"),
    ("AWS::KinesisFirehose::DeliveryStream", ("ExtendedS3DestinationConfiguration", "RoleARN"), "firehose"),
)


def bearers(template: Template) -> Iterator[tuple[Resource, str, Any, str]]:
    """(resource, path, role ARN, service) of everything that bears a role."""
    for kind, path, service in _BEARERS:
        for resource in template.of(kind):
            arn = part(resource.properties, *path)
            if arn is not None:
                yield resource, ".".join(path), arn, service
    for profile in template.of("AWS::IAM::InstanceProfile"):
        for name in listed(profile.properties.get("Roles")):
            yield profile, "Roles", name, "ec2"
    for rule in template.of("AWS::Events::Rule"):
        for index, target in enumerate(objects(rule.properties.get("Targets"))):
            if "RoleArn" in target:
                yield rule, f"Targets[{index}].RoleArn", target["RoleArn"], "events"


def role_of(template: Template, arn: Any) -> Resource | None:
    """The role of this assembly that an ARN or a name means."""
    return template.assembly.target(arn, ROLE)


@template_rule(
    "MYT321", "A role that its bearer cannot assume", "Trust the service that bears it, with sts:AssumeRole."
)
def _trust(template: Template) -> Hits:
    for resource, path, arn, service in bearers(template):
        role = role_of(template, arn)
        if role is None:
            continue
        principals = trusted(role)
        if not any(
            re.match(rf"{service}\.(\S+\.)?amazonaws\.com|\*$", p) or opaque(p) or p.startswith(f"{service}.")
            for p in principals
        ):
            yield (
                resource.at(path),
                f"{role.id} does not trust {service}.amazonaws.com, but: "
                f"{', '.join(sorted(principals)) or 'nobody'}",
            )


@template_rule(
    "MYT322", "A bearer without a role, or with something else in its place", "Give the ARN of a role."
)
def _missing(template: Template) -> Hits:
    for model in template.of("AWS::SageMaker::Model"):
        if "ExecutionRoleArn" not in model.properties:
            yield model.at("ExecutionRoleArn"), "is missing: the endpoint can read neither image nor model"
    for resource, path, arn, _ in bearers(template):
        if (
            isinstance(arn, str)
            and arn
            and path != "Roles"
            and known(arn)
            and not re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:role/.+", arn)
        ):
            yield resource.at(path), f"{arn!r} is no ARN of a role"
        elif (
            isinstance(arn, str)
            and arn.startswith("arn:")
            and ":role/" not in arn
            and not opaque(arn)
            and ":iam:" in arn
        ):
            yield resource.at(path), f"{arn} is no ARN of a role"
        target = template.assembly.target(arn) if isinstance(arn, str) else None
        if (
            target is not None
            and target.type != ROLE
            and path != "Roles"
            and not target.type.startswith(("AWS::CloudFormation", "Custom"))
        ):
            yield resource.at(path), f"refers to {target.id}, a {target.type}"


@template_rule(
    "MYT323",
    "A role that lacks what its bearer does",
    "Grant the action on the resource that the message names.",
)
def _needs(template: Template) -> Hits:
    for resource, path, role, action, on in needs(template):
        if not may(role, action, on):
            yield resource.at(path), f"{role.id} may not {action} on {on}"


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


@template_rule(
    "MYT324",
    "A target of events that needs a role and has none",
    "Give the target a RoleArn that events.amazonaws.com may assume.",
)
def _target_roles(template: Template) -> Hits:
    for rule in template.of("AWS::Events::Rule"):
        for index, target in enumerate(objects(rule.properties.get("Targets"))):
            arn = str(target.get("Arn"))
            if (
                re.search(
                    r":states:|:ecs:.*cluster/|:sagemaker:.*pipeline/|:kinesis:|:events:.*event-bus/", arn
                )
                and "RoleArn" not in target
            ):
                yield rule.at(f"Targets[{index}]"), "has no RoleArn"


@template_rule("MYT325", "A role that anybody may assume", "Trust a service, or an account with a condition.")
def _anybody(template: Template) -> Hits:
    for role in template.of(ROLE):
        for statement in trust_statements(role):
            if (
                statement.allows
                and any(p == "*" for p in statement.principals)
                and not statement.body.get("Condition")
            ):
                yield statement.at, "trusts *"
            for principal in statement.principals:
                service = re.fullmatch(r"([\w-]+)\.amazonaws?\.(\w+)", principal)
                if (
                    principal.endswith(".com")
                    and not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?", principal)
                    and "cognito" not in principal
                    and "${" not in principal
                ) or (service and service[2] != "com"):
                    yield statement.at, f"{principal!r} is no service principal"
            bad = [a for a in statement.actions if not a.startswith("sts:")]
            if bad:
                yield statement.at, f"a trust policy with {bad[0]}"
