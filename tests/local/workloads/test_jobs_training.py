"""Training jobs on the local cloud, with real processes."""

from __future__ import annotations

import io
import json
import socket
import tarfile
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

GROUP = "/aws/sagemaker/TrainingJobs"
SAVE = "open('/opt/ml/model/m.txt','w').write('weights')"


def start(workplace: Any, code: str, **changes: Any) -> str:
    name = f"train-{uuid.uuid4().hex[:8]}"
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "RoleArn": workplace.role,
        "AlgorithmSpecification": {"TrainingImage": workplace.image, "TrainingInputMode": "File"},
        # Values hold no line ends, on AWS either.
        "HyperParameters": {"code": json.dumps(code), "depth": "4"},
        "OutputDataConfig": {"S3OutputPath": workplace.uri(f"{name}/")},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    workplace.sagemaker.create_training_job(**{**request, **changes})
    return name


def ended(workplace: Any, settle: Any, name: str) -> dict[str, Any]:
    def describe() -> Any:
        return workplace.sagemaker.describe_training_job(TrainingJobName=name)

    answer: dict[str, Any] = settle(describe, "TrainingJobStatus")
    return answer


def channel(name: str, uri: str) -> dict[str, Any]:
    return {
        "ChannelName": name,
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
    }


def members(workplace: Any, key: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(workplace.get(key))) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def test_a_model_comes_out(workplace: Any, settle: Any) -> None:
    workplace.put("t1/train/a.csv", "1,2")
    code = """
import json, os, pathlib
read = lambda name: json.load(open(f"/opt/ml/input/config/{name}.json"))
pathlib.Path("/opt/ml/model/deep").mkdir()
pathlib.Path("/opt/ml/model/deep/m.json").write_text(json.dumps({
    "depth": read("hyperparameters")["depth"], "data": read("inputdataconfig"),
    "hosts": read("resourceconfig")["hosts"], "row": open("/opt/ml/input/data/train/a.csv").read(),
    "name": os.environ["TRAINING_JOB_NAME"]}))
pathlib.Path("/opt/ml/output/data/report.txt").write_text("fine")
print("epoch 1 rmse=0.75;"); print("epoch 2 rmse=0.5;")
"""
    name = start(
        workplace,
        code,
        InputDataConfig=[channel("train", workplace.uri("t1/train"))],
        AlgorithmSpecification={
            "TrainingImage": workplace.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "rmse", "Regex": "rmse=([0-9.]+);"},
                {"Name": "auc", "Regex": "auc=([0-9.]+)"},
            ],
        },
    )
    answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Completed", answer
    assert answer["SecondaryStatus"] == "Completed"
    assert [step["Status"] for step in answer["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert all("EndTime" in step for step in answer["SecondaryStatusTransitions"][:-1])
    assert answer["TrainingTimeInSeconds"] >= 1
    assert answer["BillableTimeInSeconds"] == answer["TrainingTimeInSeconds"]
    assert {item["MetricName"]: item["Value"] for item in answer["FinalMetricDataList"]} == {"rmse": 0.5}
    assert answer["OutputDataConfig"]["KmsKeyId"] == ""
    artifacts = answer["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifacts == workplace.uri(f"{name}/{name}/output/model.tar.gz")
    model = json.loads(members(workplace, f"{name}/{name}/output/model.tar.gz")["deep/m.json"])
    assert model == {
        "depth": "4",
        "data": {
            "train": {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "None",
                "ContentType": "text/csv",
            }
        },
        "hosts": ["algo-1"],
        "row": "1,2",
        "name": name,
    }
    assert members(workplace, f"{name}/{name}/output/output.tar.gz") == {"report.txt": b"fine"}
    assert workplace.log(GROUP, f"{name}/algo-1-") == ["epoch 1 rmse=0.75;", "epoch 2 rmse=0.5;"]


def test_the_failure_file_is_the_reason(workplace: Any, settle: Any) -> None:
    code = "open('/opt/ml/output/failure','w').write('no rows in train'); raise SystemExit(2)"
    answer = ended(workplace, settle, start(workplace, code))
    assert answer["TrainingJobStatus"] == "Failed"
    assert answer["SecondaryStatus"] == "Failed"
    assert answer["FailureReason"] == "AlgorithmError: no rows in train, exit code: 2"
    assert "TrainingEndTime" in answer


def test_a_killed_container_is_told_apart(workplace: Any, settle: Any) -> None:
    answer = ended(workplace, settle, start(workplace, "import os; os.kill(os.getpid(), 9)"))
    reason = "the container was killed (SIGKILL): out of memory, or ended from outside"
    assert answer["FailureReason"] == f"AlgorithmError: {reason}, exit code: 137"


def test_a_job_past_its_limit_keeps_its_model(workplace: Any, settle: Any) -> None:
    name = start(
        workplace, f"{SAVE}; import time; time.sleep(100)", StoppingCondition={"MaxRuntimeInSeconds": 1}
    )
    answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Stopped"
    assert answer["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert members(workplace, f"{name}/{name}/output/model.tar.gz") == {"m.txt": b"weights"}


def test_stop_gives_the_script_time_to_save(workplace: Any, settle: Any) -> None:
    code = """
import signal, sys, time
def save(*_):
    open('/opt/ml/model/m.txt', 'w').write('saved'); sys.exit(0)
signal.signal(signal.SIGTERM, save)
print('ready', flush=True)
time.sleep(100)
"""
    name = start(workplace, code)
    deadline = time.monotonic() + 20
    while "ready" not in _log(workplace, name):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workplace.sagemaker.stop_training_job(TrainingJobName=name)
    answer = ended(workplace, settle, name)
    assert (answer["TrainingJobStatus"], answer["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert members(workplace, f"{name}/{name}/output/model.tar.gz") == {"m.txt": b"saved"}


def _log(workplace: Any, name: str) -> list[str]:
    try:
        return list(workplace.log(GROUP, f"{name}/"))
    except ClientError:
        return []


def test_a_job_without_a_model_completes_and_nothing_is_stored(workplace: Any, settle: Any) -> None:
    name = start(workplace, "print('nothing to save')")
    answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Completed"
    assert workplace.keys(f"{name}/") == []
    with pytest.raises(ClientError, match="Could not find model data at"):
        workplace.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=workplace.role,
            PrimaryContainer={
                "Image": workplace.image,
                "ModelDataUrl": answer["ModelArtifacts"]["S3ModelArtifacts"],
            },
        )


@pytest.mark.parametrize("isolated", [False, True])
def test_hosts_know_each_other(workplace: Any, settle: Any, isolated: bool) -> None:
    """Also where they know nobody else: isolation leaves the hosts of a training job one another."""
    code = """
import json, socket, time
here = json.load(open("/opt/ml/input/config/resourceconfig.json"))
if here["current_host"] == "algo-1":
    server = socket.create_server(("algo-1", 7777)); connection, _ = server.accept()
    open("/opt/ml/model/heard", "wb").write(connection.recv(100))
else:
    for _ in range(100):
        try:
            connection = socket.create_connection(("algo-1", 7777)); break
        except OSError:
            time.sleep(0.05)
    connection.sendall(here["current_host"].encode())
"""
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    name = start(workplace, code, ResourceConfig=resources, EnableNetworkIsolation=isolated)
    answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Completed", answer
    assert answer["BillableTimeInSeconds"] == 2 * answer["TrainingTimeInSeconds"]
    assert members(workplace, f"{name}/{name}/output/model.tar.gz") == {"heard": b"algo-2"}


def test_isolated_hosts_know_nobody_else(workplace: Any, settle: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
import json, socket
here = json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_host"]
try:
    socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), timeout=5)
    raise SystemExit(here + " reached the machine")
except OSError as error:
    print(error)
"""
        resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
        name = start(workplace, code, ResourceConfig=resources, EnableNetworkIsolation=True)
        answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Completed", answer


def test_one_lost_host_ends_the_job(workplace: Any, settle: Any) -> None:
    code = """
import json, time
here = json.load(open("/opt/ml/input/config/resourceconfig.json"))
if here["current_host"] == "algo-2":
    raise SystemExit("algo-2 is lost")
time.sleep(100)
"""
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    began = time.monotonic()
    answer = ended(workplace, settle, start(workplace, code, ResourceConfig=resources))
    assert answer["FailureReason"] == "AlgorithmError: algo-2 is lost, exit code: 1"
    assert time.monotonic() - began < 15


def test_checkpoints_travel_both_ways(workplace: Any, settle: Any) -> None:
    workplace.put("t2/checkpoints/step-1", "one")
    code = """
import os
assert os.listdir('/opt/ml/checkpoints') == ['step-1']
open('/opt/ml/checkpoints/step-2', 'w').write('two')
"""
    name = start(workplace, code, CheckpointConfig={"S3Uri": workplace.uri("t2/checkpoints")})
    answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Completed", answer
    assert workplace.get("t2/checkpoints/step-2") == b"two"


def test_checkpoints_go_out_while_the_job_runs(workplace: Any, settle: Any) -> None:
    """What is written beside and renamed, as frameworks do, comes whole, and survives a failure."""
    code = """
import os, time
for step in range(20):
    with open('/opt/ml/checkpoints/next', 'w') as file:
        file.write(str(step))
    os.rename('/opt/ml/checkpoints/next', '/opt/ml/checkpoints/last')
    time.sleep(0.3)
raise SystemExit(1)
"""
    name = start(workplace, code, CheckpointConfig={"S3Uri": workplace.uri("t5/checkpoints")})
    deadline = time.monotonic() + 30
    while not workplace.keys("t5/checkpoints/last") and time.monotonic() < deadline:
        time.sleep(0.1)
    running = workplace.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
    assert (running, workplace.keys("t5/checkpoints/last")) == ("InProgress", ["t5/checkpoints/last"])
    assert ended(workplace, settle, name)["TrainingJobStatus"] == "Failed"
    assert workplace.get("t5/checkpoints/last") == b"19"


def test_hosts_share_a_manifest_on_spot(workplace: Any, settle: Any) -> None:
    for row in "abc":
        workplace.put(f"t6/data/{row}.csv", row)
    manifest = workplace.put(
        "t6/train.manifest", json.dumps([{"prefix": workplace.uri("t6/data/")}, "a.csv", "b.csv", "c.csv"])
    )
    train = channel("train", manifest)
    train["DataSource"]["S3DataSource"].update(
        S3DataType="ManifestFile", S3DataDistributionType="ShardedByS3Key"
    )
    code = """
import json, os
host = json.load(open('/opt/ml/input/config/resourceconfig.json'))['current_host']
found = sorted(os.listdir('/opt/ml/input/data/train'))
assert found == {'algo-1': ['a.csv', 'c.csv'], 'algo-2': ['b.csv']}[host], (host, found)
"""
    name = start(
        workplace,
        code,
        InputDataConfig=[train],
        ResourceConfig={"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
    )
    answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Completed", answer
    assert answer["EnableManagedSpotTraining"] is True


def test_the_log_names_what_has_no_effect(workplace: Any, settle: Any) -> None:
    name = start(workplace, SAVE, DebugHookConfig={"S3OutputPath": workplace.uri("debug")})
    assert ended(workplace, settle, name)["TrainingJobStatus"] == "Completed"
    assert _log(workplace, name) == ["[local cloud] without effect here: DebugHookConfig"]


def test_an_uncompressed_model_is_a_prefix(workplace: Any, settle: Any) -> None:
    name = f"flat-{uuid.uuid4().hex[:8]}"
    output = {"S3OutputPath": workplace.uri("t3"), "CompressionType": "NONE"}
    start(workplace, SAVE, TrainingJobName=name, OutputDataConfig=output)
    answer = ended(workplace, settle, name)
    assert answer["ModelArtifacts"]["S3ModelArtifacts"] == workplace.uri(f"t3/{name}/output/model/")
    assert workplace.get(f"t3/{name}/output/model/m.txt") == b"weights"


def test_a_role_that_does_not_trust_sagemaker_is_refused_at_create(workplace: Any, role: Any) -> None:
    with pytest.raises(ClientError, match=r"sagemaker\.amazonaws\.com") as caught:
        start(workplace, SAVE, RoleArn=role("lambda.amazonaws.com", []))
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_pass_role_is_needed(workplace: Any, actor: Any) -> None:
    key = actor([{"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"}])
    client = workplace.cloud.client("sagemaker", key)
    with pytest.raises(ClientError, match="iam:PassRole"):
        client.create_training_job(
            TrainingJobName="not-allowed",
            RoleArn=workplace.role,
            AlgorithmSpecification={"TrainingImage": workplace.image, "TrainingInputMode": "File"},
            OutputDataConfig={"S3OutputPath": workplace.uri("x")},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": "000000000000.dkr.ecr.us-east-1.amazonaws.com/x:1",
                    "TrainingInputMode": "Pipe",
                }
            },
            "Pipe",
        ),
        ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds"),
        (
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59},
            },
            "greater than or equal",
        ),
        (
            {
                "InputDataConfig": [
                    {
                        "ChannelName": "train",
                        "DataSource": {
                            "S3DataSource": {
                                "S3DataType": "AugmentedManifestFile",
                                "S3Uri": "s3://x/y.jsonl",
                                "AttributeNames": ["source-ref"],
                            }
                        },
                    }
                ]
            },
            "AugmentedManifestFile",
        ),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90}}, "spot"),
        ({"OutputDataConfig": {"S3OutputPath": "https://x/y"}}, "S3OutputPath"),
    ],
)
def test_what_cannot_run_is_refused_at_create(workplace: Any, changes: Any, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        start(workplace, SAVE, **changes)


@pytest.mark.parametrize(
    "code",
    [
        "os.rmdir('/opt/ml/model'); os.symlink('/etc', '/opt/ml/model')",
        "t = os.environ['TMPDIR']; os.rename('/opt/ml/output', '/opt/ml/x'); os.symlink(t, '/opt/ml/output');"
        "os.mkdir(f'{t}/data')",
        "os.symlink('/etc/hostname', '/opt/ml/model/leak')",
    ],
)
def test_links_in_the_place_of_results_are_refused(workplace: Any, settle: Any, code: str) -> None:
    name = start(workplace, f"import os; {code}")
    answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Failed"
    assert "link" in answer["FailureReason"]
    assert workplace.keys(f"{name}/") == []


def test_a_link_in_the_place_of_the_archive_is_not_written_through(workplace: Any, settle: Any) -> None:
    name = start(workplace, f"import os; {SAVE}; os.symlink('/nowhere', '/opt/ml/model.tar.gz')")
    assert ended(workplace, settle, name)["TrainingJobStatus"] == "Completed"
    assert members(workplace, f"{name}/{name}/output/model.tar.gz") == {"m.txt": b"weights"}


def test_a_job_sees_no_key_but_its_own(workplace: Any, settle: Any) -> None:
    code = """
import os, pathlib
state = pathlib.Path(os.environ["STATE"])
seen = [str(p) for p in state.rglob("*") if p.is_file() and p.name != "ca.pem"]
assert not [p for p in seen if "/images/" not in p], seen
import boto3
boto3.client("s3").list_objects_v2(Bucket=os.environ["BUCKET"])
"""
    root = str(workplace.cloud.folder.root.resolve())
    name = start(workplace, code, Environment={"STATE": root, "BUCKET": workplace.bucket})
    assert ended(workplace, settle, name)["TrainingJobStatus"] == "Completed"


def test_names_that_differ_in_case_only_are_one_job(workplace: Any, settle: Any) -> None:
    name = f"Case-{uuid.uuid4().hex[:8]}"
    start(workplace, SAVE, TrainingJobName=name)
    with pytest.raises(ClientError, match="must be unique"):
        start(workplace, SAVE, TrainingJobName=name.lower())
    ended(workplace, settle, name)


def test_a_job_without_a_bucket_for_its_results_fails(workplace: Any, settle: Any) -> None:
    name = start(workplace, "pass", OutputDataConfig={"S3OutputPath": "s3://there-is-no-such-bucket/x"})
    assert "NoSuchBucket" in ended(workplace, settle, name)["FailureReason"]


def test_a_trust_policy_may_name_the_source(workplace: Any, settle: Any, role: Any) -> None:
    arn, iam = role("sagemaker.amazonaws.com", []), workplace.cloud.client("iam", workplace.admin)

    def trust(source: str) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"ArnLike": {"aws:SourceArn": source}},
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.update_assume_role_policy(RoleName=arn.rpartition("/")[2], PolicyDocument=document)

    trust("arn:aws:sagemaker:*:*:pipeline/*")
    with pytest.raises(ClientError, match="Could not assume role"):
        start(workplace, SAVE, RoleArn=arn)
    trust("arn:aws:sagemaker:*:*:training-job/*")
    # The role is assumed; what it then lacks is the right to pull.
    assert (
        "pull permissions" in ended(workplace, settle, start(workplace, SAVE, RoleArn=arn))["FailureReason"]
    )
