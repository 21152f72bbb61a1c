"""What a task definition and a request's overrides come to. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from localcloud.ecs import query_language
from localcloud.ecs.errors import client_error, invalid, unsupported
from localcloud.ecs.placement import Demand

MOST_STOP_TIMEOUT = 120
DEFAULT_STOP_TIMEOUT = 30
_FAMILY = re.compile(r"[A-Za-z0-9_-]{1,255}")
_CPU = re.compile(r"(\d+)|(\d*\.?\d+) ?v?cpu", re.IGNORECASE)
_MEMORY = re.compile(r"(\d+)|(\d*\.?\d+) ?gb", re.IGNORECASE)
# Half of what Fargate offers; the larger sizes go in steps.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
_FARGATE = {
    256: {512, 1024, 2048},
    512: set(range(1024, 4097, 1024)),
    1024: set(range(2048, 8193, 1024)),
    2048: set(range(4096, 16385, 1024)),
    4096: set(range(8192, 30721, 1024)),
    8192: set(range(16384, 61441, 4096)),
    16384: set(range(32768, 122881, 8192)),
}
_FARGATE_ROLE = "Fargate requires task definition to have execution role ARN to support"
# What a container here does without; its log says so.
WITHOUT_EFFECT = (
    "linuxParameters", "mountPoints", "volumesFrom", "ulimits", "healthCheck", "systemControls", "links",
    "user", "privileged", "readonlyRootFilesystem", "dnsServers", "dnsSearchDomains", "dockerSecurityOptions",
    "restartPolicy", "environmentFiles", "firelensConfiguration", "credentialSpecs", "repositoryCredentials",
)  # fmt: skip


def check(request: Mapping[str, Any]) -> None:
    """Refuse a definition that RegisterTaskDefinition refuses."""
    if not _FAMILY.fullmatch(request["family"]):
        raise client_error("Family contains invalid characters.")
    containers = request["containerDefinitions"]
    if not containers:
        raise client_error("Container definitions should not be empty.")
    names = [container.get("name") for container in containers]
    if None in names or len(set(names)) != len(names):
        raise client_error("Container.name should be unique, and not be null or empty.")
    if not any(container.get("essential", True) for container in containers):
        raise client_error("A task definition must have at least one essential container.")
    fargate = "FARGATE" in request.get("requiresCompatibilities", ())
    for container in containers:
        _check_container(container, request, set(names), fargate=fargate)
    if fargate:
        _check_fargate(request)


def _check_container(
    container: Mapping[str, Any], request: Mapping[str, Any], names: set[Any], *, fargate: bool
) -> None:
    name = container["name"]
    if not container.get("image"):
        raise client_error("Container.image should not be null or empty.")
    if not all(each.get("name") for each in container.get("environment", ())):
        raise client_error(f"Container {name}: the name of a variable should not be null or empty.")
    _check_sizes(container, request)
    for need in container.get("dependsOn", ()):
        if need["containerName"] not in names - {name}:
            raise client_error(f"Container {name} depends on the unknown container {need['containerName']}.")
    log = container.get("logConfiguration")
    if log and log["logDriver"] == "awslogs":
        missing = [
            option for option in ("awslogs-group", "awslogs-region") if not log.get("options", {}).get(option)
        ]
        if missing:
            raise client_error(f"Log driver awslogs requires options: {', '.join(missing)}.")
        if fargate and not log["options"].get("awslogs-stream-prefix"):
            raise client_error("Log driver awslogs requires options: awslogs-stream-prefix.")
        if not request.get("executionRoleArn") and fargate:
            raise client_error(f"{_FARGATE_ROLE} log driver awslogs.")


def _check_sizes(container: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    name = container["name"]
    for need in container.get("resourceRequirements", ()):
        if need["type"] == "GPU" and not need["value"].isdecimal():
            raise client_error(f"Container {name}: the number of GPUs is a number, not {need['value']!r}.")
    if min(container.get(size, 0) for size in ("cpu", "memory", "memoryReservation")) < 0:
        raise client_error(f"Container {name}: cpu and memory must not be negative.")
    if not 0 <= container.get("stopTimeout", 0) <= MOST_STOP_TIMEOUT:
        raise client_error(f"Container {name}: stopTimeout must be from 0 to {MOST_STOP_TIMEOUT} seconds.")
    if not (container.get("memory") or container.get("memoryReservation") or request.get("memory")):
        raise client_error(
            f"Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' must "
            "be specified."
        )


def _check_fargate(request: Mapping[str, Any]) -> None:
    if request.get("networkMode") != "awsvpc":
        raise client_error("Fargate only supports network mode 'awsvpc'.")
    cpu, memory = cpu_units(request.get("cpu")), mebibytes(request.get("memory"))
    if cpu is None or memory is None:
        raise client_error("Fargate requires that 'cpu' and 'memory' be defined at the task level.")
    if memory not in _FARGATE.get(cpu, set()):
        raise client_error("No Fargate configuration exists for given values.")
    if any(_gpus(container) for container in request["containerDefinitions"]):
        raise client_error("Tasks using the Fargate launch type do not support GPU resource requirements.")
    if any(".dkr.ecr." in c["image"] for c in request["containerDefinitions"]) and not request.get(
        "executionRoleArn"
    ):
        raise client_error(f"{_FARGATE_ROLE} ECR images.")


def cpu_units(text: str | None) -> int | None:
    """A task's `cpu`: `1024` and `1 vCPU` are the same."""
    return _amount(text, _CPU, "cpu")


def mebibytes(text: str | None) -> int | None:
    """A task's `memory`: `2048` and `2 GB` are the same."""
    return _amount(text, _MEMORY, "memory")


def _amount(text: str | None, form: re.Pattern[str], what: str) -> int | None:
    if text is None:
        return None
    found = form.fullmatch(text.strip())
    if found is None:
        raise client_error(f"Invalid '{what}' setting for task: {text!r}.")
    return int(found[1]) if found[1] else round(float(found[2]) * 1024)


def check_overrides(definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Refuse overrides of containers that the definition lacks, and what the local ECS does not take over."""
    names = {container["name"] for container in definition["containerDefinitions"]}
    for override in overrides.get("containerOverrides", ()):
        if override.get("name") not in names:
            raise invalid(
                "Override for container named {} is not a container in the TaskDefinition.".format(
                    override.get("name")
                )
            )
        if "environmentFiles" in override:
            raise unsupported("environmentFiles in overrides")
        if not all(each.get("name") for each in override.get("environment", ())):
            raise invalid("The name of a variable in an override should not be null or empty.")
        needs = override.get("resourceRequirements", ())
        if any(need["type"] == "GPU" and not need["value"].isdecimal() for need in needs):
            raise invalid("The number of GPUs in an override is a number.")
    cpu_units(overrides.get("cpu"))
    mebibytes(overrides.get("memory"))


def containers_of(definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The containers as they run: with the overrides' commands, variables and sizes."""
    changes = {override["name"]: override for override in overrides.get("containerOverrides", ())}
    merged = []
    for container in definition["containerDefinitions"]:
        change = changes.get(container["name"], {})
        variables = {each["name"]: each for each in container.get("environment", ())}
        variables |= {each["name"]: each for each in change.get("environment", ())}
        taken = {
            name: change[name]
            for name in ("command", "cpu", "memory", "memoryReservation", "resourceRequirements")
            if name in change
        }
        merged.append({**container, **taken, "environment": list(variables.values())})
    return merged


def demand_of(
    definition: Mapping[str, Any],
    overrides: Mapping[str, Any],
    group: str,
    constraints: Sequence[Mapping[str, Any]],
) -> Demand:
    """What a task takes of its instance: the task's size, or else what its containers add up to."""
    containers = containers_of(definition, overrides)
    cpu = cpu_units(overrides.get("cpu") or definition.get("cpu"))
    memory = mebibytes(overrides.get("memory") or definition.get("memory"))
    if cpu is None:
        cpu = sum(container.get("cpu", 0) for container in containers)
    if memory is None:
        memory = sum(each.get("memoryReservation") or each.get("memory", 0) for each in containers)
    fixed = definition.get("networkMode") in (None, "bridge", "host")
    ports = {mapping.get("hostPort", 0) for each in containers for mapping in each.get("portMappings", ())}
    return Demand(
        cpu=cpu,
        memory=memory,
        gpus=sum(_gpus(container) for container in containers),
        ports=frozenset(ports - {0}) if fixed else frozenset(),
        group=group,
        distinct=any(constraint.get("type") == "distinctInstance" for constraint in constraints),
        expressions=tuple(each["expression"] for each in constraints if each.get("type") == "memberOf"),
    )


def check_constraints(constraints: Sequence[Mapping[str, Any]]) -> None:
    """Refuse constraints without a meaning."""
    for constraint in constraints:
        if constraint.get("type") == "memberOf":
            query_language.parse(constraint.get("expression", ""))
        elif constraint.get("type") != "distinctInstance":
            raise invalid("A placement constraint is of the type distinctInstance or memberOf.")


def demand_record(demand: Demand) -> dict[str, Any]:
    """A demand as a task's record keeps it."""
    return {**asdict(demand), "ports": sorted(demand.ports)}


def demand_from(record: Mapping[str, Any]) -> Demand:
    """The demand that a task's record keeps."""
    lists = {"ports": frozenset(record["ports"]), "expressions": tuple(record["expressions"])}
    return Demand(**{**record, **lists})


def start_order(containers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Containers after those that they depend on; ClientException for a circle."""
    left = list(containers)
    ordered: list[Mapping[str, Any]] = []
    while left:
        done = {container["name"] for container in ordered}
        ready = [c for c in left if {need["containerName"] for need in c.get("dependsOn", ())} <= done]
        if not ready:
            raise client_error("The containers of the task definition depend on one another in a circle.")
        ordered += ready
        left = [container for container in left if container not in ready]
    return ordered


def _gpus(container: Mapping[str, Any]) -> int:
    needs = container.get("resourceRequirements", ())
    return sum(int(need["value"]) for need in needs if need["type"] == "GPU")
