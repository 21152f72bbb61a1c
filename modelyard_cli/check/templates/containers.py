"""ECS: task definitions, services, capacity.

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
    opaque,
    part,
)

TASK, SERVICE, GROUP = "AWS::ECS::TaskDefinition", "AWS::ECS::Service", "AWS::AutoScaling::AutoScalingGroup"
_GPU = re.compile(r"(p[2-9]\w*|g[3-9]\w*)\.")
_FARGATE = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}


def _containers(task: Resource) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, container in enumerate(objects(task.properties.get("ContainerDefinitions"))):
        yield f"ContainerDefinitions[{index}]", container


def _fargate(task: Resource) -> bool:
    return "FARGATE" in listed(task.properties.get("RequiresCompatibilities"))


def _gpus(container: dict[str, Any]) -> float:
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
                for _, c in _containers(task)
            )
            if total is not None and asked > total:
                yield task.at(member), f"is {total:g}, the containers ask for {asked:g}"
        for path, container in _containers(task):
            hard, soft = number(container.get("Memory")), number(container.get("MemoryReservation"))
            if hard is not None and soft is not None and soft > hard:
                yield task.at(f"{path}.MemoryReservation"), f"{soft:g} is above Memory {hard:g}"
            if hard is None and soft is None and task.properties.get("Memory") is None:
                yield task.at(path), "has no Memory, and neither has the task"
        cpu, memory = number(task.properties.get("Cpu")), number(task.properties.get("Memory"))
        if (
            _fargate(task)
            and cpu is not None
            and memory is not None
            and memory not in _FARGATE.get(int(cpu), ())
        ):
            yield task.at("Cpu"), f"Fargate has no {cpu:g} with {memory:g}"


@template_rule(
    "MYT652", "GPUs that no host of the cluster has", "Use EC2 capacity with GPU instances: Fargate has none."
)
def _hosts(template: Template) -> Hits:
    kinds = [str(t) for t in _instance_types(template)]
    for task in template.of(TASK):
        for path, container in _containers(task):
            if not _gpus(container):
                continue
            if _fargate(task):
                yield task.at(path), "asks for GPUs on Fargate"
            elif kinds and all(known(k) for k in kinds) and not any(_GPU.match(k) for k in kinds):
                yield task.at(path), f"asks for GPUs, the hosts are {', '.join(sorted(set(kinds)))}"


def _instance_types(template: Template) -> Iterator[Any]:
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
        found = {c.get("Name"): c for _, c in _containers(task)}
        if found and all(c.get("Essential") in (False, "false") for c in found.values()):
            yield task.at("ContainerDefinitions"), "no container is essential"
        for path, container in _containers(task):
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
            if stop is not None and _fargate(task) and stop > 120:
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
        for path, container in _containers(task):
            driver = part(container, "LogConfiguration", "LogDriver")
            if "ExecutionRoleArn" not in task.properties and (
                container.get("Secrets")
                or (_fargate(task) and (driver == "awslogs" or ".dkr.ecr." in str(container.get("Image"))))
            ):
                yield task.at("ExecutionRoleArn"), f"is missing, {container.get('Name')} needs it"
            options = part(container, "LogConfiguration", "Options") or {}
            if driver == "awslogs":
                for member in ("awslogs-group", "awslogs-region"):
                    if member not in options:
                        yield task.at(f"{path}.LogConfiguration"), f"lacks {member}"
                if _fargate(task) and "awslogs-stream-prefix" not in options:
                    yield (
                        task.at(f"{path}.LogConfiguration"),
                        "lacks awslogs-stream-prefix, which Fargate requires",
                    )
            elif not container.get("LogConfiguration"):
                yield (
                    task.at(f"{path}.LogConfiguration"),
                    Advice("is missing: nothing tells why the container ended"),
                )
        if _fargate(task) and task.properties.get("NetworkMode") != "awsvpc":
            yield task.at("NetworkMode"), "is not awsvpc, which Fargate requires"


@template_rule(
    "MYT655",
    "Capacity that the cluster does not have, or a strategy of none",
    "Associate the provider with the cluster; weights above 0; one base.",
)
def _capacity(template: Template) -> Hits:
    for holder in template.of("AWS::ECS::ClusterCapacityProviderAssociations", "AWS::ECS::Cluster", SERVICE):
        member = "DefaultCapacityProviderStrategy" if holder.type != SERVICE else "CapacityProviderStrategy"
        strategy = objects(holder.properties.get(member))
        available = {
            str(p)
            for a in template.assembly.of(
                "AWS::ECS::ClusterCapacityProviderAssociations", "AWS::ECS::Cluster"
            )
            for p in listed(a.properties.get("CapacityProviders"))
        }
        for item in strategy:
            name = item.get("CapacityProvider")
            if isinstance(name, str) and not opaque(name) and available and name not in available:
                yield holder.at(member), f"the cluster has no capacity provider {name}"
        weights, bases = (
            [number(i.get("Weight", 0)) for i in strategy],
            [i for i in strategy if number(i.get("Base"))],
        )
        if strategy and all(w == 0 for w in weights) and not bases:
            yield holder.at(member), "every weight is 0"
        if len(bases) > 1:
            yield holder.at(member), "more than one provider has a base"
        fargate = {str(i.get("CapacityProvider")) in ("FARGATE", "FARGATE_SPOT") for i in strategy}
        if len(fargate) > 1 and not any(opaque(i.get("CapacityProvider")) for i in strategy):
            yield holder.at(member), "mixes Fargate with instances: one strategy takes one kind"
        if strategy and holder.properties.get("LaunchType"):
            yield holder.at("LaunchType"), "stands beside a CapacityProviderStrategy"


@template_rule(
    "MYT656",
    "A capacity provider that scales nothing in",
    "Managed termination protection needs managed scaling and NewInstancesProtectedFromScaleIn; "
    "the target is 1 to 100 percent.",
)
def _providers(template: Template) -> Hits:
    for provider in template.of("AWS::ECS::CapacityProvider"):
        config = provider.properties.get("AutoScalingGroupProvider") or {}
        scaling = config.get("ManagedScaling") or {}
        group = template.assembly.target(config.get("AutoScalingGroupArn"), GROUP)
        at = provider.at("AutoScalingGroupProvider")
        target = number(scaling.get("TargetCapacity"))
        if target is not None and not 1 <= target <= 100:
            yield at, f"TargetCapacity {target:g} is not within 1 to 100"
        if config.get("ManagedTerminationProtection") == "ENABLED":
            if scaling.get("Status") != "ENABLED":
                yield at, "has ManagedTerminationProtection without managed scaling"
            if group is not None and group.properties.get("NewInstancesProtectedFromScaleIn") not in (
                True,
                "true",
            ):
                yield at, f"has ManagedTerminationProtection, but {group.id} does not protect new instances"
        sharing = [
            p
            for p in template.assembly.of("AWS::ECS::CapacityProvider")
            if group is not None
            and template.assembly.target(
                part(p.properties, "AutoScalingGroupProvider", "AutoScalingGroupArn"), GROUP
            )
            is group
        ]
        if len(sharing) > 1:
            yield at, f"{group.id if group else ''} serves {len(sharing)} capacity providers"


@template_rule(
    "MYT657",
    "A service that cannot place or replace its tasks",
    "Give NetworkConfiguration in awsvpc mode, a grace period with health checks, room to replace.",
)
def _services(template: Template) -> Hits:
    for service in template.of(SERVICE):
        p = service.properties
        task = template.assembly.target(p.get("TaskDefinition"), TASK)
        if (
            task is not None
            and task.properties.get("NetworkMode") == "awsvpc"
            and not p.get("NetworkConfiguration")
        ):
            yield service.at("NetworkConfiguration"), f"is missing, {task.id} is in awsvpc mode"
        if task is not None and p.get("LaunchType") == "FARGATE" and not _fargate(task):
            yield service.at("LaunchType"), f"is FARGATE, {task.id} is not made for it"
        config = p.get("DeploymentConfiguration") or {}
        if number(config.get("MinimumHealthyPercent")) == 100 and number(config.get("MaximumPercent")) == 100:
            yield service.at("DeploymentConfiguration"), "100 to 100 percent: no task can be replaced"
        if part(p, "NetworkConfiguration", "AwsvpcConfiguration", "AssignPublicIp") == "ENABLED":
            yield service.at("NetworkConfiguration"), Advice("AssignPublicIp is ENABLED")
        wanted = {c.get("Name") for _, c in _containers(task)} if task else set()
        for balancer in objects(p.get("LoadBalancers")):
            if wanted and balancer.get("ContainerName") not in wanted:
                yield service.at("LoadBalancers"), f"there is no container {balancer.get('ContainerName')!r}"
    for cluster in template.of("AWS::ECS::Cluster"):
        settings = {s.get("Name"): s.get("Value") for s in objects(cluster.properties.get("ClusterSettings"))}
        if settings.get("containerInsights") == "disabled":
            yield cluster.at("ClusterSettings"), "containerInsights is disabled"


@template_rule(
    "MYT658",
    "A group of hosts that Spot or scaling cannot serve",
    "Several instance types for Spot, percentages from 0 to 100, an allocation strategy by capacity.",
)
def _groups(template: Template) -> Hits:
    for group in template.of(GROUP):
        distribution = part(group.properties, "MixedInstancesPolicy", "InstancesDistribution") or {}
        share = number(distribution.get("OnDemandPercentageAboveBaseCapacity"))
        overrides = objects(part(group.properties, "MixedInstancesPolicy", "LaunchTemplate", "Overrides"))
        if share is not None and not 0 <= share <= 100:
            yield group.at("MixedInstancesPolicy"), f"OnDemandPercentageAboveBaseCapacity {share:g}"
        if share is not None and share < 100 and distribution.get("SpotAllocationStrategy") == "lowest-price":
            yield group.at("MixedInstancesPolicy"), "lowest-price takes the capacity that is interrupted most"
        kinds = [o.get("InstanceType") for o in overrides]
        if len(set(map(str, kinds))) < len(kinds):
            yield group.at("MixedInstancesPolicy"), "an instance type stands there twice"
        gpu = {bool(_GPU.match(str(k))) for k in kinds if known(k) and k}
        if len(gpu) > 1:
            yield group.at("MixedInstancesPolicy"), "mixes instances with and without GPUs"
