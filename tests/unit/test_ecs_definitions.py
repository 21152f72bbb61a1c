"""Task definitions, overrides, names: what requests say and what they come to."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.ecs import definitions, logs
from localcloud.ecs.events import detail_of
from localcloud.ecs.names import Names
from localcloud.ecs.records import new_task
from localcloud.ecs.resources import TaskDefinition, request
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.shapes import input_shape

NAMES = Names("us-east-1", "000000000000")


def container(name: str = "main", **members: Any) -> dict[str, Any]:
    return {"name": name, "image": "i", "memory": 64, **members}


def definition(*containers: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"family": "f", "containerDefinitions": list(containers) or [container()], **members}


FARGATE = {
    "requiresCompatibilities": ["FARGATE"],
    "networkMode": "awsvpc",
    "cpu": "256",
    "memory": "512",
    "executionRoleArn": "r",
}
LOG = {"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-region": "r"}}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({**definition(), "family": "a b"}, "Family"),
        ({**definition(), "containerDefinitions": []}, "empty"),
        (definition(container(), container()), "unique"),
        (definition(container(essential=False)), "essential"),
        (definition({"name": "a", "memory": 1}), "image"),
        (definition({"name": "a", "image": "i"}), "memory"),
        (definition(container(stopTimeout=121)), "stopTimeout"),
        (definition(container(cpu=-1)), "negative"),
        (definition(container(environment=[{"value": "x"}])), "variable"),
        (definition(container(resourceRequirements=[{"type": "GPU", "value": "x"}])), "number of GPUs"),
        (
            definition(container(dependsOn=[{"containerName": "x", "condition": "START"}])),
            "unknown container",
        ),
        (definition(container(logConfiguration={"logDriver": "awslogs", "options": {}})), "awslogs-group"),
        (definition(container(logConfiguration=LOG), **FARGATE), "awslogs-stream-prefix"),
        (definition(**{**FARGATE, "networkMode": "bridge"}), "awsvpc"),
        (definition(**{**FARGATE, "memory": "3 GB"}), "No Fargate configuration"),
        (definition(**{**FARGATE, "cpu": "some"}), "cpu"),
        (
            definition(container(resourceRequirements=[{"type": "GPU", "value": "1"}]), **FARGATE),
            "do not support GPU",
        ),
        (
            definition(container(image="1.dkr.ecr.x.amazonaws.com/a"), **{**FARGATE, "executionRoleArn": ""}),
            "execution role",
        ),
    ],
)
def test_definitions_that_aws_refuses(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ServiceError, match=words) as caught:
        definitions.check(wrong)
    assert caught.value.code == "ClientException"


def test_sizes_may_be_written_two_ways() -> None:
    definitions.check(definition(**{**FARGATE, "cpu": ".25 vCPU", "memory": "0.5 GB"}))
    assert (definitions.cpu_units("1 vCPU"), definitions.cpu_units("1024")) == (1024, 1024)
    assert (definitions.mebibytes("2GB"), definitions.mebibytes(None)) == (2048, None)


def test_a_task_takes_what_its_task_or_its_containers_ask_for() -> None:
    gpu = [{"type": "GPU", "value": "2"}]
    both = definition(
        container(cpu=100, resourceRequirements=gpu), container("b", cpu=50, memoryReservation=32)
    )
    demand = definitions.demand_of(both, {}, "g", [{"type": "distinctInstance"}])
    assert (demand.cpu, demand.memory, demand.gpus, demand.distinct) == (150, 96, 2, True)
    sized = definitions.demand_of(definition(cpu="1 vCPU", memory="1 GB"), {"memory": "2048"}, "g", ())
    assert (sized.cpu, sized.memory) == (1024, 2048)
    ports = [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81}]
    mapped = definition(container(portMappings=ports))
    assert definitions.demand_of(mapped, {}, "g", ()).ports == {80}
    own = {**mapped, "networkMode": "awsvpc"}
    assert definitions.demand_of(own, {}, "g", ()).ports == frozenset()
    kept = definitions.demand_from(definitions.demand_record(demand))
    assert kept == demand


def test_overrides_replace_commands_and_add_variables() -> None:
    base = definition(
        container(command=["a"], environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    )
    change = {"name": "main", "command": ["b"], "environment": [{"name": "B", "value": "3"}]}
    (merged,) = definitions.containers_of(base, {"containerOverrides": [change]})
    assert merged["command"] == ["b"]
    assert merged["environment"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]
    with pytest.raises(ServiceError, match="other"):
        definitions.check_overrides(base, {"containerOverrides": [{"name": "other"}]})


def test_containers_start_after_what_they_need() -> None:
    def needing(name: str, *others: str) -> dict[str, Any]:
        needs = [{"containerName": other, "condition": "START"} for other in others]
        return container(name, dependsOn=needs)

    ordered = definitions.start_order([needing("c", "b"), needing("a"), needing("b", "a")])
    assert [each["name"] for each in ordered] == ["a", "b", "c"]
    with pytest.raises(ServiceError, match="circle"):
        definitions.start_order([needing("a", "b"), needing("b", "a")])


def test_names_and_arns() -> None:
    arn = NAMES.arn("task", "c/1")
    assert NAMES.key("c", arn, "task") == NAMES.key("c", "1", "task") == "c/1"
    assert NAMES.key("other", arn, "task") != "other/1"
    assert NAMES.last(NAMES.arn("cluster", "c"), "cluster") == "c"
    elsewhere = "arn:aws:ecs:eu-west-1:000000000000:cluster/c"
    assert NAMES.last(elsewhere, "cluster") == elsewhere
    assert NAMES.definition("f") == ("f", None)
    assert NAMES.definition(NAMES.arn("task-definition", "f:12")) == ("f", 12)
    assert NAMES.role("r") == "arn:aws:iam::000000000000:role/r"


def test_streams_are_named_as_on_aws() -> None:
    plain = container(logConfiguration=LOG)
    options = {**LOG["options"], "awslogs-stream-prefix": "p"}  # type: ignore[dict-item]
    prefixed = container(logConfiguration={**LOG, "options": options})
    assert logs.stream_name(plain, "task", "runtime") == "runtime"
    assert logs.stream_name(prefixed, "task", "runtime") == "p/main/task"


def test_an_event_has_times_as_text_and_nothing_private() -> None:
    known = {**definition(networkMode="awsvpc"), "taskDefinitionArn": "arn", "revision": 1}
    task = new_task(
        NAMES, "c", "1", definition=known, overrides={}, address="127.2.0.1", zone="us-east-1a", network={}
    )
    detail = detail_of({**task, "stoppedAt": 1.5, "tags": []})
    assert detail["stoppedAt"] == "1970-01-01T00:00:01.500Z"
    assert detail["containers"][0]["networkInterfaces"][0]["privateIpv4Address"] == "127.2.0.1"
    assert detail["updatedAt"] == detail["createdAt"]
    assert not {name for name in detail if name.startswith("_") or name in ("tags", "healthStatus")}


def test_properties_of_templates_become_members_of_the_api() -> None:
    properties = {
        "Family": "f",
        "Volumes": [{"Name": "v", "EFSVolumeConfiguration": {"FilesystemId": "fs-1"}}],
        "ContainerDefinitions": [
            {
                "Name": "a",
                "StopTimeout": "5",
                "Essential": "true",
                "LogConfiguration": {"LogDriver": "awslogs", "Options": {"Awslogs-Group": "kept"}},
                "DockerLabels": {"Kept": "As it is"},
            }
        ],
    }
    members = request("TaskDefinition", "RegisterTaskDefinition", properties)
    made = members["containerDefinitions"][0]
    assert (made["stopTimeout"], made["essential"]) == (5, True)
    assert made["logConfiguration"]["options"] == {"Awslogs-Group": "kept"}
    assert made["dockerLabels"] == {"Kept": "As it is"}
    assert members["volumes"][0]["efsVolumeConfiguration"] == {"fileSystemId": "fs-1"}


def test_every_change_of_a_definition_makes_a_revision() -> None:
    members = input_shape("RegisterTaskDefinition", "ecs").members
    assert TaskDefinition.replace_on == {name[0].upper() + name[1:] for name in members} - {"Tags"}
