"""The pipeline function's code against the local cloud, with no more permissions than its docstring names."""

import hashlib
import json
import uuid
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from pipeline_runtime.bundle import DEFINITION as BUNDLED
from pipeline_runtime.bundle import code_member
from pipeline_runtime.errors import PipelineError
from pipeline_runtime.pipelines import Pipelines
from pipeline_runtime.request import parse
from pipeline_runtime.upsert import apply, remove

from modelyard.archives import zip_of
from tests.local.support import unique
from tests.local.test_runtime_on_cloud import allow

DEFINITION = Path(__file__).parents[2] / "pipeline_defs" / "definitions" / "refinance-interest-rate.json"


@pytest.fixture
def bucket(cloud, admin):
    name = unique("runtime")
    cloud.client("s3", admin).create_bucket(Bucket=name)
    return name


@pytest.fixture
def stack(cloud, admin, actor, role, bucket):
    """Sends events about one pipeline resource, as an actor who may do only what the function needs."""
    name = unique("pipeline")
    execution_role = role("sagemaker.amazonaws.com", [])
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:pipeline/{name}"
    sagemaker = [f"sagemaker:{verb}Pipeline" for verb in ("Create", "Update", "Describe", "Delete")]
    sagemaker += [f"sagemaker:{verb}Tags" for verb in ("Add", "List", "Delete")]
    function = actor(
        [
            allow([*sagemaker, "sagemaker:ListPipelineExecutions"], arn),
            allow("sagemaker:StopPipelineExecution", f"{arn}/execution/*"),
            allow("iam:PassRole", execution_role),
            allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*.zip"),
            allow("s3:PutObject", f"arn:aws:s3:::{bucket}/code/*"),
        ]
    )
    pipelines = Pipelines(cloud.client("sagemaker", function), cloud.client("s3", function))
    body = DEFINITION.read_bytes()
    code = code_member(hashlib.sha256(b"code").hexdigest())
    bundle = zip_of({BUNDLED: body, code: b"code"})
    cloud.client("s3", admin).put_object(Bucket=bucket, Key="bundle.zip", Body=bundle)
    names = ("DataBucket", "EvaluateCode", "ImageUri", "KmsKeyArn", "ModelPackageGroupName", "PreprocessCode")
    values = dict.fromkeys((*names, "TrainCode", "ValidateCode"), "stand-in")
    # The cloud checks the form of what a step's request names.
    values |= {name: "s3://stand-in/code.zip" for name in values if name.endswith("Code")}

    def properties(**changes):
        return {
            "PipelineName": name,
            "RoleArn": execution_role,
            "BundleBucket": bucket,
            "BundleKey": "bundle.zip",
            "DefinitionSha256": hashlib.sha256(body).hexdigest(),
            "CodeBucket": bucket,
            "CodePrefix": "code/",
            "ParallelismMax": "4",
            "Values": {**values, "ExecutionRoleArn": execution_role},
            "Tags": {"team": "risk"},
            **changes,
        }

    def send(kind, new, old=None):
        event = {
            "RequestType": kind,
            "RequestId": str(uuid.uuid4()),
            "StackId": "arn:aws:cloudformation:us-east-1:000000000000:stack/app/1",
            "LogicalResourceId": "Pipeline",
            "ResourceProperties": new,
            "OldResourceProperties": old or {},
        }
        request = parse(event if kind == "Create" else {**event, "PhysicalResourceId": name})
        return remove(request, pipelines, stop_seconds=30) if kind == "Delete" else apply(request, pipelines)

    return name, properties, send


def test_pipeline_through_its_life(cloud, admin, stack):
    name, properties, send = stack
    sagemaker = cloud.client("sagemaker", admin)
    first = send("Create", properties())
    described = sagemaker.describe_pipeline(PipelineName=name)
    assert described["PipelineArn"] == first["Data"]["PipelineArn"]
    assert described["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 4}
    assert "${" not in described["PipelineDefinition"]
    (kept,) = cloud.client("s3", admin).list_objects_v2(Bucket=properties()["CodeBucket"], Prefix="code/")[
        "Contents"
    ]
    assert kept["Key"] == code_member(hashlib.sha256(b"code").hexdigest())

    assert send("Update", properties(), properties()) == first
    assert sagemaker.describe_pipeline(PipelineName=name)["LastModifiedTime"] == described["LastModifiedTime"]

    changed = properties(ParameterDefaults={"MseThreshold": "7.5"}, Tags={"owner": "ml"}, Description="Loans")
    second = send("Update", changed, properties())
    assert second["Data"]["DefinitionSha256"] != first["Data"]["DefinitionSha256"]
    described = sagemaker.describe_pipeline(PipelineName=name)
    parameters = {
        p["Name"]: p.get("DefaultValue") for p in json.loads(described["PipelineDefinition"])["Parameters"]
    }
    assert parameters["MseThreshold"] == 7.5
    assert described["PipelineDescription"] == "Loans"
    tags = {t["Key"] for t in sagemaker.list_tags(ResourceArn=described["PipelineArn"])["Tags"]}
    assert tags == {"owner", "modelyard:stack", "modelyard:logical-id"}

    with pytest.raises(PipelineError, match="unknown parameter MseTreshold"):
        send("Update", properties(ParameterDefaults={"MseTreshold": "7"}), changed)
    assert (
        sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"]
        == described["PipelineDefinition"]
    )

    for _ in range(2):
        send("Delete", changed)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker.describe_pipeline(PipelineName=name)
