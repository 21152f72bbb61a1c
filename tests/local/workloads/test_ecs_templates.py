"""ECS in stacks: what the CDK writes of clusters, capacity providers, task definitions and services."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from localcloud.context import Cloud, Credentials
from tests.local.support import Role, unique
from tests.local.workloads.ecs_yard import WAIT, Yard, wait_for

Template = Callable[..., str]


@pytest.fixture(scope="module")
def yard(
    cloud: Cloud, admin: Credentials, role: Role, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    made = Yard(cloud, admin, role, tmp_path_factory.mktemp("image"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def template(yard: Yard) -> Template:
    """A cluster with a group of instances, and a service on Fargate with a name."""
    import aws_cdk as cdk
    from aws_cdk import aws_autoscaling as autoscaling
    from aws_cdk import aws_ec2 as ec2
    from aws_cdk import aws_ecs as ecs
    from aws_cdk import aws_iam as iam
    from aws_cdk import aws_servicediscovery as servicediscovery

    def build(name: str, *, version: str = "1", count: int = 1, image: str = yard.image) -> str:
        app = cdk.App(builtin_cloud_formation_validation=False)
        synthesizer = cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
        stack = cdk.Stack(app, "Training", synthesizer=synthesizer)
        cdk.Tags.of(stack).add("version", version)
        vpc = ec2.Vpc(
            stack,
            "Vpc",
            nat_gateways=0,
            max_azs=2,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
            ],
        )
        isolated = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
        cluster = ecs.Cluster(stack, "Cluster", vpc=vpc, enable_fargate_capacity_providers=True)
        host = autoscaling.AutoScalingGroup(
            stack,
            "Hosts",
            vpc=vpc,
            vpc_subnets=isolated,
            min_capacity=0,
            max_capacity=3,
            mixed_instances_policy=autoscaling.MixedInstancesPolicy(
                launch_template=ec2.LaunchTemplate(
                    stack,
                    "Launch",
                    machine_image=ecs.EcsOptimizedImage.amazon_linux2023(ecs.AmiHardwareType.GPU),
                    user_data=ec2.UserData.for_linux(),
                    role=iam.Role(stack, "Instance", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")),
                ),
                launch_template_overrides=[
                    autoscaling.LaunchTemplateOverrides(instance_type=ec2.InstanceType("g5.12xlarge"))
                ],
            ),
        )
        provider = ecs.AsgCapacityProvider(
            stack, "Provider", auto_scaling_group=host, enable_managed_termination_protection=False
        )
        cluster.add_asg_capacity_provider(provider)
        trainer = ecs.Ec2TaskDefinition(stack, "Trainer", network_mode=ecs.NetworkMode.AWS_VPC)
        trainer.add_container(
            "trainer",
            image=ecs.ContainerImage.from_registry(yard.image),
            memory_limit_mib=1024,
            gpu_count=4,
            environment={"CODE": "pass"},
        )
        definition = ecs.FargateTaskDefinition(stack, "Task")
        definition.add_container(
            "store",
            image=ecs.ContainerImage.from_registry(image),
            environment={"CODE": WAIT, "VERSION": version},
            logging=ecs.LogDrivers.aws_logs(stream_prefix="store"),
            stop_timeout=cdk.Duration.seconds(2),
        )
        pulling = ["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability"]
        definition.add_to_execution_role_policy(
            iam.PolicyStatement(actions=[*pulling, "ecr:GetDownloadUrlForLayer"], resources=["*"])
        )
        namespace = servicediscovery.PrivateDnsNamespace(stack, "Names", name=f"{name}.local", vpc=vpc)
        service = ecs.FargateService(
            stack,
            "Store",
            cluster=cluster,
            task_definition=definition,
            desired_count=count,
            vpc_subnets=isolated,
            min_healthy_percent=100,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            cloud_map_options=ecs.CloudMapOptions(name="rdzv", cloud_map_namespace=namespace),
        )
        for key, value in {
            "Cluster": cluster.cluster_name,
            "ClusterArn": cluster.cluster_arn,
            "Service": service.service_arn,
            "ServiceName": service.service_name,
            "Task": definition.task_definition_arn,
            "Trainer": trainer.task_definition_arn,
            "Provider": provider.capacity_provider_name,
            "Subnet": vpc.isolated_subnets[0].subnet_id,
        }.items():
            cdk.CfnOutput(stack, f"Out{key}", value=value)
        return json.dumps(app.synth().get_stack_by_name("Training").template)

    return build


class Stack:
    """One stack and what it says of itself."""

    def __init__(self, yard: Yard, name: str) -> None:
        self.name = name
        self.client = yard.cloud.client("cloudformation", yard.admin)

    def create(self, body: str) -> None:
        self.client.create_stack(StackName=self.name, TemplateBody=body, Capabilities=["CAPABILITY_IAM"])
        self._wait("stack_create_complete")

    def update(self, body: str) -> None:
        self.client.update_stack(StackName=self.name, TemplateBody=body, Capabilities=["CAPABILITY_IAM"])
        self._wait("stack_update_complete")

    def delete(self) -> None:
        self.client.delete_stack(StackName=self.name)
        self._wait("stack_delete_complete")

    def _wait(self, what: str) -> None:
        try:
            self.client.get_waiter(what).wait(
                StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
            )
        except WaiterError as error:
            raise AssertionError("\n".join(self.reasons())) from error

    def status(self) -> str:
        found: str = self.client.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"]
        return found

    def reasons(self) -> list[str]:
        events = self.client.describe_stack_events(StackName=self.name)["StackEvents"]
        return [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events
            if event.get("ResourceStatusReason")
        ]

    def outputs(self) -> dict[str, str]:
        found = self.client.describe_stacks(StackName=self.name)["Stacks"][0]["Outputs"]
        return {each["OutputKey"].removeprefix("Out"): each["OutputValue"] for each in found}


def test_a_stack_is_made_changed_and_deleted(yard: Yard, template: Template) -> None:
    name = unique("training")
    stack = Stack(yard, name)
    stack.create(template(name))
    first = stack.outputs()
    assert first["Service"].endswith(f"service/{first['Cluster']}/{first['ServiceName']}")
    cluster = yard.ecs.describe_clusters(clusters=[first["ClusterArn"]], include=["TAGS"])["clusters"][0]
    assert set(cluster["capacityProviders"]) == {"FARGATE", "FARGATE_SPOT", first["Provider"]}
    assert {"key": "version", "value": "1"} in cluster["tags"]

    def service() -> dict[str, Any]:
        found = yard.ecs.describe_services(cluster=first["Cluster"], services=[first["Service"]])["services"]
        return dict(found[0])

    assert (service()["runningCount"], service()["taskDefinition"]) == (1, first["Task"])
    names = yard.cloud.client("servicediscovery", yard.admin)
    registry = service()["serviceRegistries"][0]["registryArn"].rpartition("/")[2]
    assert len(names.list_instances(ServiceId=registry)["Instances"]) == 1
    # Four GPUs fit the type that the mixed instances policy names.
    answer = yard.ecs.run_task(
        cluster=first["Cluster"],
        taskDefinition=first["Trainer"],
        capacityProviderStrategy=[{"capacityProvider": first["Provider"]}],
        networkConfiguration={"awsvpcConfiguration": {"subnets": [first["Subnet"]]}},
    )
    arn = answer["tasks"][0]["taskArn"]

    def trained() -> Any:
        task = yard.ecs.describe_tasks(cluster=first["Cluster"], tasks=[arn])["tasks"][0]
        return task if task["lastStatus"] == "STOPPED" else None

    assert wait_for(trained, "the trainer")["containers"][0]["exitCode"] == 0
    stack.update(template(name, version="2", count=2))
    second = stack.outputs()
    assert {key for key in first if first[key] != second[key]} == {"Task"}
    assert (service()["runningCount"], service()["taskDefinition"]) == (2, second["Task"])
    old = yard.ecs.describe_task_definition(taskDefinition=first["Task"])["taskDefinition"]
    assert old["status"] == "INACTIVE"
    tags = yard.ecs.list_tags_for_resource(resourceArn=first["ClusterArn"])["tags"]
    assert {"key": "version", "value": "2"} in tags
    with pytest.raises(AssertionError, match="CannotPullContainerError"):
        stack.update(template(name, version="3", count=2, image=f"{yard.image}-none"))
    assert stack.status() == "UPDATE_ROLLBACK_COMPLETE"
    last = service()
    assert (last["runningCount"], len(last["deployments"])) == (2, 1)
    image = yard.ecs.describe_task_definition(taskDefinition=last["taskDefinition"])["taskDefinition"]
    assert image["containerDefinitions"][0]["image"] == yard.image
    stack.delete()
    gone = yard.ecs.describe_clusters(clusters=[first["Cluster"]])["clusters"][0]
    assert (gone["status"], gone["runningTasksCount"]) == ("INACTIVE", 0)
    missing = yard.ecs.describe_capacity_providers(capacityProviders=[first["Provider"]])["failures"]
    assert missing[0]["reason"] == "MISSING"


def test_a_service_that_never_starts_rolls_the_stack_back(yard: Yard, template: Template) -> None:
    name = unique("broken")
    stack = Stack(yard, name)
    with pytest.raises(AssertionError) as caught:
        stack.create(template(name, image=f"{yard.image}-none"))
    assert "CannotPullContainerError" in str(caught.value)
    stack.delete()


def test_what_is_not_served_is_named(yard: Yard) -> None:
    stack = Stack(yard, unique("refused"))
    cluster = {
        "Type": "AWS::ECS::Cluster",
        "Properties": {"DefaultCapacityProviderStrategy": [{"Weight": "1"}]},
    }
    with pytest.raises(AssertionError, match="capacityProvider"):
        stack.create(json.dumps({"Resources": {"Cluster": cluster}}))
    stack.delete()
