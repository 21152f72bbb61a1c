"""The command line with wrong input: one line on stderr, an exit code with a meaning, nothing done."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inference_runtime.settings import Settings

from localcloud.connect import client_environment
from localcloud.context import Cloud, Credentials
from modelyard.archives import function_code
from tests.local.pipeline_support import definition
from tests.local.support import allow, unique

MODELYARD = Path(sys.executable).parent / "modelyard"
FAILED, BAD_INPUT, UNREACHABLE, DENIED = 1, 2, 3, 4
Command = Callable[..., subprocess.CompletedProcess[str]]


def run(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MODELYARD_"))}
    return subprocess.run(
        [str(MODELYARD), *arguments], env=kept | environment, text=True, capture_output=True, check=False
    )


@pytest.fixture
def modelyard(cloud: Cloud, admin: Credentials) -> Command:
    def command(*arguments: str, key: Credentials = admin) -> subprocess.CompletedProcess[str]:
        return run(*arguments, environment=client_environment(cloud, key))

    return command


def one_line(done: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("modelyard: ")
    for text in says:
        assert text in line
    assert done.stdout == ""


def test_a_pipeline_that_does_not_exist(modelyard: Command) -> None:
    one_line(modelyard("run", "no-such-pipeline"), BAD_INPUT, "no-such-pipeline", "does not exist")


def test_a_parameter_without_a_value(modelyard: Command) -> None:
    one_line(modelyard("run", "any", "-p", "MseThreshold"), BAD_INPUT, "NAME=VALUE")


def test_a_group_that_does_not_exist(modelyard: Command) -> None:
    one_line(modelyard("approve", "no-such-group"), BAD_INPUT, "no-such-group", "does not exist")


def test_a_group_without_versions(modelyard: Command, cloud: Cloud, admin: Credentials) -> None:
    cloud.client("sagemaker", admin).create_model_package_group(ModelPackageGroupName="cli-empty")

    one_line(modelyard("approve", "cli-empty", "7"), BAD_INPUT, "no version 7", "none yet")


def test_no_permission(modelyard: Command, actor: Callable[..., Credentials]) -> None:
    one_line(modelyard("run", "any", key=actor([])), DENIED, "sagemaker:StartPipelineExecution")


def test_a_wrong_secret(modelyard: Command, admin: Credentials) -> None:
    wrong = Credentials(access_key_id=admin.access_key_id, secret_access_key="wrong")

    one_line(modelyard("run", "any", key=wrong), UNREACHABLE, "signature")


def test_no_credentials(tmp_path: Path) -> None:
    nothing = str(tmp_path / "none")
    environment = {
        "AWS_CONFIG_FILE": nothing,
        "AWS_SHARED_CREDENTIALS_FILE": nothing,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    one_line(run("run", "any", environment=environment), UNREACHABLE, "credentials", "modelyard up")


def test_no_cloud_at_the_address(cloud: Cloud, admin: Credentials) -> None:
    environment = client_environment(cloud, admin) | {"AWS_ENDPOINT_URL": "https://localhost:1"}

    one_line(run("run", "any", environment=environment), UNREACHABLE, "no cloud answers", "modelyard up")


def test_the_local_cloud_is_not_running(tmp_path: Path) -> None:
    for command in ("status", "env"):
        done = run(command, "--state", str(tmp_path / "none"), environment={})
        one_line(done, UNREACHABLE, "local cloud is running on")


def test_rows_that_are_not_there(modelyard: Command, tmp_path: Path) -> None:
    one_line(modelyard("predict", "any", str(tmp_path / "none.json")), BAD_INPUT, "none.json")


def test_predictions_before_a_deployment(modelyard: Command, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text('[{"term": 36}]')

    one_line(modelyard("predict", "any", str(rows)), UNREACHABLE, "no Modelyard stack", "make deploy")


def test_up_twice(cloud: Cloud) -> None:
    done = run("up", "--state", str(cloud.folder.root), environment={})

    one_line(done, FAILED, "already running", cloud.endpoint_url, "modelyard down")


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("up", "--state", str(tmp_path / "state"), "--port", port, environment={})

    one_line(done, FAILED, port, "in use")
    one_line(run("status", "--state", str(tmp_path / "state"), environment={}), UNREACHABLE, "no local cloud")


PARAMETERS = [
    {"Name": "Trees", "Type": "Integer", "DefaultValue": 100},
    {"Name": "Limit", "Type": "Float", "DefaultValue": 20.0},
    {"Name": "Status", "Type": "String", "DefaultValue": "Pending", "EnumValues": ["Pending", "Approved"]},
]


@pytest.fixture(scope="module")
def pipeline(sagemaker: Any, role: Callable[..., str]) -> str:
    name = "cli-parameters"
    step = {"Name": "Refuse", "Type": "Fail", "Arguments": {"ErrorMessage": "ran"}}
    sagemaker.create_pipeline(
        PipelineName=name,
        PipelineDefinition=definition(step, parameters=PARAMETERS),
        RoleArn=role("sagemaker.amazonaws.com", []),
    )
    return name


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("Tress=5", ["Tress"]),
        ("Trees=many", ["Trees", "many", "Integer"]),
        ("Trees=1.5", ["Trees", "1.5", "Integer"]),
        ("Limit=low", ["Limit", "low", "Float"]),
        ("Status=Rejected", ["Status", "Rejected", "Pending, Approved"]),
    ],
)
def test_a_parameter_that_the_pipeline_refuses(
    modelyard: Command, sagemaker: Any, pipeline: str, assignment: str, says: list[str]
) -> None:
    one_line(modelyard("run", pipeline, "-p", assignment), BAD_INPUT, "StartPipelineExecution", *says)

    executions = sagemaker.list_pipeline_executions(PipelineName=pipeline)["PipelineExecutionSummaries"]
    assert executions == []


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_an_execution_that_fails(
    modelyard: Command, pipeline_that_fails: str, output: tuple[str, ...]
) -> None:
    done = modelyard("run", pipeline_that_fails, "-p", "Limit=5.5", *output)

    assert done.returncode == FAILED, done.stderr
    steps, rest = (done.stderr, done.stdout) if output else (done.stdout, done.stderr)
    (line,) = [line for line in steps.splitlines() if "Refuse: Failed" in line]
    assert "over the limit of 5.5" in line
    assert "Traceback" not in steps
    if output:
        final = json.loads(rest)
        assert final["status"] == "Failed"
        assert [(step["name"], step["status"]) for step in final["steps"]] == [("Refuse", "Failed")]
        assert final["failure_reason"]
    else:
        assert steps.splitlines()[-1].endswith("Failed Step failure: One or multiple steps failed.")
        assert rest == ""


def test_an_execution_in_a_terminal(cloud: Cloud, admin: Credentials, pipeline_that_fails: str) -> None:
    """A table in colour, with the end in it."""
    terminal, inside = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MODELYARD_"))}
    command = subprocess.Popen(
        [str(MODELYARD), "run", pipeline_that_fails, "-p", "Limit=5.5"],
        env=kept | client_environment(cloud, admin) | {"TERM": "xterm-256color", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    drawn = b""
    # A terminal that nobody writes to any more says so by an error.
    with contextlib.suppress(OSError):
        while block := os.read(terminal, 1 << 16):
            drawn += block
    os.close(terminal)
    assert command.wait(60) == FAILED
    table = drawn.decode().split(pipeline_that_fails)[-1]
    assert b"\x1b[?25l" in drawn  # a live picture hides the cursor
    assert "\x1b[1;31mFailed" in table
    assert "over the limit of 5.5" in table
    assert "Step failure: One or multiple steps failed." in table


def test_an_execution_that_is_not_waited_for(modelyard: Command, pipeline_that_fails: str) -> None:
    done = modelyard("run", pipeline_that_fails, "--detach")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"pipeline/{pipeline_that_fails}/execution/" in done.stdout


@pytest.fixture(scope="module")
def pipeline_that_fails(sagemaker: Any, role: Callable[..., str]) -> str:
    name = unique("cli-fails")
    message = {"Std:Join": {"On": " ", "Values": ["over the limit of", {"Get": "Parameters.Limit"}]}}
    step = {"Name": "Refuse", "Type": "Fail", "Arguments": {"ErrorMessage": message}}
    sagemaker.create_pipeline(
        PipelineName=name,
        PipelineDefinition=definition(step, parameters=PARAMETERS),
        RoleArn=role("sagemaker.amazonaws.com", []),
    )
    return name


@pytest.fixture(scope="module")
def function_url(cloud: Cloud, admin: Credentials, role: Callable[..., str]) -> str:
    """The inference function, which refuses before it needs an endpoint; it takes two rows at a time."""
    name, lambdas = unique("cli-inference"), cloud.client("lambda", admin)
    settings = Settings(endpoint_name="none", table_name="none", models=("known",), max_rows=2)
    lambdas.create_function(
        FunctionName=name,
        Role=role("lambda.amazonaws.com", [allow("logs:*")]),
        Runtime="python3.11",
        Handler="modelyard.inference.runtime.handler.handle",
        Code={"ZipFile": function_code("inference")},
        Timeout=settings.timeout_seconds,
        Environment={"Variables": settings.to_environment()},
    )
    answer = lambdas.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    return str(answer["FunctionUrl"])


@pytest.mark.parametrize(
    ("model", "rows", "says"),
    [
        ("unknown", [{"term": 36}], ["404", "no model 'unknown'"]),
        ("known", [{"term": 36}] * 3, ["422", "3 rows", "at most 2"]),
        # The function's own limit, and the one of Lambda, which the function does not see.
        ("known", [{"term": "x" * 4_000_000}], ["413", "4000000 bytes"]),
        ("known", [{"term": "x" * 6_300_000}], ["413"]),
    ],
)
def test_predictions_that_are_refused(
    modelyard: Command, function_url: str, tmp_path: Path, model: str, rows: list[Any], says: list[str]
) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows))

    one_line(modelyard("predict", model, str(file), "--url", function_url), FAILED, *says)
