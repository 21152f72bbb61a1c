"""Where containers run: services, capacity providers and their groups of instances."""

from __future__ import annotations

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.containers import GPU, GROUP, SERVICE, TASK, containers_of, is_fargate
from modelyard_cli.check.templates.model import (
    Template,
    known,
    listed,
    number,
    objects,
    opaque,
    part,
)


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
        if task is not None and p.get("LaunchType") == "FARGATE" and not is_fargate(task):
            yield service.at("LaunchType"), f"is FARGATE, {task.id} is not made for it"
        config = p.get("DeploymentConfiguration") or {}
        if number(config.get("MinimumHealthyPercent")) == 100 and number(config.get("MaximumPercent")) == 100:
            yield service.at("DeploymentConfiguration"), "100 to 100 percent: no task can be replaced"
        if part(p, "NetworkConfiguration", "AwsvpcConfiguration", "AssignPublicIp") == "ENABLED":
            yield service.at("NetworkConfiguration"), Advice("AssignPublicIp is ENABLED")
        wanted = {c.get("Name") for _, c in containers_of(task)} if task else set()
        for balancer in objects(p.get("LoadBalancers")):
            if wanted and balancer.get("ContainerName") not in wanted:
                yield service.at("LoadBalancers"), f"there is no container {balancer.get('ContainerName')!r}"


@template_rule(
    "MYT659",
    "A cluster whose containers nobody can look at",
    "Set containerInsights to enabled or enhanced, or say who else measures CPU, memory and lost tasks.",
)
def _insights(template: Template) -> Hits:
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
        gpu = {bool(GPU.match(str(k))) for k in kinds if known(k) and k}
        if len(gpu) > 1:
            yield group.at("MixedInstancesPolicy"), "mixes instances with and without GPUs"
