"""Services of ECS: kept at their count, rolled over, found by name, and scaled."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from localcloud.context import Cloud, Credentials
from tests.local.support import Role, code_of, unique
from tests.local.workloads.ecs_yard import SUBNETS, WAIT, Yard, wait_for
from tests.local.workloads.test_ecs_tasks import processes_of

Serve = Callable[..., str]


@pytest.fixture(scope="module")
def yard(
    cloud: Cloud, admin: Credentials, role: Role, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    made = Yard(cloud, admin, role, tmp_path_factory.mktemp("image"))
    yield made
    made.close()


@pytest.fixture
def serve(yard: Yard) -> Iterator[Serve]:
    """Make a service on Fargate; its name."""
    names: list[str] = []

    def make(definition: str, count: int, **changes: Any) -> str:
        name = unique("service")
        request = {
            "cluster": yard.name,
            "serviceName": name,
            "taskDefinition": definition,
            "desiredCount": count,
            "launchType": "FARGATE",
            "networkConfiguration": SUBNETS,
        }
        yard.ecs.create_service(**{**request, **changes})
        names.append(name)
        return name

    yield make
    for name in names:
        found = described(yard, name)
        if found["status"] == "ACTIVE":
            yard.ecs.delete_service(cluster=yard.name, service=name, force=True)
        wait_for(lambda name=name: described(yard, name)["status"] == "INACTIVE", "the end of the service")


def described(yard: Yard, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yard.ecs.describe_services(cluster=yard.name, services=[name])["services"][0]
    return found


def tasks_of(yard: Yard, name: str) -> list[str]:
    arns: list[str] = yard.ecs.list_tasks(cluster=yard.name, serviceName=name)["taskArns"]
    return arns


def steady(yard: Yard, name: str, count: int) -> list[str]:
    """The tasks of a service once its newest deployment alone runs them."""

    def look() -> bool:
        found = described(yard, name)
        return (
            found["runningCount"] == count
            and len(found["deployments"]) == 1
            and found["deployments"][0]["rolloutState"] == "COMPLETED"
            and len(tasks_of(yard, name)) == count
        )

    wait_for(look, f"{count} tasks of {name}")
    return tasks_of(yard, name)


def test_a_service_keeps_its_tasks(yard: Yard, serve: Serve) -> None:
    name = serve(yard.definition(yard.container(WAIT, stopTimeout=2)), 2)
    first, second = steady(yard, name, 2)
    task = yard.task(first)
    assert task["group"] == f"service:{name}"
    assert task["startedBy"] == described(yard, name)["deployments"][0]["id"]
    wait_for(lambda: processes_of(first), "the task's processes")
    # The program itself: its number in its own namespace is not that of the machine.
    for pid in processes_of(first):
        with suppress(ProcessLookupError):  # the end of one takes the others along
            os.kill(pid, signal.SIGKILL)
    assert yard.reached(first, "STOPPED")["containers"][0]["exitCode"] == 137
    now = steady(yard, name, 2)
    assert second in now
    assert first not in now
    yard.ecs.stop_task(cluster=yard.name, task=second)
    wait_for(lambda: second not in tasks_of(yard, name), "the stop")
    steady(yard, name, 2)
    yard.ecs.update_service(cluster=yard.name, service=name, desiredCount=0)
    steady(yard, name, 0)
    messages = [event["message"] for event in described(yard, name)["events"]]
    assert any("has reached a steady state" in message for message in messages), messages
    assert code_of(yard.ecs.delete_cluster, cluster=yard.name)[0] == "ClusterContainsServicesException"


def test_a_new_definition_takes_over_without_a_gap(yard: Yard, serve: Serve) -> None:
    family = unique("rolled")
    name = serve(yard.definition(yard.container(WAIT, stopTimeout=2), family=family), 2)
    steady(yard, name, 2)
    second = yard.definition(yard.container(WAIT, stopTimeout=2), family=family)
    begun = yard.ecs.update_service(cluster=yard.name, service=name, taskDefinition=second)["service"]
    lowest, seen = 2, {len(begun["deployments"])}

    def look() -> bool:
        nonlocal lowest
        found = described(yard, name)
        lowest = min(lowest, found["runningCount"])
        seen.add(len(found["deployments"]))
        return len(found["deployments"]) == 1

    wait_for(look, "the end of the deployment")
    assert (lowest, seen) == (2, {1, 2})
    assert {yard.task(arn)["taskDefinitionArn"] for arn in steady(yard, name, 2)} == {second}
    before = tasks_of(yard, name)
    yard.ecs.update_service(cluster=yard.name, service=name, forceNewDeployment=True)
    wait_for(lambda: not set(before) & set(tasks_of(yard, name)), "new tasks")
    steady(yard, name, 2)


def test_a_deployment_that_cannot_start_is_rolled_back(yard: Yard, serve: Serve) -> None:
    family = unique("broken")
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    first = yard.definition(yard.container(WAIT, stopTimeout=2), family=family)
    name = serve(first, 1, deploymentConfiguration=breaker)
    kept = steady(yard, name, 1)
    broken = yard.definition(yard.container(WAIT, image=f"{yard.image}-none"), family=family)
    yard.ecs.update_service(cluster=yard.name, service=name, taskDefinition=broken)
    wait_for(lambda: described(yard, name)["taskDefinition"] == first, "the roll-back")
    assert len(steady(yard, name, 1)) == 1
    messages = "\n".join(event["message"] for event in described(yard, name)["events"])
    assert "CannotPullContainerError" in messages
    assert "rolling back" in messages
    assert yard.task(kept[0])["taskDefinitionArn"] == first


def test_a_service_whose_tasks_fail_waits_longer_and_longer(yard: Yard, serve: Serve) -> None:
    name = serve(yard.definition(yard.container("raise SystemExit(1)")), 1)

    def failures() -> list[datetime]:
        events = described(yard, name)["events"]
        return sorted(event["createdAt"] for event in events if "Essential container" in event["message"])

    times = wait_for(lambda: len(found := failures()) >= 3 and found, "three failures")
    # Whenever this looks: the pause after the third is two seconds, and one may have been on its way.
    assert sum(time < times[2] + timedelta(seconds=1.5) for time in times) <= 4, "starts come without a pause"


def cloud_map(yard: Yard) -> tuple[str, str]:
    """A name and the ARN of its service of Cloud Map."""
    client = yard.cloud.client("servicediscovery", yard.admin)
    namespace = f"{unique('train')}.local"
    operation = client.create_private_dns_namespace(Name=namespace, Vpc="vpc-1")["OperationId"]
    identity = client.get_operation(OperationId=operation)["Operation"]["Targets"]["NAMESPACE"]
    records = {"DnsRecords": [{"Type": "A", "TTL": 10}]}
    service = client.create_service(Name="rdzv", NamespaceId=identity, DnsConfig=records)["Service"]
    return f"rdzv.{namespace}", service["Arn"]


def test_tasks_find_a_service_by_its_name(yard: Yard, serve: Serve) -> None:
    host, registry = cloud_map(yard)
    look = f"""
import socket, time
while True:
    try:
        found = socket.gethostbyname("{host}")
        connection = socket.create_connection((found, 29400), timeout=5)
        print(found, connection.recv(100).decode(), flush=True)
        break
    except OSError as error:
        time.sleep(0.1)
"""
    early = yard.run(yard.definition(yard.container(look)))[0]
    yard.reached(early, "RUNNING")
    listen = """
import socket
own = socket.gethostbyname(socket.gethostname())
with socket.create_server((own, 29400)) as server:
    while True:
        server.accept()[0].sendall(b"hello")
"""
    definition = yard.definition(yard.container(listen, stopTimeout=2))
    name = serve(definition, 2, serviceRegistries=[{"registryArn": registry}])
    addresses = {
        yard.task(arn)["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
        for arn in steady(yard, name, 2)
    }
    assert yard.reached(early, "STOPPED")["containers"][0]["exitCode"] == 0
    found, greeting = yard.log(early)[0].split()
    assert found in addresses
    assert greeting == "hello"
    client = yard.cloud.client("servicediscovery", yard.admin)
    listed = client.list_instances(ServiceId=registry.rpartition("/")[2])["Instances"]
    assert {each["Attributes"]["AWS_INSTANCE_IPV4"] for each in listed} == addresses
    every = f"import socket; print(sorted({{each[4][0] for each in socket.getaddrinfo('{host}', 1)}}))"
    late = yard.run(yard.definition(yard.container(every)))[0]
    yard.reached(late, "STOPPED")
    assert yard.log(late) == [str(sorted(addresses))]
    yard.ecs.delete_service(cluster=yard.name, service=name, force=True)
    wait_for(
        lambda: not client.list_instances(ServiceId=registry.rpartition("/")[2])["Instances"], "the exit"
    )


def test_tasks_find_one_another_by_their_host_names(yard: Yard) -> None:
    listen = """
import socket
own = socket.gethostbyname(socket.gethostname())
with socket.create_server((own, 29500)) as server:
    print(socket.gethostname(), flush=True)
    server.accept()[0].sendall(b"hello")
"""
    first = yard.run(yard.definition(yard.container(listen)))[0]
    host = wait_for(lambda: yard.task(first)["lastStatus"] == "RUNNING" and yard.log(first), "the name")[0]
    ask = f"import socket; print(socket.create_connection(('{host}', 29500)).recv(9).decode())"
    second = yard.run(yard.definition(yard.container(ask)))[0]
    yard.reached(second, "STOPPED")
    assert yard.log(second) == ["hello"]
    yard.reached(first, "STOPPED")


def test_application_auto_scaling_sets_the_count(yard: Yard, serve: Serve) -> None:
    name = serve(yard.definition(yard.container(WAIT, stopTimeout=2)), 0)
    scaling = yard.cloud.client("application-autoscaling", yard.admin)
    target = {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/{yard.name}/{name}",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    none = {**target, "ResourceId": f"service/{yard.name}/none"}
    message = code_of(scaling.register_scalable_target, **none, MinCapacity=1, MaxCapacity=2)[1]
    assert "does not exist" in message
    scaling.register_scalable_target(**target, MinCapacity=2, MaxCapacity=3)
    steady(yard, name, 2)
    assert described(yard, name)["desiredCount"] == 2
    of_service = {"ServiceNamespace": "ecs", "ResourceId": target["ResourceId"]}
    wait_for(lambda: scaling.describe_scaling_activities(**of_service)["ScalingActivities"], "the activity")
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=1)
    steady(yard, name, 1)


def test_services_that_aws_refuses(yard: Yard, serve: Serve) -> None:
    definition = yard.definition(yard.container(WAIT))
    name = serve(definition, 1)
    request = {
        "cluster": yard.name,
        "serviceName": name,
        "taskDefinition": definition,
        "launchType": "FARGATE",
        "networkConfiguration": SUBNETS,
    }
    create = yard.ecs.create_service
    assert code_of(create, **request)[1] == "Creation of service was not idempotent."
    other = {**request, "serviceName": unique("other")}
    assert "Load" in json.dumps(code_of(create, **other, loadBalancers=[{"containerName": "x"}])).title()
    registry = [{"registryArn": "arn:aws:servicediscovery:us-east-1:000000000000:service/srv-none"}]
    assert "does not exist" in code_of(create, **other, serviceRegistries=registry)[1]
    percent = {"minimumHealthyPercent": 100, "maximumPercent": 100}
    assert "would not allow" in code_of(create, **other, deploymentConfiguration=percent)[1]
    missing = code_of(yard.ecs.update_service, cluster=yard.name, service="none", desiredCount=1)
    assert missing[0] == "ServiceNotFoundException"
    assert code_of(yard.ecs.delete_service, cluster=yard.name, service=name)[0] == "InvalidParameterException"
    failures = yard.ecs.describe_services(cluster=yard.name, services=["none"])["failures"]
    assert [each["reason"] for each in failures] == ["MISSING"]
