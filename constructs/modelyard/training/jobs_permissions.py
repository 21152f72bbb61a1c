"""What the function behind the state machine of training jobs may do on a cluster."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from modelyard.arns import arn_in_stack
from modelyard.permissions import allow
from modelyard.training.hosts import allow_look
from modelyard.training.jobs_props import TrainerTask
from modelyard.training.runtime.aws_names import HOST_TAG


def grant_attempts(
    scope: Construct, role: iam.Role, task: TrainerTask, *, machine: str, cluster_name: str, cluster_arn: str
) -> None:
    """Allow starting trainers in a cluster, looking at its tasks, stopping them, and asking after executions.

    Args:
        scope: In the stack of all of them.
        role: Who may.
        task: What is started.
        machine: Name of the state machine.
        cluster_name, cluster_arn: Of the cluster.
    """
    allow(
        role,
        actions=["states:DescribeExecution"],
        resources=[arn_in_stack(scope, "states", f"execution:{machine}:*")],
        reason="Executions are named after jobs, at run time; the grant ends at this machine.",
    )
    here = {"ArnEquals": {"ecs:cluster": cluster_arn}}
    allow(role, actions=["ecs:RunTask"], resources=[task.task_definition_arn], conditions=here)
    allow(
        role,
        actions=["iam:PassRole"],
        resources=list(task.role_arns),
        conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    )
    allow(
        role,
        actions=["ecs:StopTask", "ecs:DescribeTasks"],
        resources=[arn_in_stack(scope, "ecs", f"task/{cluster_name}/*")],
        reason="Tasks are named by ECS at run time; the grant ends at this cluster.",
    )
    allow(role, actions=["ecs:ListContainerInstances"], resources=[cluster_arn])
    allow(
        role,
        actions=["ecs:ListTasks"],
        resources=["*"],
        conditions=here,
        reason="ecs:ListTasks takes container instances only; the condition names the cluster.",
    )


def grant_eviction(scope: Construct, role: iam.Role, *, cluster_name: str, cluster_arn: str) -> None:
    """Allow ending hosts of a cluster, by their tag, seeing which have ended, and having ECS forget them.

    See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
    """
    allow(
        role,
        actions=["ecs:DescribeContainerInstances"],
        resources=[arn_in_stack(scope, "ecs", f"container-instance/{cluster_name}/*")],
        reason="Hosts are named when they register; the grant ends at those of this cluster.",
    )
    allow(role, actions=["ecs:DeregisterContainerInstance"], resources=[cluster_arn])
    allow(
        role,
        actions=["ec2:TerminateInstances"],
        resources=[arn_in_stack(scope, "ec2", "instance/*")],
        conditions={"StringEquals": {f"aws:ResourceTag/{HOST_TAG}": cluster_name}},
        reason="Instances are named when they start; the condition names the cluster's.",
    )
    allow_look(role)
