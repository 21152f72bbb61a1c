"""The queue of training jobs: what is deployed, who may do what, and the state machine's ways."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from cdk_nag import AwsSolutionsChecks

from modelyard.training.jobs import TrainingJobs
from modelyard.training.jobs_machine import FUNCTION, definition
from modelyard.training.jobs_props import HostPool, Pace, Registration, TrainerTask
from modelyard.training.runtime.settings import Settings

README = Path(__file__).parents[2] / "constructs" / "modelyard" / "training" / "jobs.md"
ARN = "arn:aws:ecs:eu-west-1:111122223333"
TASK = TrainerTask(
    task_definition_arn=f"{ARN}:task-definition/trainer:7",
    container="trainer",
    role_arns=["arn:aws:iam::111122223333:role/task"],
    output_uri="s3://bucket/training/",
    rendezvous_endpoint="rendezvous.train.local:29400",
)
POOL = HostPool(slots=4, subnets=["subnet-1"], security_groups=["sg-1"], capacity_providers=["spot"])


def add(stack: Any, **options: Any) -> TrainingJobs:
    cluster = ecs.Cluster.from_cluster_arn(stack, "Cluster", f"{ARN}:cluster/training")
    return TrainingJobs(stack, "Jobs", name="training", cluster=cluster, task=TASK, pool=POOL, **options)


@pytest.fixture(scope="module")
def resources() -> dict[str, dict[str, Any]]:
    app = cdk.App(builtin_cloud_formation_validation=False)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    stack = cdk.Stack(app, "Test")
    jobs = add(stack)
    trainer = iam.Role(stack, "Task", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
    jobs.records.grant_report(trainer)
    person = iam.Role(stack, "Person", assumed_by=iam.AccountRootPrincipal())
    jobs.grant_submit(person)
    # cdk-nag raises on what is not acknowledged.
    found: dict[str, dict[str, Any]] = app.synth().get_stack_by_name("Test").template["Resources"]
    return found


def of_type(resources: dict[str, dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {name: one["Properties"] for name, one in resources.items() if one["Type"] == kind}


def actions(resources: dict[str, dict[str, Any]], role: str) -> dict[str, dict[str, Any]]:
    """By action: the statement of a role that allows it."""
    found = {}
    for properties in of_type(resources, "AWS::IAM::Policy").values():
        if any(one["Ref"].startswith(role) for one in properties["Roles"]):
            for statement in properties["PolicyDocument"]["Statement"]:
                named = statement["Action"]
                found |= dict.fromkeys([named] if isinstance(named, str) else named, statement)
    return found


def test_who_may_do_what(resources: dict[str, dict[str, Any]]) -> None:
    intake, attempts = actions(resources, "JobsIntakeRole"), actions(resources, "JobsAttemptsRole")
    common = {
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "kms:Decrypt",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "states:StartExecution",
    }
    queue = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"}
    assert intake.keys() == common | queue
    hosts = {
        "ecs:RunTask",
        "ecs:StopTask",
        "ecs:DescribeTasks",
        "ecs:ListTasks",
        "ecs:ListContainerInstances",
    }
    taken_away = {
        "ecs:DescribeContainerInstances",
        "ecs:DeregisterContainerInstance",
        "ec2:DescribeInstances",
        "ec2:TerminateInstances",
    }
    others = {"iam:PassRole", "states:DescribeExecution", "dynamodb:Query"}
    assert attempts.keys() == common | hosts | taken_away | others
    assert attempts["ecs:DeregisterContainerInstance"]["Resource"] == f"{ARN}:cluster/training"
    assert attempts["ec2:TerminateInstances"]["Condition"] == {
        "StringEquals": {"aws:ResourceTag/modelyard:cluster": "training"}
    }
    assert attempts["iam:PassRole"]["Resource"] == TASK.role_arns[0]
    assert "iam:PassedToService" in json.dumps(attempts["iam:PassRole"]["Condition"])
    for action in ("ecs:RunTask", "ecs:ListTasks"):
        assert attempts[action]["Condition"] == {"ArnEquals": {"ecs:cluster": f"{ARN}:cluster/training"}}
    assert actions(resources, "JobsMachineRole").keys() == {"lambda:InvokeFunction"}


def test_a_trainer_writes_reports_and_a_person_messages(resources: dict[str, dict[str, Any]]) -> None:
    trainer = actions(resources, "Task")
    assert trainer.keys() == {"dynamodb:GetItem", "dynamodb:UpdateItem", "kms:Decrypt"}
    keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["report/*"]}}
    assert trainer["dynamodb:UpdateItem"]["Condition"] == keys
    person = actions(resources, "Person")
    assert person.keys() == {"sqs:SendMessage", "dynamodb:GetItem", "dynamodb:Query", "kms:Decrypt"}


def test_models_are_registered_by_the_function_and_never_as_approved(stack: Any) -> None:
    from modelyard.images import ContainerImage
    from modelyard.registry import ModelRegistry

    registry = ModelRegistry(stack, "Dogs", group_name="dogs")
    image = ContainerImage(uri="registry/serving:1", repository_arn="arn:aws:ecr:eu-west-1:111122223333:x")
    add(stack, registration=Registration(registries=[registry], image=image))
    resources = stack.node.root.synth().get_stack_by_name("Test").template["Resources"]
    attempts, intake = actions(resources, "JobsAttemptsRole"), actions(resources, "JobsIntakeRole")
    assert "sagemaker:CreateModelPackage" not in intake
    allowed = attempts["sagemaker:CreateModelPackage"]
    assert len(allowed["Resource"]) == 2
    assert "dogs" in json.dumps(allowed["Resource"])
    approved = {"StringNotEquals": {"sagemaker:ModelApprovalStatus": "Approved"}}
    assert allowed["Condition"] == approved
    told = of_type(resources, "AWS::Lambda::Function").values()
    assert all("registry/serving:1" in json.dumps(one["Environment"]) for one in told)


def test_messages_that_fail_are_put_aside_after_some_deliveries(resources: dict[str, dict[str, Any]]) -> None:
    queues = of_type(resources, "AWS::SQS::Queue")
    (fed,) = (one for one in queues.values() if "RedrivePolicy" in one)
    assert fed["RedrivePolicy"]["maxReceiveCount"] == 5
    functions = of_type(resources, "AWS::Lambda::Function")
    assert {one["Handler"] for one in functions.values()} == {
        "modelyard.training.runtime.handler.handle",
        "modelyard.training.runtime.intake_handler.handle",
    }
    assert fed["VisibilityTimeout"] == 6 * max(one["Timeout"] for one in functions.values())
    (source,) = of_type(resources, "AWS::Lambda::EventSourceMapping").values()
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_every_error_ends_the_hosts_and_every_state_is_reached() -> None:
    states = definition()["States"]
    calls = {name: state for name, state in states.items() if state["Type"] == "Task"}
    assert {state["Parameters"]["step"] for state in calls.values()} == {
        "admit",
        "launch",
        "watch",
        "stop",
        "finish",
        "register",
    }
    for name, state in calls.items():
        assert state["Resource"] == FUNCTION
        (caught,) = state["Catch"]
        assert caught["ErrorEquals"] == ["States.ALL"]
        ends = {"Stop": "NotStopped", "Finish": "NotFinished", "Register": "NotRegistered"}
        assert caught["Next"] == ends.get(name, "Stop")
    reached, todo = set(), ["Begin"]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += re.findall(r'"(?:Next|Default)": "(\w+)"', json.dumps(states[name]))
    assert reached == states.keys()


def test_settings_reach_the_functions(stack: Any) -> None:
    pace = Pace(watch_seconds=3, start_seconds=60, most_rounds=9)
    add(stack, pace=pace)
    template = stack.node.root.synth().get_stack_by_name("Test").template["Resources"]
    first, second = (
        one["Environment"]["Variables"] for one in of_type(template, "AWS::Lambda::Function").values()
    )
    assert first == second
    text = first["SETTINGS"]["Fn::Join"][1]
    settings = Settings.from_environment(
        {"SETTINGS": "".join(part if isinstance(part, str) else "x" for part in text)}
    )
    assert (settings.watch_seconds, settings.start_seconds, settings.most_rounds) == (3, 60, 9)
    assert (settings.slots, settings.capacity_providers, settings.container) == (4, ("spot",), "trainer")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HostPool(slots=0, subnets=["a"], security_groups=["b"], capacity_providers=["c"]), "slots"),
        (lambda: HostPool(slots=1, subnets=[], security_groups=["b"], capacity_providers=["c"]), "subnets"),
        (
            lambda: HostPool(
                slots=1, subnets=["a"], security_groups=["b"], capacity_providers=["c"], price_usd=-1
            ),
            "price_usd",
        ),
        (
            lambda: HostPool(
                slots=1, subnets=["a"], security_groups=["b"], capacity_providers=["c"], zones=[0, 1]
            ),
            "zones",
        ),
        (lambda: Registration(registries=[], image=None), "registries"),
        (
            lambda: TrainerTask(
                task_definition_arn="a",
                container="b",
                role_arns=[],
                output_uri="s3://b/",
                rendezvous_endpoint="r:1",
            ),
            "role_arns",
        ),
    ],
)
def test_impossible_props_are_refused_by_name(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_impossible_paces_are_refused_at_synth(stack: Any) -> None:
    with pytest.raises(ValueError, match="ask_seconds is 300"):
        add(stack, pace=Pace(ask_seconds=300))


def test_alarms_tell_a_topic(stack: Any) -> None:
    from aws_cdk import aws_sns as sns

    jobs = add(stack, alarm_topic=sns.Topic(stack, "Topic"))
    template = stack.node.root.synth().get_stack_by_name("Test").template["Resources"]
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    assert len(alarms) == len(jobs.alarms) == 6
    assert all(alarm["AlarmActions"] and alarm["OKActions"] for alarm in alarms.values())
    assert jobs.metric_broken().metric_name == "ExecutionsFailed"


def _settings() -> Settings:
    return Settings(
        table_name="jobs",
        state_machine_arn="machine",
        dead_letters_url="letters",
        cluster=f"{ARN}:cluster/training",
        task_definition=TASK.task_definition_arn,
        container="trainer",
        subnets=("subnet-1",),
        security_groups=("sg-1",),
        capacity_providers=("spot",),
        slots=1,
        output_uri=TASK.output_uri,
        rendezvous_endpoint=TASK.rendezvous_endpoint,
    )


def test_a_job_that_fails_rings_by_what_the_function_says(stack: Any, capsys: Any) -> None:
    from aws_cdk.assertions import Template

    from localcloud.aws.differences.embedded_metrics import parse as embedded
    from modelyard.training.runtime.aws_metrics import Log
    from modelyard.training.runtime.job import State, submit
    from modelyard.training.runtime.job_request import parse

    jobs = add(stack)
    job = submit(parse('{"job": "dogs-1", "data": "s3://bucket/manifest.json"}'), now=1.0)
    settings = _settings()
    for state, metric in ((State.FAILED, jobs.metric_failed()), (State.COMPLETED, jobs.metric_completed())):
        Log(settings).ended(dataclasses.replace(job, state=state))
        (told,) = embedded(capsys.readouterr().out, time.time())
        assert (told.namespace, told.name) == (metric.namespace, metric.metric_name)
        assert told.dimensions == metric.dimensions
    alarms = Template.from_stack(stack).find_resources("AWS::CloudWatch::Alarm").values()
    (alarm,) = (one["Properties"] for one in alarms if one["Properties"]["MetricName"] == "JobsFailed")
    assert (alarm["Threshold"], alarm["Statistic"], alarm["Period"]) == (1, "Sum", 60)
    assert alarm["TreatMissingData"] == "notBreaching"


def test_on_fargate_there_are_no_hosts_to_take_away(stack: Any) -> None:
    pool = dataclasses.replace(POOL, distinct_instances=False, capacity_providers=["FARGATE"])
    cluster = ecs.Cluster.from_cluster_arn(stack, "Cluster", f"{ARN}:cluster/training")
    TrainingJobs(stack, "Jobs", name="training", cluster=cluster, task=TASK, pool=pool)
    resources = stack.node.root.synth().get_stack_by_name("Test").template["Resources"]
    assert not any(action.startswith("ec2:") for action in actions(resources, "JobsAttemptsRole"))


def test_what_may_need_somebody_rings_by_what_the_function_says(stack: Any, capsys: Any) -> None:
    from localcloud.aws.differences.embedded_metrics import parse as embedded
    from modelyard.training.runtime.aws_metrics import Log
    from modelyard.training.runtime.ports import Notice

    pool = dataclasses.replace(POOL, capacity_providers=["spot", "on-demand"], zones=[0, 1])
    cluster = ecs.Cluster.from_cluster_arn(stack, "Cluster", f"{ARN}:cluster/training")
    jobs = TrainingJobs(stack, "Jobs", name="training", cluster=cluster, task=TASK, pool=pool)
    told = {
        Notice.UNPLACED: jobs.metric_unplaced(),
        Notice.STALLED: jobs.metric_stalled(),
        Notice.EVICTED: jobs.metric_evicted(),
        Notice.STUCK: jobs.metric_evicted(),
    }
    template = stack.node.root.synth().get_stack_by_name("Test").template["Resources"]
    alarms = {one["MetricName"]: one for one in of_type(template, "AWS::CloudWatch::Alarm").values()}
    text = json.dumps(
        next(iter(of_type(template, "AWS::Lambda::Function").values()))["Environment"]["Variables"][
            "SETTINGS"
        ]
    )
    assert '\\"stall_seconds\\":1800,\\"silent_seconds\\":300,\\"end_seconds\\":600' in text
    for notice, metric in told.items():
        Log(_settings()).noticed(notice, "dogs-1/1", 2, "why")
        (datum,) = embedded(capsys.readouterr().out, time.time())
        assert (datum.namespace, datum.name) == (metric.namespace, metric.metric_name)
        assert datum.dimensions == metric.dimensions
        # In vain of the one and of the other provider, it is the second attempt.
        wanted = 2 if notice is Notice.UNPLACED else 1
        assert alarms[datum.name]["Threshold"] == wanted
    unplaced = alarms["AttemptsUnplaced"]
    assert (unplaced["Statistic"], unplaced["Period"]) == ("Maximum", 3600)


def test_the_snippet_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK_VALIDATION", "false")
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(snippet, str(README), "exec"), names)
    names["stack"].node.root.synth()
