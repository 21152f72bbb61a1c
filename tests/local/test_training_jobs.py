"""The queue of training jobs on the local cloud: its functions, state machine, table and roles, with IAM.

Hosts are processes that train nothing and end as torchrun does, with 1 after a SIGTERM; what a trainer would
say, the test says through `JobRecord`, with the permissions that the construct gives to trainers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from localcloud.context import Cloud, Credentials
from modelyard_cli.main import app
from tests.local.jobs_support import ACCOUNT, TRAINER, Place, synthesize
from tests.local.support import Role, fault, unique, until
from tests.local.workloads.ecs_yard import Yard, wait_for
from tests.local.workloads.test_ecs_capacity import Pool
from training.vision.job_record import OutdatedError, Saved


@pytest.fixture(scope="module")
def place(
    cloud: Cloud, admin: Credentials, role: Role, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    name, folder = f"modelyard-{unique('jobs')}-training", tmp_path_factory.mktemp("jobs")
    yard = Yard(cloud, admin, role, tmp_path_factory.mktemp("image"))
    definition = yard.definition(yard.container(TRAINER, name="trainer"))
    template = synthesize(folder, name, yard, definition)
    s3, formation = cloud.client("s3", admin), cloud.client("cloudformation", admin)
    bucket = f"cdk-hnb659fds-assets-{ACCOUNT}-{cloud.region}"
    if bucket not in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=bucket)
    for asset in folder.glob("asset.*.zip"):
        s3.put_object(Bucket=bucket, Key=asset.name.removeprefix("asset."), Body=asset.read_bytes())
    formation.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])
    formation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
    )
    outputs = formation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    yield Place(yard, name, definition, {one["OutputKey"]: one["OutputValue"] for one in outputs})
    formation.delete_stack(StackName=name)
    formation.get_waiter("stack_delete_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
    )
    yard.close()


def test_a_job_goes_its_way_and_the_next_one_gets_its_slots(place: Place, audit: Any) -> None:
    place.submit("first", 3, settings={"epochs": 2}, budget_usd=5)
    place.until("first", "running")
    # Again, and beside it one that does not fit.
    place.submit("first", 3, settings={"epochs": 2}, budget_usd=5)
    place.submit("second", 2)
    place.until("second", "waiting")
    record = place.record("first", 1)
    record.progress(40, Saved(step=30, key="first/checkpoints/30"))
    until(lambda: place.job("first")["step"] == 40, lambda: place.job("first"))
    assert place.job("first")["checkpoint"] == {"step": 30, "key": "first/checkpoints/30"}
    assert place.held() == {"first/1": 3}
    assert len(place.tasks("first/1")) == 3
    # It hands over to the next one after eight steps.
    until(lambda: "first_1_2" in place.executions(), place.executions)
    record.finished(60, Saved(step=60, key="first/checkpoints/60"))
    record.finished(60, Saved(step=60, key="first/checkpoints/60"))
    with pytest.raises(OutdatedError, match="attempt 1 of job first is over"):
        record.progress(61)
    job = place.until("first", "completed")
    assert (job["attempt"], job["step"], job["checkpoint"]["step"]) == (1, 60, 60)
    assert place.tasks("first/1") == []
    place.until("second", "running")
    place.record("second", 1).finished(5)
    place.until("second", "completed")
    # Handed over every eight steps, and never begun twice.
    found = place.ended("first_") | place.ended("second_")
    assert set(found.values()) == {"SUCCEEDED"}
    assert {"first_1", "first_1_2", "second_1"} <= found.keys()
    assert place.held() == {}
    assert place.job("first")["attempt"] == place.job("second")["attempt"] == 1
    mine = [one for one in audit() if f":assumed-role/{place.name}" in one["principal"]]
    used = {one["action"] for one in mine}
    assert {"dynamodb:PutItem", "states:StartExecution", "dynamodb:UpdateItem", "ecs:RunTask"} <= used
    assert [one for one in mine if one["decision"] != "Allow"] == []


def test_the_models_of_a_job_wait_in_the_registry_for_their_approval(place: Place, audit: Any) -> None:
    """By the function; the trainer, whose role may not, only says where they are."""
    group = f"{place.name}-dogs"
    place.submit("registered", 1, model_group=group)
    place.until("registered", "running")
    models = [
        {"name": "last", "archive": "last/model.tar.gz", "metrics": "last/evaluation.json", "figures": {}},
        {
            "name": "best",
            "archive": "model.tar.gz",
            "metrics": "evaluation.json",
            "figures": {"top1": "0.9700", "measured_on": "120 images of test"},
        },
    ]
    place.record("registered", 1).finished(60, models=models)
    place.until("registered", "completed")
    until(lambda: len(place.job("registered")["models"]) == 2, lambda: place.job("registered"))
    assert set(place.ended("registered_").values()) == {"SUCCEEDED"}
    listed = place.client("sagemaker").list_model_packages(ModelPackageGroupName=group)
    arns = [one["ModelPackageArn"] for one in listed["ModelPackageSummaryList"]]
    assert sorted(arns) == sorted(place.job("registered")["models"])
    newest = place.job("registered")["models"][1]
    best = place.client("sagemaker").describe_model_package(ModelPackageName=newest)
    assert (best["ModelPackageVersion"], best["ModelApprovalStatus"]) == (2, "PendingManualApproval")
    (container,) = best["InferenceSpecification"]["Containers"]
    assert container["ModelDataUrl"] == "s3://bucket/training/registered/output/model.tar.gz"
    assert best["CustomerMetadataProperties"]["top1"] == "0.9700"
    place.submit("elsewhere", 1, model_group="cats")
    assert place.refused()[1] == f"model_group is cats; this cluster registers models in: {group}"
    used = [one for one in audit() if one["action"] == "sagemaker:CreateModelPackage" and group in str(one)]
    assert {one["decision"] for one in used} == {"Allow"}


def test_what_is_no_request_is_put_aside_with_its_reason(place: Place) -> None:
    place.client("sqs").send_message(QueueUrl=place.queue, MessageBody='{"job": "dogs-1"}')
    assert place.refused() == ('{"job": "dogs-1"}', "the message has no data")
    place.send(cancel="nobody")
    assert place.refused()[1] == "there is no job nobody"
    place.submit("large", 5)
    assert place.refused()[1] == "hosts is 5; this cluster has 4"


def test_cancel_and_resume(place: Place) -> None:
    place.submit("stopped", 2)
    place.until("stopped", "running")
    place.send(cancel="stopped")
    place.until("stopped", "cancelled")
    assert place.tasks("stopped/1") == []
    place.ended("stopped_")
    assert place.held() == {}
    place.send(resume="stopped")
    assert place.until("stopped", "running")["attempt"] == 2
    place.record("stopped", 2).finished(9)
    late = place.record("stopped", 1)
    with pytest.raises(OutdatedError):
        late.progress(7)
    place.until("stopped", "completed")


def test_a_host_that_is_lost_is_asked_for_again_and_a_failure_is_tried_again(place: Place) -> None:
    place.submit("lossy", 2, elastic=False)
    place.until("lossy", "running")
    # Chance may make the pause nothing: it lasts until the next attempt can be started.
    pausing = {"service": "states", "operation": "StartExecution"}
    with fault(place.cloud, **pausing):
        place.client("ecs").stop_task(cluster=place.cluster, task=place.tasks("lossy/1")[0], reason="Spot")
        job = place.until("lossy", "backing-off")
    assert job["reason"].startswith("interrupted: again with 2 hosts")
    job = place.until("lossy", "running")
    assert job["attempt"] == 2
    with fault(place.cloud, **pausing):
        place.record("lossy", 2).failed(3, "the loss is no number\nat step 3")
        job = place.until("lossy", "backing-off")
    assert "the loss is no number at step 3" in job["reason"]
    place.send(cancel="lossy")
    place.until("lossy", "cancelled")


@pytest.fixture(scope="module")
def mistaken(place: Place) -> dict[str, Any]:
    """A job that its trainer refused."""
    place.submit("mistaken", 1, settings={"epoch": 3})
    place.until("mistaken", "running")
    place.record("mistaken", 1).failed(None, "unknown hyperparameter epoch", refused=True)
    return place.until("mistaken", "failed")


def test_what_the_trainer_refuses_is_tried_once(mistaken: dict[str, Any]) -> None:
    told = (mistaken["attempt"], mistaken["reason"])
    assert told == (1, "the trainer refuses it: unknown hyperparameter epoch")


def test_a_spot_warning_stops_the_tasks_on_that_instance(place: Place) -> None:
    pool = Pool(place.yard, scaled=False)
    pool.size(2)
    wait_for(lambda: len(pool.instances()) == 2, "two instances")
    tasks = place.yard.run(
        place.definition,
        count=2,
        capacityProviderStrategy=pool.strategy,
        placementConstraints=[{"type": "distinctInstance"}],
    )
    mine, other = (place.yard.reached(arn, "RUNNING") for arn in tasks)
    # From then on it takes a SIGTERM as torchrun does.
    until(lambda: "ready" in place.yard.log(mine["taskArn"], "trainer"))
    instances = {one["containerInstanceArn"]: one["ec2InstanceId"] for one in pool.instances()}

    def warn(instance: str) -> dict[str, Any]:
        warning = {"instance-id": instance, "instance-action": "terminate"}
        return place.call({"detail-type": "EC2 Spot Instance Interruption Warning", "detail": warning})

    assert warn("i-0123456789abcdef0") == {"stopped": 0}
    assert warn(instances[mine["containerInstanceArn"]]) == {"stopped": 1}
    stopped = place.yard.reached(mine["taskArn"], "STOPPED")
    assert stopped["stoppedReason"] == "Spot takes the instance back"
    assert stopped["containers"][0]["exitCode"] == 1
    assert place.yard.task(other["taskArn"])["lastStatus"] == "RUNNING"
    pool.close()


def test_an_execution_that_is_aborted_leaves_nothing_behind(place: Place) -> None:
    place.submit("aborted", 4)
    place.until("aborted", "running")

    def swept() -> bool:
        for name, status in place.executions().items():
            # Those of other jobs may still give back what they held.
            if status == "RUNNING" and name.startswith("aborted_"):
                arn = f"arn:aws:states:{place.cloud.region}:{ACCOUNT}:execution:{place.name}:{name}"
                place.client("stepfunctions").stop_execution(executionArn=arn)
        place.call({"sweep": True})
        return bool(place.job("aborted")["state"] != "running")

    until(swept, lambda: place.job("aborted"))
    assert place.job("aborted")["reason"] == "cancelled"
    assert place.tasks("aborted/1") == []
    # The schedule sweeps, too: it may have written the one, and not yet the other.
    until(lambda: place.held() == {}, place.held)


@pytest.fixture
def train(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`modelyard train` in the environment of the deployed stack."""
    for name, value in place.cloud.environment(place.admin).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELYARD_ENV", place.name.removeprefix("modelyard-").removesuffix("-training"))

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["train", *arguments, "--json"], catch_exceptions=False)
        return json.loads(result.stdout)

    return run


def test_the_command_line(place: Place, train: Callable[..., Any]) -> None:
    data = ("--data", "s3://bucket/manifest.json")
    asked = train("submit", "typed", *data, "--hosts", "2", "-s", "epochs=3", "--detach")
    assert (asked["job"], asked["request"]["settings"]) == ("typed", {"epochs": 3})
    place.until("typed", "running")
    assert train("cancel", "typed")["state"] in ("cancelling", "cancelled")
    assert train("watch", "typed")["state"] == "cancelled"
    # It says so when it sees that the job goes on, which may be late.
    assert train("resume", "typed")["state"] in ("queued", "waiting", "starting", "running")
    place.until("typed", "running")
    place.record("typed", 2).finished(9)
    assert train("watch", "typed")["attempt"] == 2
    listed = {job["job"]: job["state"] for job in train("list", "-n", "50")}
    assert listed["typed"] == "completed"


def test_a_job_that_failed_has_rung_the_alarm(place: Place, mistaken: dict[str, Any]) -> None:
    """Last, since alarms look once a minute."""
    assert mistaken["state"] == "failed"

    def rang() -> bool:
        history = place.client("cloudwatch").describe_alarm_history(
            AlarmName=place.failed, HistoryItemType="StateUpdate"
        )
        return any("to ALARM" in item["HistorySummary"] for item in history["AlarmHistoryItems"])

    until(rang)
