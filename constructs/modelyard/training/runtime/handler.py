"""Entry point of the function behind the state machine, the schedule and Spot's warnings."""

from __future__ import annotations

import os
import random
import time
from functools import cache
from typing import Any

import boto3

from modelyard.runtime.log import log

from .attempt import Step, from_document
from .aws_executions import StepFunctions
from .aws_hosts import EcsHosts
from .aws_instances import DriverHosts, EitherHosts
from .aws_metrics import Log
from .aws_names import SPOT_WARNING, SWEEP
from .aws_registry import SageMakerRegistry
from .aws_table import DynamoCapacity, DynamoJobs
from .ports import Hosts, Ports
from .settings import Settings
from .steps import perform
from .sweeping import sweep

SETTINGS = Settings.from_environment(os.environ)
_DYNAMODB = boto3.client("dynamodb")
_STEPS = boto3.client("stepfunctions")


@cache
def _ec2() -> Any:
    """It takes long to make, and is asked for only when there are hosts to end."""
    return boto3.client("ec2")


def _hosts() -> Hosts:
    cluster = EcsHosts(boto3.client("ecs"), SETTINGS, _ec2)
    if not SETTINGS.driver_arn:
        return cluster
    return EitherHosts(cluster, DriverHosts(_STEPS, _ec2, SETTINGS.driver_arn))


PORTS = Ports(
    jobs=DynamoJobs(_DYNAMODB, SETTINGS.table_name),
    capacity=DynamoCapacity(_DYNAMODB, SETTINGS.table_name, SETTINGS.slots),
    hosts=_hosts(),
    executions=StepFunctions(_STEPS, SETTINGS.state_machine_arn),
    listener=Log(SETTINGS),
    clock=time.time,
    chance=random.random,
    # A client of SageMaker takes longest to make.
    registry=SageMakerRegistry(boto3.client("sagemaker")) if SETTINGS.model_groups else None,
)


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Does a step of an attempt (`{"step": "admit", "at": ...}`), drains an instance, or sweeps."""
    del context
    if "step" in event:
        step, at = Step(event["step"]), from_document(event["at"])
        after = perform(step, at, PORTS, SETTINGS)
        log(step.value, attempt=at.id, next=after.next.value, cause=after.cause, tasks=len(after.tasks))
        return after.to_document()
    if event.get("detail-type") == SPOT_WARNING:
        instance = str(event["detail"]["instance-id"])
        stopped = PORTS.hosts.drain(instance, "Spot takes the instance back")
        log("spot warning", instance=instance, stopped=stopped)
        return {"stopped": stopped}
    if event.get(SWEEP):
        done = sweep(PORTS, SETTINGS)
        if done:
            log("sweep", done=done)
        return {"done": done}
    raise ValueError(f"an event with the members {', '.join(sorted(event))} is none of this function's")
