"""AWS's public images in jobs and endpoints: XGBoost's own algorithm, scripts, inference scripts."""

from __future__ import annotations

import io
import json
import random
import re
import tarfile
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

ALGORITHMS = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
XGBOOST = f"{ALGORITHMS}/sagemaker-xgboost:1.7-1"
SKLEARN = f"{ALGORITHMS}/sagemaker-scikit-learn:1.2-1-cpu-py3"
TRAIN = """
import argparse, json, os, joblib, numpy as np
from sklearn.linear_model import LinearRegression
parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float)
parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
options = parser.parse_args()
table = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "part-0.csv"), delimiter=",")
model = LinearRegression().fit(table[:, 1:], table[:, 0])
print(f"alpha={options.alpha};")
joblib.dump(model, os.path.join(options.model_dir, "model.joblib"))
"""
INFERENCE = """
import os, joblib
def model_fn(folder):
    return joblib.load(os.path.join(folder, "model.joblib"))
"""


def table(count: int, seed: int) -> list[list[float]]:
    generator = random.Random(seed)
    rows = [[generator.random() for _ in range(3)] for _ in range(count)]
    return [[3 * row[0] + row[1], *row] for row in rows]


def csv(rows: list[list[float]]) -> str:
    return "".join(",".join(map(repr, row)) + "\n" for row in rows)


def libsvm(rows: list[list[float]]) -> str:
    return "".join(
        f"{row[0]!r} " + " ".join(f"{i}:{v!r}" for i, v in enumerate(row[1:])) + "\n" for row in rows
    )


@pytest.fixture(scope="module")
def data(account: Any) -> Any:
    for index in range(2):
        account.put(f"images/csv/part-{index}.csv", csv(table(200, index)))
        account.put(f"images/libsvm/part-{index}", libsvm(table(200, index)))
    account.put("images/validation/rows.csv", csv(table(100, 9)))
    return account


def channel(
    account: Any, name: str, folder: str, kind: str, distribution: str = "FullyReplicated"
) -> dict[str, Any]:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://{account.bucket}/images/{folder}/",
        "S3DataDistributionType": distribution,
    }
    return {"ChannelName": name, "ContentType": kind, "DataSource": {"S3DataSource": source}}


def train(
    account: Any, image: str, hyperparameters: dict[str, str], *channels: Any, count: int = 1
) -> dict[str, Any]:
    name = f"images-{uuid.uuid4().hex[:8]}"
    sagemaker = account.client("sagemaker")
    sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn=account.role,
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
        HyperParameters=hyperparameters,
        InputDataConfig=list(channels),
        OutputDataConfig={"S3OutputPath": f"s3://{account.bucket}/images/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    return settled(lambda: sagemaker.describe_training_job(TrainingJobName=name), "TrainingJobStatus")


def settled(describe: Any, member: str) -> dict[str, Any]:
    deadline = time.monotonic() + 600
    while (answer := describe())[member] in {"InProgress", "Creating"}:
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
    return dict(answer)


def metric(answer: dict[str, Any], name: str) -> float:
    return float({item["MetricName"]: item["Value"] for item in answer["FinalMetricDataList"]}[name])


@pytest.mark.parametrize(
    ("folder", "kind"), [("csv", "text/csv"), ("libsvm", "text/libsvm")], ids=["csv", "libsvm"]
)
def test_the_algorithm_takes_csv_and_libsvm(data: Any, folder: str, kind: str) -> None:
    answer = train(
        data,
        XGBOOST,
        {"num_round": "30", "objective": "reg:squarederror"},
        channel(data, "train", folder, kind),
    )
    assert answer["TrainingJobStatus"] == "Completed", answer["FailureReason"]
    assert metric(answer, "train:rmse") < 0.1
    archive = data.read(answer["ModelArtifacts"]["S3ModelArtifacts"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        assert members.getnames() == ["xgboost-model"]


def test_two_hosts_train_one_model(data: Any) -> None:
    parameters = {"num_round": "30", "eval_metric": "rmse,r2"}
    validation = channel(data, "validation", "validation", "text/csv")
    sharded = channel(data, "train", "csv", "text/csv", "ShardedByS3Key")
    two = train(data, XGBOOST, parameters, sharded, validation, count=2)
    assert two["TrainingJobStatus"] == "Completed", two["FailureReason"]
    one = train(data, XGBOOST, parameters, channel(data, "train", "csv", "text/csv"), validation)
    assert metric(two, "validation:r2") == pytest.approx(metric(one, "validation:r2"), abs=0.01)
    log = data.log("/aws/sagemaker/TrainingJobs", two["TrainingJobName"])
    assert log.count("Train matrix has 200 rows and 3 columns") == 2


def test_an_unknown_hyperparameter_is_the_users_error(data: Any) -> None:
    answer = train(data, XGBOOST, {"num_round": "2", "depth": "3"}, channel(data, "train", "csv", "text/csv"))
    assert answer["TrainingJobStatus"] == "Failed"
    assert (
        answer["FailureReason"]
        == "AlgorithmError: framework error: UserError: Extraneous hyperparameter found: depth, exit code: 1"
    )


def model(account: Any, image: str, url: str, environment: dict[str, str]) -> str:
    name = f"images-{uuid.uuid4().hex[:8]}"
    account.client("sagemaker").create_model(
        ModelName=name,
        ExecutionRoleArn=account.role,
        PrimaryContainer={"Image": image, "ModelDataUrl": url, "Environment": environment},
    )
    return name


def endpoint(account: Any, model_name: str) -> Any:
    """Deploys, and returns what asks it."""
    sagemaker, runtime = account.client("sagemaker"), account.client("sagemaker-runtime")
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model_name,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    sagemaker.create_endpoint_config(EndpointConfigName=model_name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=model_name, EndpointConfigName=model_name)
    found = settled(lambda: sagemaker.describe_endpoint(EndpointName=model_name), "EndpointStatus")
    assert found["EndpointStatus"] == "InService", found

    def ask(body: str, content_type: str, **options: str) -> str:
        answer = runtime.invoke_endpoint(
            EndpointName=model_name, Body=body.encode(), ContentType=content_type, **options
        )
        return str(answer["Body"].read().decode())

    return ask


def test_the_algorithms_own_server(data: Any) -> None:
    trained = train(data, XGBOOST, {"num_round": "30"}, channel(data, "train", "csv", "text/csv"))
    name = model(data, XGBOOST, trained["ModelArtifacts"]["S3ModelArtifacts"], {})
    ask = endpoint(data, name)
    rows = ask("0.5,0.5,0.5\n0.1,0.2,0.3\n", "text/csv").split()
    assert [float(row) for row in rows] == pytest.approx([2.0, 0.5], abs=0.3)
    assert ask("0:0.5 1:0.5 2:0.5\n", "text/libsvm").split() == rows[:1]
    scores = json.loads(ask("0.5,0.5,0.5", "text/csv", Accept="application/json"))
    assert scores["predictions"][0]["score"] == pytest.approx(float(rows[0]))
    for body, kind, message in (
        ("1,2", "text/csv", "Feature size of csv inference data 2 is not consistent"),
        ("a,b,c", "text/csv", "line 1: could not convert"),
        ("{}", "application/json", "Content-type application/json is not supported"),
    ):
        with pytest.raises(ClientError, match=message):
            ask(body, kind)
    data.put("images/batch/rows.csv", "0.5,0.5,0.5\n0.1,0.2,0.3\n")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{data.bucket}/images/batch/"}}
    # As `transformer.transform(data=...)` sends it when nobody says what the rows are.
    for job, options in (
        (f"{name}-typed", {"ContentType": "text/csv", "SplitType": "Line"}),
        (f"{name}-bare", {}),
    ):
        done = transform(data, job, name, {"DataSource": source, **options})
        scored = data.read(f"{done['TransformOutput']['S3OutputPath']}/rows.csv.out").decode().split()
        assert [float(row) for row in scored] == pytest.approx([float(row) for row in rows])
    assert "without a content type" in data.log("/aws/sagemaker/TransformJobs", f"{name}-bare")


def transform(data: Any, job: str, model_name: str, source: dict[str, Any]) -> Any:
    """Run a transform job to its end; its description."""
    sagemaker = data.client("sagemaker")
    sagemaker.create_transform_job(
        TransformJobName=job,
        ModelName=model_name,
        TransformInput=source,
        TransformOutput={"S3OutputPath": f"s3://{data.bucket}/images/{job}", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    done = settled(lambda: sagemaker.describe_transform_job(TransformJobName=job), "TransformJobStatus")
    assert done["TransformJobStatus"] == "Completed", done
    return done


def test_answers_are_joined_with_what_they_answer(data: Any) -> None:
    trained = train(data, XGBOOST, {"num_round": "30"}, channel(data, "train", "csv", "text/csv"))
    name = model(data, XGBOOST, trained["ModelArtifacts"]["S3ModelArtifacts"], {})
    data.put("images/named/rows.csv", "first,0.5,0.5,0.5\nsecond,0.1,0.2,0.3\n")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{data.bucket}/images/named/"}
    target = {
        "S3OutputPath": f"s3://{data.bucket}/images/joined",
        "AssembleWith": "Line",
        "Accept": "text/csv",
    }
    data.client("sagemaker").create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={
            "DataSource": {"S3DataSource": source},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        TransformOutput=target,
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        DataProcessing={"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )
    sagemaker = data.client("sagemaker")
    done = settled(lambda: sagemaker.describe_transform_job(TransformJobName=name), "TransformJobStatus")
    assert done["TransformJobStatus"] == "Completed", done
    scored = data.read(f"s3://{data.bucket}/images/joined/rows.csv.out").decode().split()
    rows = [row.split(",") for row in scored]
    assert done["TransformOutput"]["KmsKeyId"] == ""  # `Transformer.attach` relies on it
    assert [row[0] for row in rows] == ["first", "second"]
    assert [float(row[1]) for row in rows] == pytest.approx([2.0, 0.5], abs=0.3)


def sources(account: Any, name: str, **files: str) -> str:
    """A source directory as the SDK uploads one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member, text in files.items():
            entry = tarfile.TarInfo(member.replace("__", "."))
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    key = f"images/code/{name}/sourcedir.tar.gz"
    account.client("s3").put_object(Bucket=account.bucket, Key=key, Body=buffer.getvalue())
    return f"s3://{account.bucket}/{key}"


def script_mode(account: Any, code: str) -> dict[str, str]:
    return {
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": json.dumps(code),
        "sagemaker_region": '"us-east-1"',
        "alpha": "0.5",
    }


def test_a_script_trains_and_another_serves(data: Any) -> None:
    requirements = "numpy>=1.20\nscikit-learn==1.2.1\n"
    code = sources(data, "good", train__py=TRAIN, inference__py=INFERENCE, requirements__txt=requirements)
    trained = train(data, SKLEARN, script_mode(data, code), channel(data, "train", "csv", "text/csv"))
    log = data.log("/aws/sagemaker/TrainingJobs", trained["TrainingJobName"])
    assert trained["TrainingJobStatus"] == "Completed", log
    assert "alpha=0.5;" in log
    assert re.search(r"pip: scikit-learn \S+ is used in place of scikit-learn==1.2.1", log)
    environment = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": code}
    name = model(data, SKLEARN, trained["ModelArtifacts"]["S3ModelArtifacts"], environment)
    ask = endpoint(data, name)
    assert json.loads(ask("[[0.5, 0.5, 0.5]]", "application/json")) == pytest.approx([2.0])
    assert float(ask("0.5,0.5,0.5\n0.5,0.5,0.5", "text/csv", Accept="text/csv").split()[1]) == pytest.approx(
        2.0
    )


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"train__py": "raise SystemExit('no data')"}, 'ExitCode 1\nErrorMessage "no data"'),
        ({"other__py": ""}, "UserError: there is no train.py"),
        ({"train__py": "", "requirements__txt": "no-such-package\n"}, "requirements.txt asks for packages"),
    ],
    ids=["it fails", "it is missing", "it needs what is not here"],
)
def test_why_a_script_failed(data: Any, files: dict[str, str], reason: str) -> None:
    code = sources(data, uuid.uuid4().hex, **files)
    answer = train(data, SKLEARN, script_mode(data, code), channel(data, "train", "csv", "text/csv"))
    assert answer["TrainingJobStatus"] == "Failed"
    assert reason in answer["FailureReason"]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1", "does not run on the local cloud"),
        (f"{ALGORITHMS}/sagemaker-xgboost:newest", "names no version"),
    ],
)
def test_other_public_images_are_refused_at_create(data: Any, image: str, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        train(data, image, {"num_round": "2"}, channel(data, "train", "csv", "text/csv"))


# Written for the image's libraries, its toolkit, and the root folder that containers start in.
FORMER = """
import os, tarfile
import numpy as np
import pandas as pd
from sagemaker_containers.beta.framework import worker
from sklearn.metrics import mean_squared_error
table = pd.get_dummies(pd.DataFrame({"y": [1, 2, 3, 4], "x": list("abab")}))
train, test = np.split(table.sample(frac=1, random_state=1), [3])
print("error", mean_squared_error([0.0], [3.0], squared=False), worker.Response("a").get_data())
open("model", "w").write("m")
with tarfile.open("/tmp/model.tar.gz", "w:gz") as archive:
    archive.add("model")
os.remove("model")
with tarfile.open("/tmp/model.tar.gz") as archive:
    archive.extractall(path="..")
print("found", open("model").read())
train.to_csv("/opt/ml/processing/out/train.csv", header=False, index=False)
"""


def test_a_script_of_the_images_time_runs(data: Any) -> None:
    name = f"former-{uuid.uuid4().hex[:8]}"
    code = data.put(f"images/{name}/former.py", FORMER)
    out = f"s3://{data.bucket}/images/{name}/out"
    place = {"LocalPath": "/opt/ml/processing/code", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    sagemaker = data.client("sagemaker")
    sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=data.role,
        AppSpecification={
            "ImageUri": SKLEARN,
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/former.py"],
        },
        ProcessingInputs=[{"InputName": "code", "S3Input": {"S3Uri": code, **place}}],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": out,
                        "LocalPath": "/opt/ml/processing/out",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        ProcessingResources={
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
    )
    done = settled(lambda: sagemaker.describe_processing_job(ProcessingJobName=name), "ProcessingJobStatus")
    assert done["ProcessingJobStatus"] == "Completed", done
    log = data.log("/aws/sagemaker/ProcessingJobs", name)
    assert "error 3.0 b'a'" in log
    assert "found m" in log
    # Zeros and ones, which XGBoost's own algorithm reads.
    assert {line.partition(",")[2] for line in data.read(f"{out}/train.csv").decode().split()} == {
        "1,0",
        "0,1",
    }
