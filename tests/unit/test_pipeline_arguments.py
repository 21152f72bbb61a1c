"""Arguments of steps are held against the request that they become."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from localcloud.sagemaker.pipelines.definition import parse_definition
from localcloud.sagemaker.pipelines.problems import DefinitionError

STEP: dict[str, Any] = {
    "Name": "Prepare",
    "Type": "Processing",
    "Arguments": {
        "RoleArn": "arn:aws:iam::000000000000:role/r",
        "AppSpecification": {"ImageUri": {"Std:Join": {"On": "", "Values": ["a"]}}},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": {"Get": "Parameters.Count"},
                "VolumeSizeInGB": 1,
            }
        },
    },
}
CLUSTER = ("ProcessingResources", "ClusterConfig")


def text(**changes: Any) -> str:
    step = copy.deepcopy(STEP)
    step["Arguments"].update(changes)
    parameters = [{"Name": "Count", "Type": "Integer", "DefaultValue": 1}]
    return json.dumps({"Version": "2020-12-01", "Parameters": parameters, "Steps": [step]})


def cluster(**changes: Any) -> dict[str, Any]:
    return {"ClusterConfig": {**STEP["Arguments"]["ProcessingResources"]["ClusterConfig"], **changes}}


def test_computed_values_and_given_names_stand_for_any_value() -> None:
    parse_definition(text(ProcessingJobName="prefix"), arguments=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Bogus": 1}, "Arguments.Bogus is no member of CreateProcessingJob"),
        ({"ProcessingResources": {}}, "Arguments.ProcessingResources lacks ClusterConfig"),
        ({"ProcessingResources": []}, "must be an object"),
        ({"ProcessingResources": cluster(InstanceCount="one")}, "InstanceCount: STRING_VALUE"),
        ({"ProcessingResources": cluster(InstanceCount=0)}, "greater than or equal to 1"),
        ({"ProcessingResources": cluster(InstanceType="ml.bogus")}, "enum value set"),
        ({"ProcessingResources": cluster(Colour="red")}, "ClusterConfig.Colour is no member"),
        ({"ProcessingInputs": {}}, "ProcessingInputs must be a list"),
        ({"Environment": {"A": 1}}, "Environment['A']: NUMBER_VALUE"),
    ],
)
def test_what_create_refuses_names_the_step_and_the_member(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=r"Step 'Prepare'.*" + re.escape(words)):
        parse_definition(text(**changes), arguments=True)
    parse_definition(text(**changes))


def typed(kind: str, value: Any) -> str:
    """A definition with a parameter X of this type, and a second step whose environment is given."""
    first, second = copy.deepcopy(STEP), copy.deepcopy(STEP)
    second["Name"] = "Score"
    second["Arguments"].update(value)
    asked = {"Name": "Ask", "Type": "Callback", "SqsQueueUrl": "https://sqs/q", "Arguments": {}}
    asked["OutputParameters"] = [{"OutputName": "N", "OutputType": kind}]
    parameters = [
        {"Name": "Count", "Type": "Integer", "DefaultValue": 1},
        {"Name": "X", "Type": kind},
    ]
    return json.dumps({"Version": "2020-12-01", "Parameters": parameters, "Steps": [first, asked, second]})


INSTANCES = "Steps.Prepare.ProcessingResources.ClusterConfig.InstanceCount"
X, N = "Parameters.X", "Steps.Ask.OutputParameters['N']"


@pytest.mark.parametrize(
    ("kind", "path", "member", "wanted"),
    [
        *((kind, X, "Environment", "String") for kind in ("Integer", "Float", "Boolean")),
        *((kind, X, "ContainerArguments", "String") for kind in ("Integer", "Float", "Boolean")),
        *((kind, X, "ContainerEntrypoint", "String") for kind in ("Integer", "Float", "Boolean")),
        *((kind, N, "Environment", "String") for kind in ("Integer", "Float", "Boolean")),
        ("String", INSTANCES, "Environment", "String"),
        *((kind, X, "InstanceCount", "Integer") for kind in ("String", "Float", "Boolean")),
        *((kind, X, "EnableNetworkIsolation", "Boolean") for kind in ("String", "Integer")),
        ("String", N, "InstanceCount", "Integer"),
    ],
)
def test_a_reference_of_another_type_is_refused_when_the_pipeline_is_created(
    kind: str, path: str, member: str, wanted: str
) -> None:
    found = re.escape(f"Cannot assign property reference [{path}] to argument of type [{wanted}]")
    with pytest.raises(DefinitionError, match=rf"Step 'Score': Arguments\..*{found}") as refused:
        parse_definition(typed(kind, placed(member, {"Get": path})), arguments=True)
    assert ("Std:Join" in str(refused.value)) == (wanted == "String")
    parse_definition(typed(kind, placed(member, {"Get": path})))


def placed(member: str, value: Any) -> dict[str, Any]:
    """Arguments with a value at one of the places that the test names."""
    image = STEP["Arguments"]["AppSpecification"]
    return {
        "Environment": {"Environment": {"X": value}},
        "ContainerArguments": {"AppSpecification": {**image, "ContainerArguments": ["--x", value]}},
        "ContainerEntrypoint": {"AppSpecification": {**image, "ContainerEntrypoint": ["run", value]}},
        "InstanceCount": {"ProcessingResources": cluster(InstanceCount=value)},
        "EnableNetworkIsolation": {"NetworkConfig": {"EnableNetworkIsolation": value}},
    }[member]


@pytest.mark.parametrize(
    ("kind", "path", "member"),
    [
        ("String", X, "Environment"),
        ("String", N, "ContainerArguments"),
        ("Integer", X, "InstanceCount"),
        ("Integer", N, "InstanceCount"),
        ("Integer", INSTANCES, "InstanceCount"),
        ("Boolean", X, "EnableNetworkIsolation"),
        ("String", "Steps.Prepare.ProcessingJobArn", "Environment"),
        ("String", "Steps.Prepare.CreationTime", "Environment"),
        ("String", "Execution.StartDateTime", "Environment"),
    ],
)
def test_a_reference_of_the_type_that_is_wanted_is_taken(kind: str, path: str, member: str) -> None:
    parse_definition(typed(kind, placed(member, {"Get": path})), arguments=True)


@pytest.mark.parametrize("path", [X, N, INSTANCES])
def test_a_number_that_is_joined_is_a_text(path: str) -> None:
    value = {"Std:Join": {"On": "", "Values": [{"Get": path}]}}
    parse_definition(typed("Integer", placed("Environment", value)), arguments=True)


COMPAT = sorted((Path(__file__).parents[1] / "local/compat/definitions").glob("*.json"))


@pytest.mark.parametrize("path", COMPAT, ids=lambda path: path.stem)
def test_what_version_2_and_3_of_the_sdk_write_passes(path: Path) -> None:
    parse_definition(path.read_text(encoding="utf-8"), arguments=True)


def test_a_step_without_arguments_lacks_what_is_required() -> None:
    step = {"Name": "Train", "Type": "Training", "Arguments": {}}
    with pytest.raises(DefinitionError, match="Step 'Train': Arguments lacks RoleArn"):
        parse_definition(json.dumps({"Version": "2020-12-01", "Steps": [step]}), arguments=True)


@pytest.mark.parametrize("path", sorted(Path("pipeline_defs/definitions").glob("*.json")), ids=str)
def test_the_committed_definitions_pass(path: Path) -> None:
    values = {
        "ExecutionRoleArn": "arn:aws:iam::000000000000:role/r",
        "KmsKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k",
        "DataBucket": "bucket",
        "ModelPackageGroupName": "group",
        "ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/image:1",
    }
    filled = re.sub(
        r"\$\{(\w+)\}", lambda found: values.get(found[1], "s3://bucket/code.zip"), path.read_text()
    )
    parse_definition(filled, arguments=True)
