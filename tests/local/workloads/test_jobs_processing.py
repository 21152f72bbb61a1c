"""Processing jobs on the local cloud, with real processes."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.workloads.conftest import until

GROUP = "/aws/sagemaker/ProcessingJobs"
CODE = "/opt/ml/processing/input/code"


def start(workplace: Any, code: str, **changes: Any) -> str:
    name = f"process-{uuid.uuid4().hex[:8]}"
    request: dict[str, Any] = {
        "ProcessingJobName": name,
        "RoleArn": workplace.role,
        "AppSpecification": {
            "ImageUri": workplace.image,
            "ContainerEntrypoint": ["python3", f"{CODE}/main.py"],
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
    }
    workplace.put(f"code/{name}/main.py", code)
    inputs = [s3_input("code", workplace.uri(f"code/{name}/main.py"), LocalPath=CODE)]
    if "RoleArn" in changes:  # a role that may read nothing
        inputs = []
    request["ProcessingInputs"] = inputs + changes.pop("ProcessingInputs", [])
    workplace.sagemaker.create_processing_job(**{**request, **changes})
    return name


def ended(workplace: Any, settle: Any, name: str) -> dict[str, Any]:
    def describe() -> Any:
        return workplace.sagemaker.describe_processing_job(ProcessingJobName=name)

    answer: dict[str, Any] = settle(describe, "ProcessingJobStatus")
    return answer


def s3_input(name: str, uri: str, **changes: Any) -> dict[str, Any]:
    source = {
        "S3Uri": uri,
        "LocalPath": f"/opt/ml/processing/input/{name}",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
    }
    return {"InputName": name, "S3Input": {**source, **changes}}


def s3_output(uri: str, mode: str = "EndOfJob") -> dict[str, Any]:
    target = {"S3Uri": uri, "LocalPath": "/opt/ml/processing/output", "S3UploadMode": mode}
    return {"Outputs": [{"OutputName": "out", "S3Output": target}]}


def cluster(count: int) -> dict[str, Any]:
    config = {"InstanceCount": count, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    return {"ClusterConfig": config}


def test_inputs_go_in_and_outputs_come_out(workplace: Any, settle: Any) -> None:
    workplace.put("p1/in/a.csv", "1\n")
    workplace.put("p1/in/deep/b.csv", "2\n")
    code = """
import json, os, pathlib, socket
files = sorted(str(p.relative_to("/opt/ml/processing/input")) for p in
               pathlib.Path("/opt/ml/processing/input").rglob("*.csv"))
config = json.load(open("/opt/ml/config/processingjobconfig.json"))
resources = json.load(open("/opt/ml/config/resourceconfig.json"))
report = {"files": files, "job": config["ProcessingJobName"], "host": resources["current_host"],
          "hosts": resources["hosts"], "colour": os.environ["COLOUR"], "hostname": socket.gethostname()}
pathlib.Path("/opt/ml/processing/output/sub").mkdir()
pathlib.Path("/opt/ml/processing/output/sub/report.json").write_text(json.dumps(report))
print("first line"); print("second line")
"""
    name = start(
        workplace,
        code,
        ProcessingInputs=[s3_input("data", workplace.uri("p1/in"))],
        ProcessingOutputConfig=s3_output(workplace.uri("p1/out")),
        Environment={"COLOUR": "blue"},
    )
    answer = ended(workplace, settle, name)
    assert answer["ProcessingJobStatus"] == "Completed", answer
    assert answer["ProcessingStartTime"] <= answer["ProcessingEndTime"]
    report = json.loads(workplace.get("p1/out/sub/report.json"))
    assert report == {
        "files": ["data/a.csv", "data/deep/b.csv"],
        "job": name,
        "host": "algo-1",
        "hosts": ["algo-1"],
        "colour": "blue",
        "hostname": "algo-1",
    }
    assert workplace.log(GROUP, f"{name}/algo-1-") == ["first line", "second line"]


def test_hosts_share_the_keys_and_each_has_its_name(workplace: Any, settle: Any) -> None:
    for index in range(5):
        workplace.put(f"p2/in/{index}.csv", str(index))
    code = """
import json, pathlib
host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
names = sorted(p.name for p in pathlib.Path("/opt/ml/processing/input/data").iterdir())
pathlib.Path(f"/opt/ml/processing/output/{host}.json").write_text(json.dumps(names))
"""
    name = start(
        workplace,
        code,
        ProcessingInputs=[s3_input("data", workplace.uri("p2/in/"), S3DataDistributionType="ShardedByS3Key")],
        ProcessingOutputConfig=s3_output(workplace.uri("p2/out")),
        ProcessingResources=cluster(2),
    )
    assert ended(workplace, settle, name)["ProcessingJobStatus"] == "Completed"
    parts = [json.loads(workplace.get(f"p2/out/algo-{i}.json")) for i in (1, 2)]
    assert sorted(parts[0] + parts[1]) == [f"{i}.csv" for i in range(5)]
    assert parts[0]
    assert parts[1]


def test_a_manifest_names_the_objects(workplace: Any, settle: Any) -> None:
    workplace.put("p3/data/x/one.txt", "1")
    workplace.put("p3/data/two.txt", "2")
    manifest = workplace.put(
        "p3/manifest.json", json.dumps([{"prefix": workplace.uri("p3/data/")}, "x/one.txt"])
    )
    code = """
import pathlib
found = [str(p.relative_to("/opt/ml/processing/input/data"))
         for p in pathlib.Path("/opt/ml/processing/input/data").rglob("*.txt")]
assert found == ["x/one.txt"], found
"""
    name = start(workplace, code, ProcessingInputs=[s3_input("data", manifest, S3DataType="ManifestFile")])
    answer = ended(workplace, settle, name)
    assert answer["ProcessingJobStatus"] == "Completed", answer


def test_a_crash_gives_the_last_line_and_the_exit_code(workplace: Any, settle: Any) -> None:
    name = start(
        workplace,
        "open('/opt/ml/processing/output/x','w').write('1'); raise KeyError('rate')",
        ProcessingOutputConfig=s3_output(workplace.uri("p4/out")),
    )
    answer = ended(workplace, settle, name)
    assert answer["ProcessingJobStatus"] == "Failed"
    assert answer["FailureReason"] == "AlgorithmError: KeyError: 'rate', exit code: 1"
    assert workplace.keys("p4/out") == []


def test_a_message_file_is_the_exit_message(workplace: Any, settle: Any) -> None:
    code = "open('/opt/ml/output/message','w').write('column rate is missing'); raise SystemExit(3)"
    answer = ended(workplace, settle, start(workplace, code))
    assert answer["ExitMessage"] == "column rate is missing"
    assert answer["FailureReason"] == "AlgorithmError: column rate is missing, exit code: 3"


def test_a_job_past_its_limit_is_stopped(workplace: Any, settle: Any) -> None:
    # `ended` would not wait for as long as it sleeps.
    name = start(workplace, "import time; time.sleep(3600)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    answer = ended(workplace, settle, name)
    assert answer["ProcessingJobStatus"] == "Stopped"
    assert "MaxRuntimeInSeconds (1 s)" in answer["FailureReason"]


def test_stop_ends_the_process_group(workplace: Any, settle: Any) -> None:
    code = "import subprocess; print('up', flush=True); subprocess.run(['sleep', '3600'])"
    name = start(workplace, code)
    describe = workplace.sagemaker.describe_processing_job
    until(lambda: "ProcessingStartTime" in describe(ProcessingJobName=name))
    workplace.sagemaker.stop_processing_job(ProcessingJobName=name)
    assert ended(workplace, settle, name)["ProcessingJobStatus"] == "Stopped"
    with pytest.raises(ClientError, match="in status Stopped"):
        workplace.sagemaker.stop_processing_job(ProcessingJobName=name)


def test_missing_data_says_where(workplace: Any, settle: Any) -> None:
    name = start(workplace, "pass", ProcessingInputs=[s3_input("data", workplace.uri("nothing/here"))])
    answer = ended(workplace, settle, name)
    assert answer["ProcessingJobStatus"] == "Failed"
    assert "No S3 objects found under S3 URL" in answer["FailureReason"]


def test_a_role_that_may_not_write_logs_has_a_job_without_logs(
    workplace: Any, settle: Any, role: Any
) -> None:
    silent = role(
        "sagemaker.amazonaws.com",
        [{"Effect": "Allow", "Action": ["ecr:*", "s3:*", "logs:CreateLogStream"], "Resource": "*"}],
    )
    name = start(
        workplace,
        "",
        RoleArn=silent,
        AppSpecification={
            "ImageUri": workplace.image,
            "ContainerEntrypoint": ["python3", "-c", "print('heard by nobody')"],
        },
    )

    assert ended(workplace, settle, name)["ProcessingJobStatus"] == "Completed"
    logs = workplace.cloud.client("logs", workplace.admin)
    found = [
        group["logGroupName"]
        for group in logs.describe_log_groups(logGroupNamePrefix="/aws/sagemaker/ProcessingJobs")["logGroups"]
        if logs.describe_log_streams(logGroupName=group["logGroupName"], logStreamNamePrefix=name)[
            "logStreams"
        ]
    ]
    assert found == []


def test_a_role_without_permission_fails_the_job(workplace: Any, settle: Any, role: Any) -> None:
    workplace.put("p5/in.csv", "1")
    pull_only = role(
        "sagemaker.amazonaws.com",
        [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}],
    )
    name = start(
        workplace,
        "pass",
        RoleArn=pull_only,
        ProcessingInputs=[s3_input("data", workplace.uri("p5/in.csv"))],
    )
    reason = ended(workplace, settle, name)["FailureReason"]
    assert reason.startswith("ClientError: Data download failed:AccessDenied (403)"), reason


def test_a_role_that_may_not_pull_fails_the_job(workplace: Any, settle: Any, role: Any) -> None:
    name = start(workplace, "pass", RoleArn=role("sagemaker.amazonaws.com", []))
    reason = ended(workplace, settle, name)["FailureReason"]
    assert "proper pull permissions for SageMaker: ecr:BatchCheckLayerAvailability" in reason


def test_an_image_of_another_registry_is_refused_at_create(workplace: Any) -> None:
    with pytest.raises(ClientError, match=r"ImageUri: example\.com/foreign:1 .* push it there"):
        start(workplace, "pass", AppSpecification={"ImageUri": "example.com/foreign:1"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ProcessingInputs": [s3_input("a", "s3://b/k", LocalPath="/opt/ml/code")]}, "must lie under"),
        (
            {"ProcessingInputs": [s3_input("a", "s3://b/k", LocalPath="/opt/ml/processing/../x")]},
            "must lie under",
        ),
        (
            {"ProcessingInputs": [s3_input("a", "s3://b/k", LocalPath=CODE)] * 2},
            "InputName may be given once",
        ),
        (
            {
                "ProcessingInputs": [
                    s3_input("a", "s3://b/k", LocalPath=CODE),
                    s3_input("b", "s3://b/k", LocalPath=CODE + "/"),
                ]
            },
            "LocalPath may be given once",
        ),
        ({"Environment": {"A": "a\0b"}}, "null characters"),
    ],
)
def test_what_a_processing_job_may_not_ask_for(workplace: Any, changes: Any, message: str) -> None:
    request = {
        "ProcessingJobName": "refused",
        "RoleArn": workplace.role,
        "AppSpecification": {"ImageUri": workplace.image},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
    }
    with pytest.raises(ClientError, match=message):
        workplace.sagemaker.create_processing_job(**{**request, **changes})


def test_an_unknown_image_says_what_to_do(workplace: Any, settle: Any) -> None:
    uri = f"{workplace.image.rpartition(':')[0]}:missing"
    name = start(workplace, "pass", AppSpecification={"ImageUri": uri})
    reason = ended(workplace, settle, name)["FailureReason"]
    assert reason.startswith(f"ClientError: the image {uri}")
    assert "push it" in reason


def test_isolation_leaves_no_network_and_no_credentials(workplace: Any, settle: Any) -> None:
    code = """
import os, socket
assert "AWS_ENDPOINT_URL" in os.environ
assert not {"AWS_SECRET_ACCESS_KEY", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} & set(os.environ)
host, port = os.environ["AWS_ENDPOINT_URL"].removeprefix("https://").split(":")
try:
    socket.create_connection(("127.0.0.1", int(port)), 2)
except OSError:
    raise SystemExit(0)
raise SystemExit("reached the cloud")
"""
    name = start(workplace, code, NetworkConfig={"EnableNetworkIsolation": True})
    answer = ended(workplace, settle, name)
    assert answer["ProcessingJobStatus"] == "Completed", answer


def test_the_job_acts_as_its_role(workplace: Any, settle: Any) -> None:
    code = """
import boto3, os
assert "AWS_ACCESS_KEY_ID" not in os.environ
assert boto3.Session().get_credentials().method == "container-role"
arn = boto3.client("sts").get_caller_identity()["Arn"]
assert ":assumed-role/" in arn, arn
try:
    boto3.client("s3").list_buckets()
except Exception as error:
    assert "AccessDenied" in str(error), error
else:
    raise SystemExit("list_buckets was allowed")
"""
    answer = ended(workplace, settle, start(workplace, code))
    assert answer["ProcessingJobStatus"] == "Completed", answer


def test_continuous_output_appears_while_the_job_runs(workplace: Any, settle: Any) -> None:
    code = """
import pathlib, time
pathlib.Path("/opt/ml/processing/output/early.txt").write_text("1")
time.sleep(3600)
"""
    name = start(workplace, code, ProcessingOutputConfig=s3_output(workplace.uri("p6/out"), "Continuous"))
    until(lambda: workplace.keys("p6/out"))
    workplace.sagemaker.stop_processing_job(ProcessingJobName=name)
    assert ended(workplace, settle, name)["ProcessingJobStatus"] == "Stopped"


def test_links_out_of_the_output_are_refused(workplace: Any, settle: Any) -> None:
    code = "import os; os.symlink('/etc/passwd', '/opt/ml/processing/output/leak')"
    name = start(workplace, code, ProcessingOutputConfig=s3_output(workplace.uri("p7/out")))
    answer = ended(workplace, settle, name)
    assert answer["ProcessingJobStatus"] == "Failed"
    assert "leak is a link" in answer["FailureReason"]
    assert workplace.keys("p7/out") == []


def test_names_are_taken_once_and_missing_ones_are_said(workplace: Any, settle: Any) -> None:
    name = start(workplace, "pass")
    ended(workplace, settle, name)
    with pytest.raises(ClientError, match="already exists") as taken:
        start(workplace, "pass", ProcessingJobName=name.upper())
    assert taken.value.response["Error"]["Code"] == "ResourceInUse"
    # As whoever has only the ARN asks.
    described = workplace.sagemaker.describe_processing_job(ProcessingJobName=name.upper())
    assert described["ProcessingJobName"] == name
    with pytest.raises(ClientError, match=r"Requested resource not found\.") as missing:
        workplace.sagemaker.describe_processing_job(ProcessingJobName="no-such-job")
    assert missing.value.response["Error"]["Code"] == "ValidationException"


def test_list_filters_and_pages(workplace: Any, settle: Any) -> None:
    mark = uuid.uuid4().hex[:6]
    names = []
    for index in range(3):
        name = f"listed-{mark}-{index}"
        start(workplace, "pass", ProcessingJobName=name)
        ended(workplace, settle, name)
        names.append(name)
    first = workplace.sagemaker.list_processing_jobs(NameContains=mark, MaxResults=2, SortBy="Name")
    assert [item["ProcessingJobName"] for item in first["ProcessingJobSummaries"]] == names[:0:-1]
    rest = workplace.sagemaker.list_processing_jobs(
        NameContains=mark, MaxResults=2, SortBy="Name", NextToken=first["NextToken"]
    )
    assert [item["ProcessingJobName"] for item in rest["ProcessingJobSummaries"]] == names[:1]
    failed = workplace.sagemaker.list_processing_jobs(NameContains=mark, StatusEquals="Failed")
    assert failed["ProcessingJobSummaries"] == []
