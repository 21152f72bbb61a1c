"""Where tasks go: instances of Auto Scaling groups, what they hold, and what happens without room."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest

from localcloud.context import Cloud, Credentials
from tests.local.support import Role, code_of, noticed, notify, unique
from tests.local.workloads.ecs_yard import SUBNETS, WAIT, Yard, wait_for


@pytest.fixture(scope="module")
def yard(
    cloud: Cloud, admin: Credentials, role: Role, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    made = Yard(cloud, admin, role, tmp_path_factory.mktemp("image"))
    yield made
    made.close()


class Pool:
    """A capacity provider of a group of c5.large: 2 processors and 3850 MiB an instance."""

    def __init__(
        self,
        yard: Yard,
        *,
        scaled: bool,
        smallest: int = 0,
        largest: int = 2,
        user_data: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.yard, self.name = yard, unique("pool")
        self.groups = yard.cloud.client("autoscaling", yard.admin)
        ec2 = yard.cloud.client("ec2", yard.admin)
        data: dict[str, Any] = {"InstanceType": "c5.large"}
        if tags:
            pairs = [{"Key": name, "Value": value} for name, value in tags.items()]
            data["TagSpecifications"] = [{"ResourceType": "instance", "Tags": pairs}]
        if user_data:
            data["UserData"] = base64.b64encode(user_data.encode()).decode()
        ec2.create_launch_template(LaunchTemplateName=self.name, LaunchTemplateData=data)
        found = ec2.describe_launch_templates(LaunchTemplateNames=[self.name])["LaunchTemplates"][0]
        self.groups.create_auto_scaling_group(
            AutoScalingGroupName=self.name,
            MinSize=smallest,
            MaxSize=largest,
            LaunchTemplate={"LaunchTemplateId": found["LaunchTemplateId"]},
            AvailabilityZones=["us-east-1a"],
        )
        arn = self.group()["AutoScalingGroupARN"]
        yard.ecs.create_capacity_provider(
            name=self.name,
            autoScalingGroupProvider={
                "autoScalingGroupArn": arn,
                "managedScaling": {"status": "ENABLED" if scaled else "DISABLED"},
            },
        )
        self.strategy = [{"capacityProvider": self.name}]
        self._associate(add=True)

    def group(self) -> dict[str, Any]:
        answer = self.groups.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])
        found: dict[str, Any] = answer["AutoScalingGroups"][0]
        return found

    def size(self, count: int) -> None:
        self.groups.set_desired_capacity(AutoScalingGroupName=self.name, DesiredCapacity=count)

    def instances(self) -> list[dict[str, Any]]:
        ecs, cluster = self.yard.ecs, self.yard.name
        arns = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
        if not arns:
            return []
        found = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)[
            "containerInstances"
        ]
        return [each for each in found if each["capacityProviderName"] == self.name]

    def _associate(self, *, add: bool) -> None:
        cluster = self.yard.ecs.describe_clusters(clusters=[self.yard.name])["clusters"][0]
        names = [name for name in cluster["capacityProviders"] if name != self.name]
        self.yard.ecs.put_cluster_capacity_providers(
            cluster=self.yard.name,
            capacityProviders=[*names, self.name] if add else names,
            defaultCapacityProviderStrategy=[],
        )

    def close(self) -> None:
        for arn in self.yard.ecs.list_tasks(cluster=self.yard.name)["taskArns"]:
            self.yard.ecs.stop_task(cluster=self.yard.name, task=arn)
        wait_for(lambda: not any(each["runningTasksCount"] for each in self.instances()), "room")

        def dissociated() -> bool:
            try:
                self._associate(add=False)
            except self.yard.ecs.exceptions.ResourceInUseException:
                return False
            return True

        wait_for(dissociated, "the end of the pool's tasks")
        self.yard.ecs.delete_capacity_provider(capacityProvider=self.name)
        self.groups.delete_auto_scaling_group(AutoScalingGroupName=self.name)


@pytest.fixture
def scaled(yard: Yard) -> Iterator[Pool]:
    pool = Pool(yard, scaled=True)
    yield pool
    pool.close()


@pytest.fixture
def fixed(yard: Yard) -> Iterator[Pool]:
    pool = Pool(yard, scaled=False, smallest=2)
    yield pool
    pool.close()


def remaining(instance: dict[str, Any], name: str) -> int:
    found = next(each for each in instance["remainingResources"] if each["name"] == name)
    return int(found["integerValue"])


def test_instances_come_for_tasks_one_each_and_the_rest_wait(yard: Yard, scaled: Pool) -> None:
    definition = yard.definition(yard.container(WAIT, stopTimeout=2))
    apart = [{"type": "distinctInstance"}]
    asked = {"capacityProviderStrategy": scaled.strategy, "placementConstraints": apart, "group": "job-1"}
    assert scaled.instances() == []
    first, second, third = yard.run(definition, count=3, **asked)
    tasks = [yard.reached(arn, "RUNNING") for arn in (first, second)]
    assert len({task["containerInstanceArn"] for task in tasks}) == 2
    assert {task["launchType"] for task in tasks} == {"EC2"}
    assert scaled.group()["DesiredCapacity"] == 2
    held = {each["containerInstanceArn"]: each for each in scaled.instances()}
    for task in tasks:
        instance = held[task["containerInstanceArn"]]
        assert (remaining(instance, "CPU"), remaining(instance, "MEMORY")) == (2048 - 256, 3850 - 512)
        assert instance["runningTasksCount"] == 1
    assert {each["ec2InstanceId"] for each in held.values()} == {
        each["InstanceId"] for each in scaled.group()["Instances"]
    }
    waiting = yard.task(third)
    assert (waiting["lastStatus"], "containerInstanceArn" in waiting) == ("PROVISIONING", False)
    # Another group's tasks may share the instances.
    other = yard.run(definition, **{**asked, "group": "job-2"})[0]
    yard.reached(other, "RUNNING")
    yard.ecs.stop_task(cluster=yard.name, task=first)
    assert yard.reached(third, "RUNNING")["containerInstanceArn"] == tasks[0]["containerInstanceArn"]


def test_a_waiting_task_can_be_stopped(yard: Yard, scaled: Pool) -> None:
    definition = yard.definition(yard.container(WAIT), cpu="4096", memory="8192")
    arn = yard.run(definition, capacityProviderStrategy=scaled.strategy)[0]
    assert yard.task(arn)["lastStatus"] == "PROVISIONING"
    assert scaled.group()["DesiredCapacity"] == 0, "an instance that is too small helps nobody"
    yard.ecs.stop_task(cluster=yard.name, task=arn, reason="deadline")
    task = yard.task(arn)
    assert (task["lastStatus"], task["stopCode"], task["stoppedReason"]) == (
        "STOPPED",
        "UserInitiated",
        "deadline",
    )


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"cpu": "256", "memory": "4096"}, "RESOURCE:MEMORY"),
        ({"cpu": "4096", "memory": "512"}, "RESOURCE:CPU"),
        ({"gpus": 1}, "RESOURCE:GPU"),
    ],
)
def test_without_room_an_answer_has_failures(
    yard: Yard, fixed: Pool, sizes: dict[str, Any], reason: str
) -> None:
    container = yard.container(WAIT)
    sizes = dict(sizes)
    if gpus := sizes.pop("gpus", 0):
        container["resourceRequirements"] = [{"type": "GPU", "value": str(gpus)}]
    definition = yard.definition(container, requiresCompatibilities=["EC2"], **sizes)
    for place in ({"launchType": "EC2"}, {"capacityProviderStrategy": fixed.strategy}):
        answer = yard.ask(definition, **place)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert answer["tasks"] == []
        arns = {each["containerInstanceArn"] for each in fixed.instances()}
        assert {(each["arn"], each["reason"]) for each in answer["failures"]} == {
            (arn, reason) for arn in arns
        }


def test_part_of_the_tasks_may_have_room(yard: Yard, fixed: Pool) -> None:
    definition = yard.definition(yard.container(WAIT), cpu="1024", memory="2048")
    answer = yard.ask(definition, launchType="EC2", count=3)
    assert len(answer["tasks"]) == 2
    assert {each["reason"] for each in answer["failures"]} == {"RESOURCE:MEMORY"}
    apart = yard.ask(
        yard.definition(yard.container(WAIT)),
        launchType="EC2",
        count=3,
        placementConstraints=[{"type": "distinctInstance"}],
    )
    assert len(apart["tasks"]) == 2
    assert {each["reason"] for each in apart["failures"]} == {
        "DistinctInstance placement constraint unsatisfied."
    }


def test_tasks_end_with_their_instance(yard: Yard, fixed: Pool) -> None:
    definition = yard.definition(
        yard.container("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAIT)
    )
    apart = [{"type": "distinctInstance"}]
    arns = yard.run(definition, launchType="EC2", count=2, placementConstraints=apart)
    for arn in arns:
        yard.said(arn, "here")
    gone = fixed.group()["Instances"][1]["InstanceId"]
    fixed.size(1)
    instance = next(iter(fixed.instances()))["containerInstanceArn"]
    lost = next(arn for arn in arns if yard.task(arn)["containerInstanceArn"] != instance)
    task = yard.reached(lost, "STOPPED")
    assert task["stoppedReason"] == f"Host EC2 (instance {gone}) terminated."
    assert (task["stopCode"], task["containers"][0]["exitCode"]) == ("TerminationNotice", 137)
    kept = next(arn for arn in arns if arn != lost)
    assert yard.task(kept)["lastStatus"] == "RUNNING"
    # What a handler of interruptions asks, who knows the instance's id.
    left = fixed.group()["Instances"][0]["InstanceId"]
    found = yard.ecs.list_container_instances(cluster=yard.name, filter=f"ec2InstanceId == {left}")
    assert found["containerInstanceArns"] == [instance]
    assert not yard.ecs.list_container_instances(cluster=yard.name, filter=f"ec2InstanceId == {gone}")[
        "containerInstanceArns"
    ]
    listed = yard.ecs.list_tasks(cluster=yard.name, containerInstance=instance)["taskArns"]
    assert listed == [kept]


def test_an_instance_that_drains_takes_nothing_new_and_keeps_standalone_tasks(
    yard: Yard, fixed: Pool
) -> None:
    definition = yard.definition(yard.container(WAIT))
    arn = yard.run(definition, launchType="EC2")[0]
    yard.reached(arn, "RUNNING")
    both = [each["containerInstanceArn"] for each in fixed.instances()]
    answer = yard.ecs.update_container_instances_state(
        cluster=yard.name, containerInstances=both, status="DRAINING"
    )
    assert {each["status"] for each in answer["containerInstances"]} == {"DRAINING"}
    refused = yard.ask(definition, launchType="EC2")
    assert refused["failures"], refused
    assert yard.task(arn)["lastStatus"] == "RUNNING"
    assert yard.ecs.list_container_instances(cluster=yard.name, status="DRAINING")["containerInstanceArns"]


def test_spot_gives_notice_and_then_takes_the_instance(yard: Yard) -> None:
    pool = Pool(yard, scaled=False, smallest=2, user_data="echo ECS_ENABLE_SPOT_INSTANCE_DRAINING=true > x")
    wait_for(lambda: len(pool.instances()) == 2, "two instances")
    mine, other = ((each["ec2InstanceId"], each["containerInstanceArn"]) for each in pool.instances())
    definition = yard.definition(yard.container(WAIT))
    apart = [{"type": "distinctInstance"}]
    tasks = yard.run(definition, launchType="EC2", count=2, placementConstraints=apart)
    for arn in tasks:
        yard.reached(arn, "RUNNING")
    on = {yard.task(arn)["containerInstanceArn"]: arn for arn in tasks}
    heard = yard.queue_of_events({"source": ["aws.ec2"]})
    with closing(pool), noticed(yard.cloud.folder, {mine[0]: 3600}):
        (event,) = wait_for(lambda: yard.events(heard), "the warning")
        # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
        assert event.keys() == {
            "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
        }  # fmt: skip
        assert event["detail-type"] == "EC2 Spot Instance Interruption Warning"
        assert event["resources"] == [f"arn:aws:ec2:us-east-1a:instance/{mine[0]}"]
        assert event["detail"] == {"instance-id": mine[0], "instance-action": "terminate"}
        # It takes nothing new, its task stays, and who asks by the instance's id finds it.
        listed = yard.ecs.list_container_instances(cluster=yard.name, filter=f"ec2InstanceId == {mine[0]}")
        assert listed["containerInstanceArns"] == [mine[1]]
        states = {each["containerInstanceArn"]: each["status"] for each in pool.instances()}
        assert states == {mine[1]: "DRAINING", other[1]: "ACTIVE"}
        assert yard.ask(definition, launchType="EC2", count=1, placementConstraints=apart)["failures"]
        assert yard.task(on[mine[1]])["lastStatus"] == "RUNNING"
        # Without a word ahead: it is gone with its task, and the group gets another one.
        notify(yard.cloud.folder, {mine[0]: 3600, other[0]: 0})
        stopped = yard.reached(on[other[1]], "STOPPED")
        assert stopped["stopCode"] == "TerminationNotice"
        wait_for(
            lambda: {each["ec2InstanceId"] for each in pool.instances()} - {mine[0], other[0]}, "another"
        )
        assert len(pool.instances()) == 2
        assert [event["detail"]["instance-id"] for event in yard.events(heard)] == [other[0]]
        # A notice that is taken back.
        notify(yard.cloud.folder, {other[0]: 0})
        wait_for(
            lambda: {each["status"] for each in pool.instances()} == {"ACTIVE"},
            "an instance that drains no more",
        )
        assert yard.task(on[mine[1]])["lastStatus"] == "RUNNING"


def test_an_agent_that_is_not_told_to_drain_takes_tasks_until_the_end(yard: Yard, fixed: Pool) -> None:
    instances = [each["ec2InstanceId"] for each in fixed.instances()]
    heard = yard.queue_of_events({"source": ["aws.ec2"]})
    with noticed(yard.cloud.folder, dict.fromkeys(instances, 3600)):
        told: list[str] = []
        wait_for(
            lambda: told.extend(one["detail"]["instance-id"] for one in yard.events(heard)) or len(told) == 2,
            "both",
        )
        assert sorted(told) == sorted(instances)
        assert {each["status"] for each in fixed.instances()} == {"ACTIVE"}
        assert not yard.ask(yard.definition(yard.container("pass")), launchType="EC2")["failures"]


def test_a_strategy_divides_tasks(yard: Yard) -> None:
    definition = yard.definition(yard.container("pass"))
    strategy = [
        {"capacityProvider": "FARGATE", "base": 1, "weight": 0},
        {"capacityProvider": "FARGATE_SPOT", "weight": 1},
    ]
    arns = yard.run(definition, capacityProviderStrategy=strategy, count=3)
    names = sorted(yard.task(arn)["capacityProviderName"] for arn in arns)
    assert names == ["FARGATE", "FARGATE_SPOT", "FARGATE_SPOT"]
    unknown = [{"capacityProvider": "elsewhere"}]
    message = code_of(
        yard.ecs.run_task,
        cluster=yard.name,
        taskDefinition=definition,
        networkConfiguration=SUBNETS,
        capacityProviderStrategy=unknown,
    )[1]
    assert "not associated with the cluster" in message


def test_capacity_providers_are_checked(yard: Yard, fixed: Pool) -> None:
    make, group = yard.ecs.create_capacity_provider, {"autoScalingGroupArn": "arn:aws:autoscaling:none/none"}
    assert code_of(make, name="x", autoScalingGroupProvider=group)[0] == "ClientException"
    assert code_of(make, name="fargate-x", autoScalingGroupProvider=group)[0] == "InvalidParameterException"
    assert code_of(make, name=fixed.name, autoScalingGroupProvider=group)[0] == "ClientException"
    used = code_of(yard.ecs.delete_capacity_provider, capacityProvider=fixed.name)
    assert used[0] == "ResourceInUseException"
    found = yard.ecs.describe_capacity_providers(capacityProviders=["FARGATE", fixed.name, "none"])
    assert [each["name"] for each in found["capacityProviders"]] == ["FARGATE", fixed.name]
    assert [each["reason"] for each in found["failures"]] == ["MISSING"]
    assert found["capacityProviders"][1]["autoScalingGroupProvider"]["managedScaling"]["status"] == "DISABLED"


def test_a_host_that_is_terminated_takes_its_task_along(yard: Yard, fixed: Pool) -> None:
    wait_for(lambda: len(fixed.instances()) == 2, "two instances")
    definition = yard.definition(yard.container(WAIT, stopTimeout=60))
    task = yard.reached(yard.run(definition, capacityProviderStrategy=fixed.strategy)[0], "RUNNING")
    instances = {each["containerInstanceArn"]: each["ec2InstanceId"] for each in fixed.instances()}
    lost = instances[task["containerInstanceArn"]]
    groups = yard.cloud.client("autoscaling", yard.admin)
    end = groups.terminate_instance_in_auto_scaling_group
    asked = {"InstanceId": lost, "ShouldDecrementDesiredCapacity": True}
    assert "will violate group's min size" in code_of(end, **asked)[1]
    activity = end(InstanceId=lost, ShouldDecrementDesiredCapacity=False)["Activity"]
    assert activity["StatusCode"] == "InProgress"
    stopped = yard.reached(task["taskArn"], "STOPPED")
    assert (stopped["stopCode"], stopped["containers"][0]["exitCode"]) == ("TerminationNotice", 137)
    assert lost in stopped["stoppedReason"]
    # Another one comes in its place.
    wait_for(lambda: len(fixed.instances()) == 2, "two instances")
    assert lost not in {each["ec2InstanceId"] for each in fixed.instances()}
    assert "not found" in code_of(end, InstanceId=lost, ShouldDecrementDesiredCapacity=False)[1]
