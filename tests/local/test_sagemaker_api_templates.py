"""Stacks of SageMaker resources: create, update in place, replace, roll back, delete."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from localcloud.context import Cloud, Credentials
from tests.local.support import unique

ARN = "arn:aws:sagemaker:us-east-1:000000000000:"
SERVER = r"""
import http.server, os

class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(os.environ.get("GREETING", "hello").encode() + b" " + body)

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

host, port = os.environ.get("SAGEMAKER_BIND_TO_HOST", "127.0.0.1"), os.environ["SAGEMAKER_BIND_TO_PORT"]
http.server.ThreadingHTTPServer((host, int(port)), Server).serve_forever()
"""
Resources = dict[str, Any]


@pytest.fixture(scope="module")
def image(cloud: Cloud, admin: Credentials, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image whose server greets."""
    folder, repository = tmp_path_factory.mktemp("image"), unique("greeter")
    cloud.client("ecr", admin).create_repository(repositoryName=repository)
    (folder / "serve.py").write_text(SERVER)
    (folder / "Dockerfile").write_text(
        'FROM python:3.11\nCOPY serve.py /opt/serve.py\nENTRYPOINT ["python", "/opt/serve.py"]\n'
    )
    uri = f"000000000000.dkr.ecr.us-east-1.amazonaws.com/{repository}:1"
    environment = {
        "PATH": "/usr/bin:/bin",
        "MODELYARD_STATE": str(cloud.folder.root),
        **cloud.environment(admin),
    }
    for command in (["build", "--tag", uri, str(folder)], ["push", uri]):
        subprocess.run(
            [sys.executable, "-m", "localcloud.containers.docker_cli", *command],
            check=True,
            env=environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
        )
    return uri


@pytest.fixture(scope="module")
def execution_role(role: Callable[..., str]) -> str:
    return role("sagemaker.amazonaws.com", [{"Effect": "Allow", "Action": "*", "Resource": "*"}])


class Stack:
    """A stack of one test."""

    def __init__(self, cloud: Cloud, admin: Credentials) -> None:
        self.name = unique("stack")
        self.client = cloud.client("cloudformation", admin)

    def create(self, resources: Resources) -> dict[str, str]:
        self.client.create_stack(StackName=self.name, TemplateBody=template(resources))
        return self._end("stack_create_complete")

    def update(self, resources: Resources) -> dict[str, str]:
        self.client.update_stack(StackName=self.name, TemplateBody=template(resources))
        return self._end("stack_update_complete")

    def delete(self) -> None:
        self.client.delete_stack(StackName=self.name)
        self.client.get_waiter("stack_delete_complete").wait(StackName=self.name, WaiterConfig={"Delay": 1})

    def status(self) -> str:
        return str(self.client.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"])

    def reasons(self) -> str:
        events = self.client.describe_stack_events(StackName=self.name)["StackEvents"]
        return "\n".join(event.get("ResourceStatusReason", "") for event in events)

    def _end(self, waiter: str) -> dict[str, str]:
        self.client.get_waiter(waiter).wait(
            StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )
        stack = self.client.describe_stacks(StackName=self.name)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


@pytest.fixture
def stack(cloud: Cloud, admin: Credentials) -> Stack:
    return Stack(cloud, admin)


def template(resources: Resources) -> str:
    attributes = {
        "Model": "ModelName",
        "Config": "EndpointConfigName",
        "Endpoint": "EndpointName",
        "Group": "ModelPackageGroupArn",
    }
    outputs: dict[str, Any] = {}
    for name in resources:
        outputs[f"{name}Ref"] = {"Value": {"Ref": name}}
        outputs[f"{name}Att"] = {"Value": {"Fn::GetAtt": [name, attributes[name]]}}
    return json.dumps({"Resources": resources, "Outputs": outputs})


def resources(image: str, execution_role: str, **changes: Any) -> Resources:
    """A model, its configuration and its endpoint, with the changes that a test makes."""
    environment = {"GREETING": changes.get("greeting", "hello")}
    return {
        "Model": {
            "Type": "AWS::SageMaker::Model",
            "Properties": {
                "ExecutionRoleArn": execution_role,
                "PrimaryContainer": {"Image": image, "Environment": environment},
            },
        },
        "Config": {
            "Type": "AWS::SageMaker::EndpointConfig",
            "Properties": {
                "ProductionVariants": [
                    {
                        "VariantName": "all",
                        "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
                        "InstanceType": "ml.m5.large",
                        # Templates may give numbers as text, as parameters do.
                        "InitialInstanceCount": "1",
                    }
                ]
            },
        },
        "Endpoint": {
            "Type": "AWS::SageMaker::Endpoint",
            "Properties": {
                "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
                "RetainAllVariantProperties": True,
                "Tags": [{"Key": "team", "Value": changes.get("team", "red")}],
            },
        },
    }


def greeting(cloud: Cloud, admin: Credentials, endpoint: str) -> str:
    runtime = cloud.client("sagemaker-runtime", admin)
    return str(runtime.invoke_endpoint(EndpointName=endpoint, Body=b"you")["Body"].read().decode())


def test_an_endpoint_from_creation_to_deletion(
    cloud: Cloud, admin: Credentials, sagemaker: Any, stack: Stack, image: str, execution_role: str
) -> None:
    first = stack.create(resources(image, execution_role))
    endpoint = first["EndpointAtt"]
    assert first["EndpointRef"] == f"{ARN}endpoint/{endpoint.lower()}"
    assert first["ModelRef"] == f"{ARN}model/{first['ModelAtt'].lower()}"
    assert first["ConfigRef"] == f"{ARN}endpoint-config/{first['ConfigAtt'].lower()}"
    assert first["EndpointAtt"].startswith(f"{stack.name}-Endpoint-")
    assert sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"
    assert greeting(cloud, admin, endpoint) == "hello you"
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=endpoint, DesiredWeightsAndCapacities=[{"VariantName": "all", "DesiredInstanceCount": 2}]
    )
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=endpoint, WaiterConfig={"Delay": 1})

    second = stack.update(resources(image, execution_role, greeting="good day", team="blue"))
    assert second["EndpointRef"] == first["EndpointRef"]
    assert second["ModelAtt"] != first["ModelAtt"]
    assert second["ConfigAtt"] != first["ConfigAtt"]
    assert greeting(cloud, admin, endpoint) == "good day you"
    described = sagemaker.describe_endpoint(EndpointName=endpoint)
    assert described["EndpointConfigName"] == second["ConfigAtt"]
    assert described["ProductionVariants"][0]["DesiredInstanceCount"] == 2, "retained, as the template says"
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=first["EndpointRef"])["Tags"]}
    assert tags["team"] == "blue"
    assert tags["aws:cloudformation:stack-name"] == stack.name
    for call in (
        lambda: sagemaker.describe_model(ModelName=first["ModelAtt"]),
        lambda: sagemaker.describe_endpoint_config(EndpointConfigName=first["ConfigAtt"]),
    ):
        with pytest.raises(ClientError, match="Could not find"):
            call()

    stack.delete()
    assert sagemaker.list_endpoints(NameContains=stack.name)["Endpoints"] == []
    assert sagemaker.list_endpoint_configs(NameContains=stack.name)["EndpointConfigs"] == []
    assert sagemaker.list_models(NameContains=stack.name)["Models"] == []


def test_an_update_that_cannot_start_rolls_back(
    cloud: Cloud, admin: Credentials, sagemaker: Any, stack: Stack, image: str, execution_role: str
) -> None:
    first = stack.create(resources(image, execution_role))
    with pytest.raises(WaiterError):
        stack.update(resources(f"{image}-missing", execution_role))
    assert stack.status() == "UPDATE_ROLLBACK_COMPLETE"
    assert "did not get into service with" in stack.reasons()
    endpoint = first["EndpointAtt"]
    assert greeting(cloud, admin, endpoint) == "hello you"
    described = sagemaker.describe_endpoint(EndpointName=endpoint)
    assert described["EndpointConfigName"] == first["ConfigAtt"]
    assert len(sagemaker.list_models(NameContains=stack.name)["Models"]) == 1
    stack.delete()


def test_an_endpoint_that_cannot_start_leaves_nothing(
    sagemaker: Any, stack: Stack, image: str, execution_role: str
) -> None:
    with pytest.raises(WaiterError):
        stack.create(resources(f"{image}-missing", execution_role))
    assert stack.status() == "ROLLBACK_COMPLETE"
    assert "did not get into service with" in stack.reasons()
    assert sagemaker.list_endpoints(NameContains=stack.name)["Endpoints"] == []
    assert sagemaker.list_models(NameContains=stack.name)["Models"] == []
    stack.delete()


def group(name: str, description: str, team: str) -> Resources:
    properties = {
        "ModelPackageGroupName": name,
        "ModelPackageGroupDescription": description,
        "Tags": [{"Key": "team", "Value": team}],
    }
    return {"Group": {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": properties}}


def test_group(sagemaker: Any, stack: Stack) -> None:
    name = unique("group")
    arn = f"{ARN}model-package-group/{name}"
    assert stack.create(group(name, "d", "red")) == {"GroupRef": arn, "GroupAtt": arn}
    created = sagemaker.describe_model_package_group(ModelPackageGroupName=name)["CreationTime"]
    stack.update(group(name, "d", "blue"))
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert tags["team"] == "blue"
    assert sagemaker.describe_model_package_group(ModelPackageGroupName=name)["CreationTime"] == created
    renamed = stack.update(group(f"{name}-b", "d", "blue"))
    assert renamed["GroupRef"] == f"{arn}-b"
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_model_package_group(ModelPackageGroupName=name)
    stack.delete()


def test_a_group_that_a_stack_does_not_own_is_not_taken_over(sagemaker: Any, stack: Stack) -> None:
    name = unique("group")
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    with pytest.raises(WaiterError):
        stack.create(group(name, "d", "red"))
    assert "Model Package Group already exists" in stack.reasons()
    assert sagemaker.describe_model_package_group(ModelPackageGroupName=name)
    stack.delete()


def test_a_group_with_versions_keeps_its_stack(sagemaker: Any, stack: Stack) -> None:
    name = unique("group")
    stack.create(group(name, "d", "red"))
    arn = sagemaker.create_model_package(ModelPackageGroupName=name)["ModelPackageArn"]
    with pytest.raises(WaiterError):
        stack.delete()
    assert stack.status() == "DELETE_FAILED"
    sagemaker.delete_model_package(ModelPackageName=arn)
    stack.delete()
