"""Updates under load, with real servers; metrics, alarms and bakes run sixty times as fast."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import lifecycle
from localcloud.connect import connect
from tests.local.workloads.conftest import until

CLOCK = 60.0
ALARM = "too-many-errors"


@pytest.fixture(scope="module")
def bench(make_workplace: Any, make_deployer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("fast")
    lifecycle.up(root / "state", clock=CLOCK)
    try:
        (root / "context").mkdir()
        made = make_deployer(make_workplace(*connect(root / "state"), root / "context"))
        watch(made, "*")
        yield made
        made.close()
    finally:
        lifecycle.down(root / "state")


def watch(bench: Any, alarm: str) -> None:
    """Let the execution role look at alarms."""
    place = bench.workplace
    arn = f"arn:aws:cloudwatch:{place.cloud.region}:{place.cloud.account}:alarm:{alarm}"
    statement = {"Effect": "Allow", "Action": "cloudwatch:DescribeAlarms", "Resource": arn}
    place.cloud.client("iam", place.admin).put_role_policy(
        RoleName=place.role.rpartition("/")[2],
        PolicyName="watch",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


def deployment(kind: str, wait: int, end: int, **members: Any) -> dict[str, Any]:
    sizes = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
    routing: dict[str, Any] = {"Type": kind, "WaitIntervalInSeconds": wait}
    if kind in sizes:
        routing[sizes[kind]] = {"Type": "CAPACITY_PERCENT", "Value": 50}
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": end,
            **members,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": ALARM}]},
    }


class Load:
    """Requests one after the other on some threads, none sent twice; entering and leaving it.

    `first` and `last`: when an answer came for the first and for the last time.
    """

    def __init__(self, bench: Any, endpoint: str, body: bytes = b"1", threads: int = 3) -> None:
        self.answers: Counter[str] = Counter()
        self.errors: list[ClientError] = []
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self._runtime, self._request = bench.without_retries(), {"EndpointName": endpoint, "Body": body}
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self._done.is_set():
            try:
                answer = self._runtime.invoke_endpoint(**self._request)["Body"].read().decode()
                self.last[answer] = time.monotonic()
                self.first.setdefault(answer, self.last[answer])
                self.answers[answer] += 1
            except ClientError as error:
                self.errors.append(error)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


def only(bench: Any, endpoint: str, answer: str) -> bool:
    """Whether all requests that begin from now on get this answer."""
    with Load(bench, endpoint) as later:
        until(lambda: later.answers.total() + len(later.errors) >= 20)
    return not later.errors and later.answers.keys() == {answer}


def alarm_on(bench: Any, endpoint: str) -> None:
    cloudwatch = bench.workplace.cloud.client("cloudwatch", bench.workplace.admin)
    # An alarm that is put again keeps its state, here that of the test before.
    cloudwatch.delete_alarms(AlarmNames=[ALARM])
    cloudwatch.put_metric_alarm(
        AlarmName=ALARM,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0.05,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
    )


def update(bench: Any, endpoint: str, model: str, config: dict[str, Any], count: int = 1) -> str:
    name: str = bench.config(bench.variant("AllTraffic", model, count))
    bench.workplace.sagemaker.update_endpoint(
        EndpointName=endpoint,
        EndpointConfigName=name,
        DeploymentConfig=config,
        RetainAllVariantProperties=True,
    )
    return name


def statuses(bench: Any, endpoint: str) -> list[str]:
    """What the variants of an update went through, until it ended."""
    seen: list[str] = []
    while True:
        answer = bench.describe(endpoint)
        for variant in answer.get("PendingDeploymentSummary", {}).get("ProductionVariants", []):
            message = variant["VariantStatus"][0]["StatusMessage"]
            if message not in seen:
                seen.append(message)
        if answer["EndpointStatus"] == "InService":
            return seen
        assert answer["EndpointStatus"] != "Failed", answer
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["CANARY", "LINEAR", "ALL_AT_ONCE"])
def test_an_update_shifts_requests_step_by_step_and_loses_none(bench: Any, kind: str) -> None:
    endpoint = bench.up(bench.single("old"), 2)
    alarm_on(bench, endpoint)
    new = bench.single("new", READY_AFTER="1")
    with Load(bench, endpoint) as load:
        config = update(bench, endpoint, new, deployment(kind, 240, 120))
        seen = statuses(bench, endpoint)
        assert only(bench, endpoint, "new:1")
    assert load.errors == []
    if kind != "ALL_AT_ONCE":
        # Half of the fleet for 240 seconds, which are four here.
        canary = (
            "Baking for 240 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 "
        )
        assert any(message.startswith(canary) for message in seen), seen
        assert load.last["old:1"] - load.first["new:1"] > 1
    answer = bench.describe(endpoint)
    assert answer["EndpointConfigName"] == config
    assert "FailureReason" not in answer
    assert "PendingDeploymentSummary" not in answer
    assert answer["ProductionVariants"][0]["CurrentInstanceCount"] == 2  # as scaling had it
    assert answer["LastDeploymentConfig"] == deployment(kind, 240, 120)
    full = "Baking for 120 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 2 "
    assert any(message.startswith(full) for message in seen), seen


def test_an_alarm_brings_the_old_fleet_back(bench: Any) -> None:
    endpoint = bench.up(bench.single("old"))
    alarm_on(bench, endpoint)
    before = bench.describe(endpoint)["EndpointConfigName"]
    with Load(bench, endpoint) as load:
        # It ends slowly, so that whoever asks sees the endpoint roll back.
        update(bench, endpoint, bench.single("broken", ENDS_AFTER="3"), deployment("CANARY", 1800, 1800))
        statuses_seen = {answer["EndpointStatus"] for answer in follow(bench, endpoint)}
        assert only(bench, endpoint, "old:1")
    answer = bench.describe(endpoint)
    assert answer["EndpointConfigName"] == before
    assert f"alarm {ALARM} was in the state ALARM while baking for 1800 seconds" in answer["FailureReason"]
    assert "RollingBack" in statuses_seen
    # The new fleet's own errors reached callers, and nothing else did.
    assert load.errors
    assert {error.response["OriginalMessage"] for error in load.errors} == {"model is broken"}
    assert bench.ask(endpoint, b"2") == "old:2"


def test_a_fleet_that_dies_of_its_requests_is_taken_back(bench: Any) -> None:
    """It answers its pings, so that nothing but errors of callers, and the alarm on them, tells."""
    endpoint = bench.up(bench.single("old"))
    alarm_on(bench, endpoint)
    with Load(bench, endpoint) as load:
        update(bench, endpoint, bench.single("deadly", CRASH="1"), deployment("CANARY", 300, 1800))
        answer = bench.ready(endpoint)
        assert only(bench, endpoint, "old:1")
    assert f"alarm {ALARM} was in the state ALARM" in answer["FailureReason"]
    assert {error.response["Error"]["Code"] for error in load.errors} <= {"ModelError", "ServiceUnavailable"}
    assert set(load.answers) == {"old:1"}
    assert bench.ask(endpoint, b"2") == "old:2"


def follow(bench: Any, endpoint: str) -> list[dict[str, Any]]:
    """Every answer until the endpoint has settled."""
    answers = []
    while True:
        answers.append(bench.describe(endpoint))
        if answers[-1]["EndpointStatus"] == "InService":
            return answers
        assert answers[-1]["EndpointStatus"] != "Failed", answers[-1]
        time.sleep(0.01)


def test_an_update_that_takes_too_long_goes_back(bench: Any) -> None:
    endpoint = bench.up(bench.single("old"))
    alarm_on(bench, endpoint)
    config = deployment("CANARY", 3600, 0, MaximumExecutionTimeoutInSeconds=600)
    began = time.monotonic()
    update(bench, endpoint, bench.single("new"), config)
    answer = bench.ready(endpoint)
    assert 9 <= time.monotonic() - began < 50
    assert "did not complete within 600 seconds" in answer["FailureReason"]
    assert bench.ask(endpoint, b"1") == "old:1"


def test_alarms_that_cannot_be_watched_let_no_request_through(bench: Any) -> None:
    endpoint = bench.up(bench.single("old"))
    alarm_on(bench, endpoint)
    watch(bench, "another")
    try:
        update(bench, endpoint, bench.single("new"), deployment("ALL_AT_ONCE", 0, 0))
        answer = bench.ready(endpoint)
    finally:
        watch(bench, "*")
    assert "not authorized to perform: cloudwatch:DescribeAlarms" in answer["FailureReason"]
    config = deployment("ALL_AT_ONCE", 0, 60)
    config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": "nowhere"}]}
    update(bench, endpoint, bench.single("new"), config)
    assert "There is no alarm nowhere" in bench.ready(endpoint)["FailureReason"]
    assert bench.ask(endpoint, b"1") == "old:1"


def test_metrics_tell_the_fleets_of_an_update_apart(bench: Any) -> None:
    endpoint = bench.up(bench.single("old"))
    alarm_on(bench, endpoint)
    with Load(bench, endpoint, threads=1):
        config = update(bench, endpoint, bench.single("new"), deployment("CANARY", 180, 60))
        bench.ready(endpoint)
    cloudwatch = bench.workplace.cloud.client("cloudwatch", bench.workplace.admin)
    wanted = {"EndpointName": endpoint, "VariantName": "AllTraffic", "EndpointConfigName": config}

    def listed() -> bool:
        found = cloudwatch.list_metrics(Namespace="AWS/SageMaker", MetricName="ModelLatency")["Metrics"]
        return wanted in [{one["Name"]: one["Value"] for one in metric["Dimensions"]} for metric in found]

    until(listed)


def test_refusals(bench: Any) -> None:
    endpoint = bench.up(bench.single("old"))
    other = bench.config(bench.variant("Other", bench.single("new")))

    def refused(**members: Any) -> str:
        error = bench.failure(
            lambda: bench.workplace.sagemaker.update_endpoint(EndpointName=endpoint, **members)
        )
        return str(error["Error"]["Message"])

    config = deployment("CANARY", 60, 60)
    assert "AllTraffic would become Other" in refused(EndpointConfigName=other, DeploymentConfig=config)
    del config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["CanarySize"]
    same = bench.config(bench.variant("AllTraffic", bench.single("new")))
    assert "needs CanarySize" in refused(EndpointConfigName=same, DeploymentConfig=config)


def test_a_stack_tells_why_its_update_went_back(bench: Any) -> None:
    place = bench.workplace
    client = place.cloud.client("cloudformation", place.admin)

    def template(model: str) -> str:
        variant = {**bench.variant("AllTraffic", model), "InitialVariantWeight": 1}
        properties = {
            "EndpointName": "stacked",
            "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
            "RetainAllVariantProperties": True,
            "DeploymentConfig": deployment("CANARY", 1800, 1800),
        }
        return json.dumps(
            {
                "Resources": {
                    "Config": {
                        "Type": "AWS::SageMaker::EndpointConfig",
                        "Properties": {"ProductionVariants": [variant]},
                    },
                    "Endpoint": {"Type": "AWS::SageMaker::Endpoint", "Properties": properties},
                }
            }
        )

    alarm_on(bench, "stacked")
    client.create_stack(StackName="served", TemplateBody=template(bench.single("old")))
    client.get_waiter("stack_create_complete").wait(
        StackName="served", WaiterConfig={"Delay": 1, "MaxAttempts": 300}
    )
    try:
        with Load(bench, "stacked"):
            client.update_stack(StackName="served", TemplateBody=template(bench.single("broken")))
            status = until(lambda: settled(client), 300)
        assert status == "UPDATE_ROLLBACK_COMPLETE"
        events = client.describe_stack_events(StackName="served")["StackEvents"]
        reasons = [event.get("ResourceStatusReason", "") for event in events]
        assert any(f"The alarm {ALARM} was in the state ALARM" in reason for reason in reasons), reasons
        assert bench.ask("stacked", b"1") == "old:1"
    finally:
        client.delete_stack(StackName="served")
        client.get_waiter("stack_delete_complete").wait(
            StackName="served", WaiterConfig={"Delay": 1, "MaxAttempts": 300}
        )


def settled(client: Any) -> str:
    status: str = client.describe_stacks(StackName="served")["Stacks"][0]["StackStatus"]
    return "" if status.endswith("_IN_PROGRESS") else status


def test_scaling_out_and_in_under_load_loses_no_request(bench: Any) -> None:
    """New instances answer their pings late and fail before; leaving ones are in the middle of requests."""
    model = bench.single("steady", READY_AFTER="1")
    endpoint = bench.up(model)
    sagemaker = bench.workplace.sagemaker

    def scale(count: int) -> None:
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=endpoint,
            DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": count}],
        )
        answer = bench.ready(endpoint)
        assert answer["ProductionVariants"][0]["CurrentInstanceCount"] == count

    with Load(bench, endpoint) as quick, Load(bench, endpoint, b"sleep0.5", threads=4) as slow:
        for count in (3, 1, 2, 1):
            scale(count)
    assert quick.errors == slow.errors == []
    assert set(quick.answers) == {"steady:1"}
    assert set(slow.answers) == {"steady:sleep0.5"}
    assert slow.answers["steady:sleep0.5"] >= 8
