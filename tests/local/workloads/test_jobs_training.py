"""Training jobs on the local cloud, with real processes: results, failures, limits."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.workloads.conftest import until
from tests.local.workloads.training_jobs import GROUP, SAVE, channel, ended, log_of, members, start


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
    # Time enough to begin, also on a machine that is busy.
    name = start(
        workplace, f"{SAVE}; import time; time.sleep(3600)", StoppingCondition={"MaxRuntimeInSeconds": 8}
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
time.sleep(3600)
"""
    name = start(workplace, code)
    until(lambda: "ready" in log_of(workplace, name))
    workplace.sagemaker.stop_training_job(TrainingJobName=name)
    answer = ended(workplace, settle, name)
    assert (answer["TrainingJobStatus"], answer["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert members(workplace, f"{name}/{name}/output/model.tar.gz") == {"m.txt": b"saved"}


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


def test_the_log_names_what_has_no_effect(workplace: Any, settle: Any) -> None:
    name = start(workplace, SAVE, DebugHookConfig={"S3OutputPath": workplace.uri("debug")})
    assert ended(workplace, settle, name)["TrainingJobStatus"] == "Completed"
    assert log_of(workplace, name) == ["[local cloud] without effect here: DebugHookConfig"]


def test_an_uncompressed_model_is_a_prefix(workplace: Any, settle: Any) -> None:
    name = f"flat-{uuid.uuid4().hex[:8]}"
    output = {"S3OutputPath": workplace.uri("t3"), "CompressionType": "NONE"}
    start(workplace, SAVE, TrainingJobName=name, OutputDataConfig=output)
    answer = ended(workplace, settle, name)
    assert answer["ModelArtifacts"]["S3ModelArtifacts"] == workplace.uri(f"t3/{name}/output/model/")
    assert workplace.get(f"t3/{name}/output/model/m.txt") == b"weights"
