"""Container instances whose agent ECS does not hear: what is there works on, and obeys nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.context import Cloud, Credentials
from tests.local.support import Role, code_of, fault, noticed
from tests.local.workloads.ecs_yard import WAIT, Yard, wait_for
from tests.local.workloads.test_ecs_capacity import Pool


@pytest.fixture(scope="module")
def yard(
    cloud: Cloud, admin: Credentials, role: Role, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    made = Yard(cloud, admin, role, tmp_path_factory.mktemp("image"))
    yield made
    made.close()


@pytest.fixture
def pool(yard: Yard) -> Iterator[Pool]:
    # What Spot would have its agent do is part of it.
    made = Pool(yard, scaled=False, smallest=2, user_data="ECS_ENABLE_SPOT_INSTANCE_DRAINING=true")
    yield made
    made.close()


def begun(yard: Yard, pool: Pool) -> tuple[dict[str, Any], dict[str, Any]]:
    """A task that runs, and the instance that it is on."""
    wait_for(lambda: len(pool.instances()) == 2, "two instances")
    definition = yard.definition(yard.container(WAIT, stopTimeout=2))
    (arn,) = yard.run(definition, capacityProviderStrategy=pool.strategy)
    yard.said(arn, "here")
    task = yard.reached(arn, "RUNNING")
    return task, instance(yard, task["containerInstanceArn"])


def instance(yard: Yard, arn: str) -> dict[str, Any]:
    answer = yard.ecs.describe_container_instances(cluster=yard.name, containerInstances=[arn])
    (found,) = answer["containerInstances"]
    return dict(found)


def test_what_is_told_to_a_silent_host_happens_when_it_is_heard_again(yard: Yard, pool: Pool) -> None:
    task, host = begun(yard, pool)
    arn = task["taskArn"]
    assert (task["connectivity"], host["agentConnected"]) == ("CONNECTED", True)
    with fault(yard.cloud, service="ecs-agent", path=host["ec2InstanceId"]):
        assert yard.task(arn)["connectivity"] == "DISCONNECTED"
        assert not instance(yard, host["containerInstanceArn"])["agentConnected"]
        yard.ecs.stop_task(cluster=yard.name, task=arn)
        seen = yard.task(arn)
        assert (seen["desiredStatus"], seen["lastStatus"]) == ("STOPPED", "RUNNING")
        # Nothing new comes there.
        asked = {
            "capacityProviderStrategy": pool.strategy,
            "placementConstraints": [{"type": "distinctInstance"}],
        }
        definition = yard.definition(yard.container(WAIT, stopTimeout=2), family="other")
        answer = yard.ask(definition, count=2, **asked)
        assert len(answer["tasks"]) == 1
        other = answer["tasks"][0]["containerInstanceArn"]
        assert other != host["containerInstanceArn"]
        assert yard.task(arn)["lastStatus"] == "RUNNING"
    stopped = yard.reached(arn, "STOPPED")
    assert (stopped["stopCode"], stopped["containers"][0]["exitCode"]) == ("UserInitiated", 143)


def test_a_silent_host_that_is_gone_stays_until_it_is_deregistered(yard: Yard, pool: Pool) -> None:
    task, host = begun(yard, pool)
    arn, place = task["taskArn"], host["containerInstanceArn"]
    asked = {"cluster": yard.name, "containerInstance": place}
    assert "running tasks" in code_of(yard.ecs.deregister_container_instance, **asked)[1]
    with fault(yard.cloud, service="ecs-agent", path=host["ec2InstanceId"]):
        ec2 = yard.cloud.client("ec2", yard.admin)
        (ended,) = ec2.terminate_instances(InstanceIds=[host["ec2InstanceId"]])["TerminatingInstances"]
        assert ended["CurrentState"]["Name"] == "shutting-down"
        # The group has another one, and nobody says that this one is no more.
        wait_for(lambda: len(pool.instances()) == 3, "another instance")
        seen = yard.task(arn)
        assert (seen["lastStatus"], seen["connectivity"]) == ("RUNNING", "DISCONNECTED")
    assert yard.task(arn)["lastStatus"] == "RUNNING"
    gone = yard.ecs.deregister_container_instance(**asked, force=True)["containerInstance"]
    assert (gone["status"], gone["agentConnected"]) == ("INACTIVE", False)
    stopped = yard.task(arn)
    assert (stopped["lastStatus"], stopped["stoppedReason"]) == (
        "STOPPED",
        "Container instance deregistration forced by user.",
    )
    assert "not found" in code_of(yard.ecs.deregister_container_instance, **asked, force=True)[1]
    assert len(pool.instances()) == 2


def test_a_task_that_starts_while_its_host_is_deregistered_has_ended(
    yard: Yard, pool: Pool, tmp_path: Path
) -> None:
    wait_for(lambda: len(pool.instances()) == 2, "two instances")
    gate = tmp_path / "gate"
    first = f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)"
    definition = yard.definition(
        yard.container(first, "first", essential=False),
        yard.container(WAIT, stopTimeout=2, dependsOn=[{"containerName": "first", "condition": "COMPLETE"}]),
        cpu="512",
        memory="1024",
    )
    (arn,) = yard.run(definition, capacityProviderStrategy=pool.strategy)
    wait_for(lambda: yard.task(arn)["containers"][0]["lastStatus"] == "RUNNING", "the first container")
    place = yard.task(arn)["containerInstanceArn"]
    yard.ecs.deregister_container_instance(cluster=yard.name, containerInstance=place, force=True)
    ended = yard.task(arn)
    assert ended["lastStatus"] == "STOPPED"
    gate.touch()
    # Its containers go on, and nobody is told.
    second = {"logGroupName": yard.group, "logStreamNamePrefix": f"run/main/{arn.rpartition('/')[2]}"}
    wait_for(lambda: yard.logs.filter_log_events(**second)["events"], "the second container")
    assert yard.task(arn) == ended
    # The instance is there, and in no cluster.
    known = {"cluster": yard.name, "containerInstances": [place]}
    assert place not in {each["containerInstanceArn"] for each in pool.instances()}
    (found,) = yard.ecs.describe_container_instances(**known)["containerInstances"]
    assert found["status"] == "INACTIVE"
    (failure,) = yard.ecs.update_container_instances_state(**known, status="ACTIVE")["failures"]
    assert failure["reason"] == "MISSING"
    (cluster,) = yard.ecs.describe_clusters(clusters=[yard.name])["clusters"]
    assert cluster["registeredContainerInstancesCount"] == 1
    # Spot takes it as it takes any, which brings it back to no cluster.
    heard = yard.queue_of_events({"source": ["aws.ec2"]})
    with noticed(yard.cloud.folder, {found["ec2InstanceId"]: 3600}):
        wait_for(lambda: yard.events(heard), "the warning")
        (found,) = yard.ecs.describe_container_instances(**known)["containerInstances"]
        assert found["status"] == "INACTIVE"


def test_instances_of_groups_are_described_until_they_are_gone(yard: Yard, actor: Any) -> None:
    statement = {"Effect": "Allow", "Action": "ec2:DescribeInstances", "Resource": "*"}
    ec2, everyone = yard.cloud.client("ec2", actor([statement])), yard.cloud.client("ec2", yard.admin)
    nobody = yard.cloud.client("ec2", actor([]))
    pool = Pool(yard, scaled=False, smallest=1, tags={"fleet": "mine"})
    try:
        (one,) = wait_for(pool.instances, "an instance")
        asked = {"InstanceIds": [one["ec2InstanceId"]]}
        (reservation,) = ec2.describe_instances(**asked)["Reservations"]
        (found,) = reservation["Instances"]
        assert (found["InstanceId"], found["State"]["Name"]) == (one["ec2InstanceId"], "running")
        assert {"Key": "fleet", "Value": "mine"} in found["Tags"]
        filters = [{"Name": "instance-state-name", "Values": ["terminated"]}]
        assert "filters" in code_of(ec2.describe_instances, **asked, Filters=filters)[1]
        assert code_of(nobody.describe_instances, **asked)[0] == "UnauthorizedOperation"
        everyone.terminate_instances(**asked)
        assert code_of(ec2.describe_instances, **asked)[0] == "InvalidInstanceID.NotFound"
    finally:
        pool.close()


def test_who_may_end_instances_of_one_tag_ends_no_others(yard: Yard, actor: Any) -> None:
    tags = {"fleet": "mine"}
    statement = {
        "Effect": "Allow",
        "Action": "ec2:TerminateInstances",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/fleet": "mine"}},
    }
    ec2, everyone = yard.cloud.client("ec2", actor([statement])), yard.cloud.client("ec2", yard.admin)
    (mine, others) = pools = (
        Pool(yard, scaled=False, smallest=1, tags=tags),
        Pool(yard, scaled=False, smallest=1),
    )
    image = everyone.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    made = everyone.run_instances(ImageId=image, MinCount=2, MaxCount=2)["Instances"]
    (record, other_record) = (one["InstanceId"] for one in made)
    everyone.create_tags(Resources=[record], Tags=[{"Key": "fleet", "Value": "mine"}])
    try:
        (one,), (other,) = (wait_for(pool.instances, "an instance") for pool in pools)
        # The tags of each are asked about, not those of the first alone.
        for names in (
            [other["ec2InstanceId"]],
            [one["ec2InstanceId"], other["ec2InstanceId"]],
            [other_record],
            [record, other_record],
        ):
            assert code_of(ec2.terminate_instances, InstanceIds=names)[0] == "UnauthorizedOperation"
        assert [each["ec2InstanceId"] for each in others.instances()] == [other["ec2InstanceId"]]
        ec2.terminate_instances(InstanceIds=[one["ec2InstanceId"]])
        ec2.terminate_instances(InstanceIds=[record])
        wait_for(
            lambda: one["ec2InstanceId"] not in {each["ec2InstanceId"] for each in mine.instances()},
            "its end",
        )
    finally:
        everyone.terminate_instances(InstanceIds=[record, other_record])
        for pool in pools:
            pool.close()
