"""A cluster that trains on hosts that may vanish."""

from __future__ import annotations

import re

import pytest

from modelyard.training import Pool, TrainerSize, TrainingCluster, TrainingData, TrainingNetwork
from tests.synth.training_support import Built, flat

POOL_IDS = ("Poolspot", "Poolondemand")


@pytest.fixture
def network(stack):
    return TrainingNetwork(stack, "Network")


@pytest.fixture
def make(stack, network, image, data):
    def run(**settings):
        return TrainingCluster(
            stack, "Cluster", network=network, image=image, data=TrainingData(bucket=data), **settings
        )

    return run


def test_hosts_come_for_tasks_only(stack, make):
    make()
    built = Built(stack)
    groups = built.of("AutoScaling::AutoScalingGroup")
    assert len(groups) == 2
    for group in groups:
        assert (group["MinSize"], group["MaxSize"]) == ("0", "4")
        assert "DesiredCapacity" not in group, "managed scaling sets it, and an update would set it back"
        assert group["NewInstancesProtectedFromScaleIn"] is True
        assert len(group["VPCZoneIdentifier"]) == 1, "the gradients would cross zones"
    for provider in built.of("ECS::CapacityProvider"):
        settings = provider["AutoScalingGroupProvider"]
        assert settings["ManagedTerminationProtection"] == "ENABLED"
        assert settings["ManagedScaling"]["Status"] == "ENABLED"
        assert settings["ManagedScaling"]["TargetCapacity"] == 100
        assert settings["ManagedScaling"]["MaximumScalingStepSize"] == 4


def test_spot_first_then_on_demand(stack, make):
    cluster = make()
    built = Built(stack)
    spot, demand = (
        built.one("AutoScaling::AutoScalingGroup", name)["MixedInstancesPolicy"] for name in POOL_IDS
    )
    assert spot["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 0
    assert spot["InstancesDistribution"]["SpotAllocationStrategy"] == "price-capacity-optimized"
    assert demand["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 100
    for policy in (spot, demand):
        assert policy["InstancesDistribution"]["OnDemandBaseCapacity"] == 0
        assert len(policy["LaunchTemplate"]["Overrides"]) == 4
    # What one zone does not offer, the other may.
    places = [built.one("AutoScaling::AutoScalingGroup", name)["VPCZoneIdentifier"] for name in POOL_IDS]
    assert places[0] != places[1]
    for name in POOL_IDS:
        data = built.one("EC2::LaunchTemplate", name)["LaunchTemplateData"]
        for specification in data["TagSpecifications"]:
            tags = {tag["Key"]: flat(tag["Value"]) for tag in specification["Tags"]}
            # By which those that obey no more are taken away.
            assert tags["modelyard:cluster"] == flat(stack.resolve(cluster.cluster.cluster_name))
    names = [stack.resolve(name)["Ref"] for name in cluster.capacity_providers]
    assert ["spot" in names[0], "ondemand" in names[1]] == [True, True]
    assert cluster.capacity_zones == [0, 1]
    tied = built.one("ECS::ClusterCapacityProviderAssociations")
    assert [flat(name) for name in tied["CapacityProviders"]] == [
        "FARGATE",
        "FARGATE_SPOT",
        *(f"<{name}>" for name in names),
    ]


def test_hosts_are_closed_and_encrypted(stack, make):
    make()
    built = Built(stack)
    templates = [one["LaunchTemplateData"] for one in built.of("EC2::LaunchTemplate")]
    assert len(templates) == 2
    for data in templates:
        assert data["MetadataOptions"] == {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
        }
        (volume,) = data["BlockDeviceMappings"]
        assert volume["DeviceName"] == "/dev/xvda"
        assert volume["Ebs"]["Encrypted"] is True
        assert "HostKey" in flat(volume["Ebs"]["KmsKeyId"])
        assert "KeyName" not in data
        assert data["ImageId"] == (
            "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
        )
    assert "SecurityGroupIngress" not in built.one("EC2::SecurityGroup", "HostGroup")


def test_hosts_join_this_cluster_and_keep_their_role_to_themselves(stack, make):
    make()
    (script,) = {
        flat(one["LaunchTemplateData"]["UserData"]) for one in Built(stack).of("EC2::LaunchTemplate")
    }
    cluster = stack.resolve(stack.node.find_child("Cluster").cluster.cluster_name)
    for line in (
        f"ECS_CLUSTER={flat(cluster)}",
        "ECS_AWSVPC_BLOCK_IMDS=true",
        "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true",
        "ECS_CONTAINER_STOP_TIMEOUT=120s",
        "ECS_ENABLE_GPU_SUPPORT=true",
    ):
        assert line in script.splitlines()


def test_auto_scaling_may_use_the_volumes_key_though_its_role_may_not_exist_yet(stack, make):
    make()
    key = Built(stack).one("KMS::Key", "HostKey")
    conditions = [
        statement["Condition"]
        for statement in key["KeyPolicy"]["Statement"]
        if statement["Principal"] == {"AWS": "*"}
    ]
    assert len(conditions) == 2
    for condition in conditions:
        assert condition["StringEquals"] == {"kms:CallerAccount": {"Ref": "AWS::AccountId"}}
        roles = [flat(role) for role in condition["ArnEquals"]["aws:PrincipalArn"]]
        assert [role.rpartition("/")[2] for role in roles] == [
            "AWSServiceRoleForAutoScaling",
            "AWSServiceRoleForEC2Spot",
        ]


def test_the_trainers_task(stack, make):
    make(size=TrainerSize(gpus=4, memory_mib=60_000))
    task = Built(stack).one("ECS::TaskDefinition", "Trainer")
    assert (task["NetworkMode"], task["RequiresCompatibilities"]) == ("awsvpc", ["EC2"])
    (container,) = task["ContainerDefinitions"]
    assert container["EntryPoint"] == ["python", "-m", "training.vision.launch"]
    assert "Command" not in container
    assert container["StopTimeout"] == 120
    assert container["ResourceRequirements"] == [{"Type": "GPU", "Value": "4"}]
    assert container["Memory"] == 60_000
    assert container["LinuxParameters"] == {"SharedMemorySize": 4096}
    environment = {entry["Name"]: entry["Value"] for entry in container["Environment"]}
    assert environment["RENDEZVOUS_ENDPOINT"] == "rendezvous.training.local:29400"
    assert environment["PROCESSES_PER_HOST"] == "4"
    assert flat(environment["TRAINING_CLUSTER"]).startswith("<Cluster")
    assert container["LogConfiguration"]["Options"]["mode"] == "non-blocking"


def test_hosts_without_gpus(stack, make):
    make(size=TrainerSize(gpus=0), pools=[Pool(name="cpu", market="spot", instance_types=["c7i.xlarge"])])
    built = Built(stack)
    (container,) = built.one("ECS::TaskDefinition", "Trainer")["ContainerDefinitions"]
    assert "ResourceRequirements" not in container
    template = built.one("EC2::LaunchTemplate")["LaunchTemplateData"]
    assert template["ImageId"].endswith("amazon-linux-2023/recommended/image_id")
    assert "GPU" not in flat(template["UserData"])


def test_a_trainer_may_do_what_it_does_and_no_more(stack, make):
    make()
    built = Built(stack)
    role = "ClusterTrainerTaskRole"
    assert built.actions(role) == {
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
    }

    def below(action):
        return {
            flat(resource).partition("/")[2]
            for actions, resources, _ in built.rights(role)
            for resource in resources
            if action in actions
        }

    assert below("s3:GetObject") == {"datasets/*", "training-jobs/*"}
    assert below("s3:PutObject") == {"training-jobs/*"}
    assert below("s3:DeleteObject") == {"training-jobs/*/checkpoints/*"}


def test_the_agent_may_act_in_its_cluster_only(stack, make):
    make()
    built = Built(stack)
    for actions, resources, _ in built.rights("HostRole"):
        if actions == ["ecs:DiscoverPollEndpoint"]:
            assert resources == ["*"]
        else:
            assert all(re.search(r"<Cluster[0-9A-F]{8}", flat(resource)) for resource in resources)
    assert not [action for action in built.actions("HostRole") if not action.startswith("ecs:")]


def test_who_may_start_tasks(stack, make, role):
    make().grant_run(role)
    built, name = Built(stack), stack.resolve(role.role_name)["Ref"]
    assert built.actions(name) == {"ecs:RunTask", "ecs:StopTask", "ecs:DescribeTasks", "iam:PassRole"}
    run = built.right(name, "ecs:RunTask")
    assert "TrainerDefinition" in flat(run["Resource"])
    assert re.match(r"<Cluster[0-9A-F]{8}", flat(run["Condition"]["ArnEquals"]["ecs:cluster"]))
    passing = built.right(name, "iam:PassRole")
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    assert len(passing["Resource"]) == 2


def test_there_is_never_a_second_store(stack, make):
    make()
    service = Built(stack).one("ECS::Service", "Rendezvous")
    assert service["DesiredCount"] == 1
    assert service["DeploymentConfiguration"]["MaximumPercent"] == 100
    assert service["DeploymentConfiguration"]["MinimumHealthyPercent"] == 0
    assert service["AvailabilityZoneRebalancing"] == "DISABLED"
    assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    assert service["ServiceRegistries"]


def test_the_store_has_a_name_in_the_network(stack, make):
    make(namespace="other.local")
    built = Built(stack)
    assert built.one("ServiceDiscovery::PrivateDnsNamespace")["Name"] == "other.local"
    name = built.one("ServiceDiscovery::Service")
    assert name["Name"] == "rendezvous"
    assert name["DnsConfig"]["DnsRecords"] == [{"TTL": 5, "Type": "A"}]
    (container,) = built.one("ECS::TaskDefinition", "Rendezvous")["ContainerDefinitions"]
    command = ["python", "-m", "training.rendezvous", "--port", "29400", "--own-address"]
    assert container["EntryPoint"] == command


def test_trainers_reach_each_other_and_the_store_and_nobody_reaches_them(stack, make):
    make()
    built = Built(stack)
    into = {
        (flat(rule["GroupId"]), flat(rule["SourceSecurityGroupId"]), rule["FromPort"], rule["ToPort"])
        for rule in built.of("EC2::SecurityGroupIngress")
    }
    groups = [name for name, one in built.resources.items() if one["Type"] == "AWS::EC2::SecurityGroup"]
    trainer, store = (
        next(f"<{name}.GroupId>" for name in groups if part in name)
        for part in ("TrainerGroup", "RendezvousGroup")
    )
    assert into == {(trainer, trainer, 0, 65535), (store, trainer, 29400, 29400)}
    for group in built.of("EC2::SecurityGroup", "Cluster"):
        assert "SecurityGroupIngress" not in group


@pytest.mark.parametrize("insights", ["enabled", "enhanced", "disabled"])
def test_insights(stack, make, insights):
    make(insights=insights)
    assert Built(stack).one("ECS::Cluster")["ClusterSettings"] == [
        {"Name": "containerInsights", "Value": insights}
    ]


def test_the_rendezvous_alone_runs_while_there_is_no_job(stack, make):
    make()
    built = Built(stack)
    assert len(built.of("ECS::Service")) == 1
    assert built.of("EC2::Instance") == []


@pytest.mark.parametrize(
    ("pools", "words"),
    [
        ([], "give one or more"),
        ([Pool(name="a", market="spot"), Pool(name="a", market="on-demand")], "each another name"),
        ([Pool(name="a", market="spot", zone=2)], "in zone 2, but the network has zones 0 to 1"),
    ],
)
def test_bad_pools_are_refused(make, pools, words):
    with pytest.raises(ValueError, match=words):
        make(pools=pools)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "ecs-pool"}, "not aws"),
        ({"name": "Spot"}, "small letters"),
        ({"market": "reserved"}, "use 'spot' or 'on-demand'"),
        ({"instance_types": ()}, "at least one instance type"),
        ({"instance_types": ("g5",)}, "no instance type"),
        ({"max_hosts": 0}, "give at least 1"),
        ({"volume_gib": 20}, "give at least 30"),
    ],
)
def test_a_bad_pool_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Pool(**{"name": "a", "market": "spot", **settings})


@pytest.mark.parametrize("settings", [{"gpus": 17}, {"memory_mib": 100}, {"shared_memory_mib": 20_000}])
def test_a_bad_size_is_refused(settings):
    with pytest.raises(ValueError, match="TrainerSize"):
        TrainerSize(**settings)


def test_folders_do_not_lie_in_each_other(data):
    for jobs in ("data/jobs/", "data/"):
        with pytest.raises(ValueError, match="one within the other"):
            TrainingData(bucket=data, datasets="data/", jobs=jobs)
    with pytest.raises(ValueError, match="not a folder"):
        TrainingData(bucket=data, jobs="jobs")


def test_the_address_of_jobs(stack, data):
    assert flat(stack.resolve(TrainingData(bucket=data).jobs_uri)).endswith(">/training-jobs/")
