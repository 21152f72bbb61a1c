"""A pipeline's custom resource with SageMaker and S3 in memory."""

import hashlib
import io
import json
from types import SimpleNamespace

import botocore.session
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from pipeline_runtime.bundle import DEFINITION, code_member
from pipeline_runtime.pipelines import Pipelines
from pipeline_runtime.request import parse
from pipeline_runtime.upsert import apply, remove

from modelyard.archives import zip_of

MODEL = botocore.session.get_session().get_service_model("sagemaker")
ROLE = "arn:aws:iam::000000000000:role/pipeline"


def client_error(code, message="refused", operation="op"):
    status = {"HTTPStatusCode": 400}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": status}, operation)


class CrashError(Exception):
    """The function ends between two calls."""


class FakeSageMaker:
    """Pipelines in memory behind boto3's interface; checks every request against botocore's model."""

    def __init__(self):
        self.pipelines = {}
        self.tag_sets = {}
        self.executions = {}
        self.calls = []
        self.fail = {}
        self.stops_after = 1
        self.tokens = {}

    def __getattr__(self, name):
        operation = "".join(part.capitalize() for part in name.split("_"))
        shape = MODEL.operation_model(operation).input_shape

        def call(**request):
            report = ParamValidator().validate(request, shape)
            assert not report.has_errors(), report.generate_report()
            self.calls.append(operation)
            if operation in self.fail:
                raise self.fail[operation]
            return getattr(self, f"_{name}")(**request)

        return call

    def get_paginator(self, name):
        def paginate(**request):
            token = {}
            while True:
                page = getattr(self, name)(**request, **token)
                yield page
                if "NextToken" not in page:
                    return
                token = {"NextToken": page["NextToken"]}

        return SimpleNamespace(paginate=paginate)

    def _arn(self, name):
        return f"arn:aws:sagemaker:eu-west-1:000000000000:pipeline/{name.lower()}"

    def _existing(self, name):
        if name not in self.pipelines:
            raise client_error("ResourceNotFound", f"Pipeline '{name}' does not exist.")
        return self.pipelines[name]

    def _describe_pipeline(self, PipelineName):
        return {"PipelineStatus": "Active", **self._existing(PipelineName)}

    def _create_pipeline(self, PipelineName, Tags, ClientRequestToken, **members):
        if PipelineName in self.pipelines and self.tokens.get(PipelineName) != ClientRequestToken:
            raise client_error("ValidationException", f"Pipeline names must be unique ... {PipelineName}")
        arn = self._arn(PipelineName)
        self.pipelines[PipelineName] = {"PipelineName": PipelineName, "PipelineArn": arn, **members}
        self.tag_sets[arn] = {tag["Key"]: tag["Value"] for tag in Tags}
        self.tokens[PipelineName] = ClientRequestToken
        return {"PipelineArn": arn}

    def _update_pipeline(self, PipelineName, **members):
        self._existing(PipelineName).update(members)
        return {"PipelineArn": self._arn(PipelineName)}

    def _delete_pipeline(self, PipelineName, ClientRequestToken):
        self._existing(PipelineName)
        if any(status in ("Executing", "Stopping") for status in self.executions.values()):
            raise client_error("ConflictException", "has running executions")
        del self.pipelines[PipelineName]
        del self.tag_sets[self._arn(PipelineName)]
        return {"PipelineArn": self._arn(PipelineName)}

    def _list_tags(self, ResourceArn, NextToken=None):
        # One a page, so that a reader of the first page only would be caught.
        tags = sorted(self.tag_sets[ResourceArn].items())
        position = int(NextToken or 0)
        page = {"Tags": [{"Key": k, "Value": v} for k, v in tags[position : position + 1]]}
        return {**page, "NextToken": str(position + 1)} if position + 1 < len(tags) else page

    def _add_tags(self, ResourceArn, Tags):
        self.tag_sets[ResourceArn].update({tag["Key"]: tag["Value"] for tag in Tags})
        return {"Tags": Tags}

    def _delete_tags(self, ResourceArn, TagKeys):
        for key in TagKeys:
            self.tag_sets[ResourceArn].pop(key, None)
        return {}

    def _list_pipeline_executions(self, PipelineName, NextToken=None):
        self._existing(PipelineName)
        entries = list(self.executions.items())
        position = int(NextToken or 0)
        summaries = [
            {"PipelineExecutionArn": arn, "PipelineExecutionStatus": status}
            for arn, status in entries[position : position + 1]
        ]
        page = {"PipelineExecutionSummaries": summaries}
        return {**page, "NextToken": str(position + 1)} if position + 1 < len(entries) else page

    def _stop_pipeline_execution(self, PipelineExecutionArn, ClientRequestToken):
        self.executions[PipelineExecutionArn] = "Stopping"
        return {"PipelineExecutionArn": PipelineExecutionArn}

    def pass_time(self, _seconds):
        self.stops_after -= 1
        if self.stops_after <= 0:
            self.executions = {a: "Stopped" if s == "Stopping" else s for a, s in self.executions.items()}


class FakeS3:
    def __init__(self):
        self.objects = {}
        self.refuse_writes = False

    def store(self, definition):
        body = json.dumps(definition).encode()
        digest = hashlib.sha256(body).hexdigest()
        code = zip_of({"step.py": b"print()"})
        member = code_member(hashlib.sha256(code).hexdigest())
        self.objects["assets", f"{digest}.zip"] = zip_of({DEFINITION: body, member: code})
        return {
            "BundleBucket": "assets",
            "BundleKey": f"{digest}.zip",
            "DefinitionSha256": digest,
            "CodeBucket": "data",
            "CodePrefix": "code/",
        }

    def put_object(self, Bucket, Key, Body):
        if self.refuse_writes:
            raise client_error("AccessDenied", "not yours")
        self.objects[Bucket, Key] = Body

    def get_object(self, Bucket, Key):
        if (Bucket, Key) not in self.objects:
            raise client_error("NoSuchKey", "The specified key does not exist.")
        return {"Body": io.BytesIO(self.objects[Bucket, Key])}


def definition(label="first"):
    step = {"Name": "Train", "Type": "Training", "Arguments": {"RoleArn": "${Role}", "Label": label}}
    return {"Version": "2020-12-01", "Parameters": [], "Steps": [step]}


class World:
    """A stack with one pipeline resource, told what CloudFormation would tell it."""

    def __init__(self):
        self.sagemaker, self.s3 = FakeSageMaker(), FakeS3()
        self.pipelines = Pipelines(self.sagemaker, self.s3)
        self.requests = 0

    def properties(self, name="loans", label="first", **changes):
        return {
            "ServiceToken": "arn:aws:lambda:eu-west-1:000000000000:function:framework",
            "PipelineName": name,
            "RoleArn": ROLE,
            **self.s3.store(definition(label)),
            "ParallelismMax": "4",
            "Values": {"Role": ROLE},
            "Tags": {"team": "risk"},
            "Description": "Loans",
            **changes,
        }

    def event(self, kind, properties, *, old=None, physical_id=None, logical_id="Pipeline", stack="app"):
        self.requests += 1
        event = {
            "RequestType": kind,
            "RequestId": f"00000000-0000-0000-0000-{self.requests:012d}",
            "StackId": f"arn:aws:cloudformation:eu-west-1:000000000000:stack/{stack}/uuid",
            "LogicalResourceId": logical_id,
            "ResourceProperties": properties,
        }
        if old is not None:
            event["OldResourceProperties"] = old
        if physical_id is not None:
            event["PhysicalResourceId"] = physical_id
        return event

    def send(self, event):
        request = parse(event)
        if request.type == "Delete":
            clock = iter(range(0, 10_000, 5))
            return remove(
                request,
                self.pipelines,
                stop_seconds=60,
                sleep=self.sagemaker.pass_time,
                clock=lambda: next(clock),
            )
        return apply(request, self.pipelines)

    def create(self, **changes):
        return self.send(self.event("Create", self.properties(**changes)))

    def tags(self, name="loans"):
        return self.sagemaker.tag_sets[self.sagemaker._arn(name)]
