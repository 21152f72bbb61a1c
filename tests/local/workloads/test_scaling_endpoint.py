"""Target tracking of a real endpoint, on a cloud of its own whose time of scaling is sixty times as fast."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from localcloud import lifecycle
from localcloud.autoscaling.rules.tracking import Bounds, Policy
from localcloud.connect import connect
from modelyard_cli.simulate.plan import Machine, Plan
from modelyard_cli.simulate.simulation import simulate
from modelyard_cli.simulate.trace import Trace
from tests.local.workloads.conftest import audited

CLOCK = 60.0
# Low enough for a machine that answers but three requests a second.
TARGET, MOST = 1.0, 3
POLICY = Policy(name="track", target=TARGET, out_cooldown=60, in_cooldown=60)


@pytest.fixture(scope="module")
def place(make_workplace: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("fast")
    lifecycle.up(root / "state", clock=CLOCK)
    try:
        cloud, admin = connect(root / "state")
        assert cloud.clock == CLOCK
        assert lifecycle.status(root / "state")["clock"] == CLOCK
        (root / "context").mkdir()
        yield make_workplace(cloud, admin, root / "context")
    finally:
        lifecycle.down(root / "state")


@pytest.fixture(scope="module")
def endpoint(place: Any) -> str:
    sagemaker = place.sagemaker
    sagemaker.create_model(
        ModelName="m", ExecutionRoleArn=place.role, PrimaryContainer={"Image": place.image}
    )
    variant = {
        "VariantName": "v",
        "ModelName": "m",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="scaled", EndpointConfigName="c")
    wait(lambda: sagemaker.describe_endpoint(EndpointName="scaled")["EndpointStatus"] == "InService", 180)
    return "scaled"


def wait(until: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.2)


class Load:
    """Requests at a steady rate, none sent twice; `rate` may be changed.

    Several threads share the rate, which holds where answers are slow, too.
    """

    def __init__(self, runtime: Any, endpoint: str, threads: int = 4) -> None:
        self.rate = 0.0
        self.errors: list[ClientError] = []
        self._runtime, self._endpoint = runtime, endpoint
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        due = None
        while not self._done.is_set():
            whole = self.rate
            if not whole:
                self._done.wait(0.05)
                due = None
                continue
            if due is None:  # one after the other, not all at once
                self._done.wait(number / whole)
                due = time.monotonic()
            try:
                self._runtime.invoke_endpoint(EndpointName=self._endpoint, Body=b"1")
            except ClientError as error:
                self.errors.append(error)
            due = max(due + len(self._threads) / whole, time.monotonic() - 0.5)
            self._done.wait(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


def servers(place: Any, endpoint: str) -> list[psutil.Process]:
    """Of this cloud: other clouds of the machine may have an endpoint of the same name."""
    found, root = [], str(place.cloud.folder.root)
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get("ENDPOINT_NAME") == endpoint and environment.get(
                "MODELYARD_CONTAINER", ""
            ).startswith(root):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_out_and_in_as_the_simulator_says(
    place: Any, endpoint: str, make_deployer: Any, request: pytest.FixtureRequest
) -> None:
    cloud, admin = place.cloud, place.admin
    scaling, cloudwatch = cloud.client("application-autoscaling", admin), cloud.client("cloudwatch", admin)
    identity = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/v",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**identity, MinCapacity=1, MaxCapacity=MOST)
    configuration = {
        "TargetValue": TARGET,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        "ScaleOutCooldown": int(POLICY.out_cooldown),
        "ScaleInCooldown": int(POLICY.in_cooldown),
    }
    put = scaling.put_scaling_policy(
        **identity,
        PolicyName="track",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=configuration,
    )
    began = time.time()

    def instances() -> int:
        variant = place.sagemaker.describe_endpoint(EndpointName=endpoint)["ProductionVariants"][0]
        return int(variant["CurrentInstanceCount"])

    runtime = make_deployer(place).without_retries()
    load = Load(runtime, endpoint)
    request.addfinalizer(load.stop)
    load.rate = 7.0
    wait(lambda: instances() == MOST, 180)
    time.sleep(3)
    assert instances() == MOST
    before = servers(place, endpoint)
    assert before
    load.rate = 0.0
    # Requests that take longer than the decision to scale in, one at least on each instance; never two in a
    # second, which is a minute here: three that end in one are as much as the target, and none goes.
    answers: list[bytes] = []
    threads: list[threading.Thread] = []

    def long() -> None:
        answers.append(runtime.invoke_endpoint(EndpointName=endpoint, Body=b"sleep4")["Body"].read())

    def scaled_in() -> bool:
        if instances() < MOST:
            return True
        threads.append(threading.Thread(target=long))
        threads[-1].start()
        time.sleep(1.2)
        return False

    wait(scaled_in, 240)
    wait(lambda: instances() == 1, 240)
    for thread in threads:
        thread.join()
    load.stop()
    ended = time.time()

    assert load.errors == []
    assert answers
    assert set(answers) == {b"none:sleep4"}
    wait(lambda: sum(process.is_running() for process in before) * MOST == len(before), 60)

    def activities() -> list[dict[str, Any]]:
        newest_first = scaling.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
        return list(reversed(newest_first))

    wait(lambda: all(activity["StatusCode"] != "InProgress" for activity in activities()), 60)
    found = activities()
    assert [activity["StatusCode"] for activity in found] == ["Successful"] * len(found), found
    assert found[0]["Cause"] == (
        f"monitor alarm {put['Alarms'][0]['AlarmName']} in state ALARM triggered policy track"
    )
    assert found[0]["Description"].startswith("Setting desired instance count to ")
    states = {
        alarm["AlarmName"].split("-")[-6]: alarm
        for alarm in cloudwatch.describe_alarms(AlarmNamePrefix="TargetTracking-")["MetricAlarms"]
    }
    assert {name: alarm["EvaluationPeriods"] for name, alarm in states.items()} == {
        "AlarmHigh": 3,
        "AlarmLow": 15,
    }
    compare(cloudwatch, endpoint, found, began, ended)


def compare(
    cloudwatch: Any, endpoint: str, activities: list[dict[str, Any]], began: float, ended: float
) -> None:
    """The simulator, given what the endpoint measured, does the same, in the same order."""
    start = int(began)
    points = cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": "v"},
        ],
        StartTime=start,
        EndTime=int(ended) + 1,
        Period=1,
        Statistics=["Sum"],
    )["Datapoints"]
    counts = {int(point["Timestamp"].timestamp()): point["Sum"] for point in points}
    # Nobody asks any more: the simulator may decide a little later than the cloud did.
    loads = (*(counts.get(second) for second in range(start, int(ended))), *(0.0,) * 30)
    took = max((one["EndTime"] - one["StartTime"]).total_seconds() for one in activities[:-1]) * CLOCK
    plan = Plan(name="p", policy=POLICY, bounds=Bounds(minimum=1, maximum=MOST), initial=1)
    outcome = simulate(Trace("measured", 0.0, loads), plan, Machine(service=0.01, start=took))
    wanted = [int(activity["Description"].rstrip(".").split()[-1]) for activity in activities]
    assert [capacity for _, capacity in outcome.changes] == wanted
    times = [activity["StartTime"].timestamp() - start for activity in activities]
    for (minute, _), real in zip(outcome.changes, times, strict=True):
        # Never sooner; a machine that stalls for some seconds, which are minutes here, may be later.
        assert -4 <= real - minute <= 30


def test_roles_decide(place: Any, endpoint: str) -> None:
    decisions = [
        line
        for line in audited(place.cloud, place.admin)
        if line["action"] == "sagemaker:UpdateEndpointWeightsAndCapacities"
    ]
    role = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    assert {line["decision"] for line in decisions} == {"Allow"}
    assert any(f":assumed-role/{role}/" in line["principal"] for line in decisions)


def test_idle_minutes_are_zeros_and_concurrency_is_measured(place: Any, endpoint: str) -> None:
    cloudwatch = place.cloud.client("cloudwatch", place.admin)

    since = math.ceil(time.time()) + 1

    def points(name: str, statistic: str) -> list[float]:
        found = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[
                {"Name": "EndpointName", "Value": endpoint},
                {"Name": "VariantName", "Value": "v"},
            ],
            StartTime=since,
            EndTime=time.time(),
            Period=1,
            Statistics=[statistic],
        )["Datapoints"]
        return [point[statistic] for point in found]

    for name in ("Invocations", "InvocationsPerInstance"):
        wait(lambda name=name: len(points(name, "Sum")) >= 3, 60)
        assert set(points(name, "Sum")) == {0.0}
    wait(lambda: points("ConcurrentRequestsPerModel", "Maximum"), 60)


def test_an_endpoint_that_goes_takes_its_target_along(place: Any, endpoint: str) -> None:
    scaling = place.cloud.client("application-autoscaling", place.admin)
    cloudwatch = place.cloud.client("cloudwatch", place.admin)
    place.sagemaker.delete_endpoint(EndpointName=endpoint)
    wait(lambda: not scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"], 60)
    assert cloudwatch.describe_alarms(AlarmNamePrefix="TargetTracking-")["MetricAlarms"] == []
