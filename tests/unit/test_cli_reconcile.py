"""`modelyard reconcile` against clients that answer as AWS does."""

import io
import json

import pytest
from botocore.exceptions import ClientError

from modelyard_cli import reconcile
from modelyard_cli.errors import FAILED, UNREACHABLE, CliError


class Formation:
    def __init__(self, deployed):
        self.deployed = deployed

    def describe_stack_resources(self, StackName):
        if StackName != self.deployed:
            error = {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}
            raise ClientError({"Error": error}, "DescribeStackResources")
        found = [
            ("DeployerFunctionLogs1", "AWS::Logs::LogGroup", "/aws/lambda/deployer"),
            ("DeployerFunction2", "AWS::Lambda::Function", "deployer"),
        ]
        names = ("LogicalResourceId", "ResourceType", "PhysicalResourceId")
        return {"StackResources": [dict(zip(names, each, strict=True)) for each in found]}


class Functions:
    def __init__(self, answer, **members):
        self.answer, self.members = answer, members

    def invoke(self, FunctionName, Payload):
        assert (FunctionName, json.loads(Payload)) == ("deployer", {"group": "loans"})
        return {"Payload": io.BytesIO(json.dumps(self.answer).encode()), **self.members}


@pytest.fixture
def call(monkeypatch):
    monkeypatch.delenv("MODELYARD_ENV", raising=False)

    def run(functions, deployed="modelyard-local-serving"):
        monkeypatch.setattr(reconcile, "client", lambda name: Formation(deployed))
        monkeypatch.setattr(reconcile.boto3, "client", lambda name, config: functions)
        reconcile.reconcile("loans", as_json=True)

    return run


@pytest.mark.parametrize("version", [7, None])
def test_says_what_serves(call, capsys, version):
    call(Functions({"serving": {"loans": version}}))
    assert json.loads(capsys.readouterr().out) == {"group": "loans", "serving": version}


def test_says_why_not(call):
    answer = {"errorMessage": "loans version 7: golden row 0", "errorType": "ReconcileError"}
    with pytest.raises(CliError, match="golden row 0") as caught:
        call(Functions(answer, FunctionError="Unhandled"))
    assert caught.value.code == FAILED


def test_says_that_nothing_is_deployed(call):
    with pytest.raises(CliError, match=r"no Modelyard stack modelyard-local-serving .* ENV=local") as caught:
        call(Functions({}), deployed="modelyard-prod-serving")
    assert caught.value.code == UNREACHABLE


def test_calls_the_deployer_of_the_environment_that_is_named(call, monkeypatch, capsys):
    monkeypatch.setenv("MODELYARD_ENV", "prod")
    call(Functions({"serving": {"loans": 7}}), deployed="modelyard-prod-serving")
    assert json.loads(capsys.readouterr().out)["serving"] == 7
