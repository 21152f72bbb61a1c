"""`cdk destroy` leaves nothing of a stage whose data may go."""

from __future__ import annotations

from tests.local.support import until
from tests.local.training.stage import ENVIRONMENT, Stage


def test_nothing_is_left(stage: Stage) -> None:
    stage.cdk("destroy", "Training", "Data", "--force")
    stacks = stage.client("cloudformation").describe_stacks()["Stacks"]
    assert [stack["StackName"] for stack in stacks] == ["CDKToolkit"]
    assert stage.client("dynamodb").list_tables()["TableNames"] == []
    assert (
        "QueueUrls" not in stage.client("sqs").list_queues()
        or not stage.client("sqs").list_queues()["QueueUrls"]
    )
    assert stage.client("stepfunctions").list_state_machines()["stateMachines"] == []
    assert stage.client("ecs").list_clusters()["clusterArns"] == []
    assert stage.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert stage.client("servicediscovery").list_namespaces()["Namespaces"] == []
    assert stage.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert stage.client("cloudwatch").list_dashboards()["DashboardEntries"] == []
    buckets = [bucket["Name"] for bucket in stage.client("s3").list_buckets()["Buckets"]]
    assert not [name for name in buckets if name.startswith(f"modelyard-{ENVIRONMENT}")]
    groups = stage.client("ec2").describe_security_groups()["SecurityGroups"]
    assert [group["GroupName"] for group in groups] == ["default"]
    assert stage.client("ec2").describe_flow_logs()["FlowLogs"] == []
    roles = [role["RoleName"] for role in stage.client("iam").list_roles()["Roles"]]
    until(lambda: True)
    assert not [name for name in roles if name.startswith(f"modelyard-{ENVIRONMENT}")]
