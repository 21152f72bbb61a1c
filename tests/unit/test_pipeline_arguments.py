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
