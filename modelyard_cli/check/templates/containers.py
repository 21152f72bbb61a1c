"""ECS: task definitions.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.model import (
    Resource,
    Template,
    known,
    listed,
    number,
    objects,
    part,
)

TASK, SERVICE, GROUP = "AWS::ECS::TaskDefinition", "AWS::ECS::Service", "AWS::AutoScaling::AutoScalingGroup"
GPU = re.compile(r"(p[2-9]\w*|g[3-9]\w*)\.")
_FARGATE = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}


def containers_of(task: Resource) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, container in enumerate(objects(task.properties.get("ContainerDefinitions"))):
        yield f"ContainerDefinitions[{index}]", container


def is_fargate(task: Resource) -> bool:
    return "FARGATE" in listed(task.properties.get("RequiresCompatibilities"))


def gpus_of(container: dict[str, Any]) -> float:
    return sum(
        number(r.get("Value")) or 0
        for r in objects(container.get("ResourceRequirements"))
        if r.get("Type") == "GPU"
    )


@template_rule(
    "MYT651",
    "Containers that ask for more than their task has",
    "Raise the task's Cpu and Memory, or lower the containers'.",
)
def _sizes(template: Template) -> Hits:
    for task in template.of(TASK):
        for member, total in (
            ("Cpu", number(task.properties.get("Cpu"))),
            ("Memory", number(task.properties.get("Memory"))),
        ):
            asked = sum(
                number(c.get(member))
                or number(c.get("MemoryReservation") if member == "Memory" else None)
                or 0
                for _, c in containers_of(task)
            )
            if total is not None and asked > total:
                yield task.at(member), f"is {total:g}, the containers ask for {asked:g}"
        for path, container in containers_of(task):
            hard, soft = number(container.get("Memory")), number(container.get("MemoryReservation"))
            if hard is not None and soft is not None and soft > hard:
                yield task.at(f"{path}.MemoryReservation"), f"{soft:g} is above Memory {hard:g}"
            if hard is None and soft is None and task.properties.get("Memory") is None:
                yield task.at(path), "has no Memory, and neither has the task"
        cpu, memory = number(task.properties.get("Cpu")), number(task.properties.get("Memory"))
        if (
            is_fargate(task)
            and cpu is not None
            and memory is not None
            and memory not in _FARGATE.get(int(cpu), ())
        ):
            yield task.at("Cpu"), f"Fargate has no {cpu:g} with {memory:g}"


@template_rule(
    "MYT652", "GPUs that no host of the cluster has", "Use EC2 capacity with GPU instances: Fargate has none."
)
def _hosts(template: Template) -> Hits:
    kinds = [str(t) for t in instance_types_of(template)]
    for task in template.of(TASK):
        for path, container in containers_of(task):
            if not gpus_of(container):
                continue
            if is_fargate(task):
                yield task.at(path), "asks for GPUs on Fargate"
            elif kinds and all(known(k) for k in kinds) and not any(GPU.match(k) for k in kinds):
                yield task.at(path), f"asks for GPUs, the hosts are {', '.join(sorted(set(kinds)))}"


def instance_types_of(template: Template) -> Iterator[Any]:
    for launch in template.assembly.of("AWS::EC2::LaunchTemplate"):
        yield from listed(part(launch.properties, "LaunchTemplateData", "InstanceType"))
    for launch in template.assembly.of("AWS::AutoScaling::LaunchConfiguration"):
        yield from listed(launch.properties.get("InstanceType"))
    for group in template.assembly.of(GROUP):
        for override in objects(
            part(group.properties, "MixedInstancesPolicy", "LaunchTemplate", "Overrides")
        ):
            yield from listed(override.get("InstanceType"))


@template_rule(
    "MYT653",
    "A container that cannot start beside the others",
    "One essential container; dependencies on containers of the task, HEALTHY with a health check, "
    "without circles.",
)
def _starts(template: Template) -> Hits:
    for task in template.of(TASK):
        found = {c.get("Name"): c for _, c in containers_of(task)}
        if found and all(c.get("Essential") in (False, "false") for c in found.values()):
            yield task.at("ContainerDefinitions"), "no container is essential"
        for path, container in containers_of(task):
            for need in objects(container.get("DependsOn")):
                other = found.get(need.get("ContainerName"))
                if other is None:
                    yield task.at(f"{path}.DependsOn"), f"there is no container {need.get('ContainerName')!r}"
                elif need.get("Condition") == "HEALTHY" and "HealthCheck" not in other:
                    yield task.at(f"{path}.DependsOn"), f"{need.get('ContainerName')} has no health check"
                elif need.get("Condition") in ("SUCCESS", "COMPLETE") and other.get("Essential") not in (
                    False,
                    "false",
                ):
                    yield (
                        task.at(f"{path}.DependsOn"),
                        f"{need.get('ContainerName')} is essential: its end ends the task",
                    )
                elif any(
                    n.get("ContainerName") == container.get("Name") for n in objects(other.get("DependsOn"))
                ):
                    yield task.at(f"{path}.DependsOn"), f"{need.get('ContainerName')} waits for this one"
            stop = number(container.get("StopTimeout"))
            if stop is not None and is_fargate(task) and stop > 120:
                yield task.at(f"{path}.StopTimeout"), f"{stop:g} s is more than Fargate's 120"
            yield from _wiring(task, path, container)
            if container.get("Privileged") in (True, "true"):
                yield task.at(f"{path}.Privileged"), "is true: the container is root on its host"


def _wiring(task: Resource, path: str, container: dict[str, Any]) -> Hits:
    for mapping in objects(container.get("PortMappings")):
        host, port = number(mapping.get("HostPort")), number(mapping.get("ContainerPort"))
        if task.properties.get("NetworkMode") == "awsvpc" and host is not None and host != port:
            yield (
                task.at(f"{path}.PortMappings"),
                f"HostPort {host:g} differs from ContainerPort in awsvpc mode",
            )
    volumes = [v.get("Name") for v in objects(task.properties.get("Volumes"))]
    for mount in objects(container.get("MountPoints")):
        if mount.get("SourceVolume") not in volumes and known(mount.get("SourceVolume")):
            yield task.at(f"{path}.MountPoints"), f"there is no volume {mount.get('SourceVolume')!r}"


@template_rule(
    "MYT654",
    "A task that cannot pull, log or read",
    "Give an ExecutionRoleArn: images in ECR, awslogs and secrets need it; name an existing log group.",
)
def _execution(template: Template) -> Hits:
    for task in template.of(TASK):
        for path, container in containers_of(task):
            driver = part(container, "LogConfiguration", "LogDriver")
            if "ExecutionRoleArn" not in task.properties and (
                container.get("Secrets")
                or (is_fargate(task) and (driver == "awslogs" or ".dkr.ecr." in str(container.get("Image"))))
            ):
                yield task.at("ExecutionRoleArn"), f"is missing, {container.get('Name')} needs it"
            options = part(container, "LogConfiguration", "Options") or {}
            if driver == "awslogs":
                for member in ("awslogs-group", "awslogs-region"):
                    if member not in options:
                        yield task.at(f"{path}.LogConfiguration"), f"lacks {member}"
                if is_fargate(task) and "awslogs-stream-prefix" not in options:
                    yield (
                        task.at(f"{path}.LogConfiguration"),
                        "lacks awslogs-stream-prefix, which Fargate requires",
                    )
            elif not container.get("LogConfiguration"):
                yield (
                    task.at(f"{path}.LogConfiguration"),
                    Advice("is missing: nothing tells why the container ended"),
                )
        if is_fargate(task) and task.properties.get("NetworkMode") != "awsvpc":
            yield task.at("NetworkMode"), "is not awsvpc, which Fargate requires"
