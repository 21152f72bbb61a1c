"""Pipelines: what is wrong fails at synth."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from modelyard.pipeline import PipelineData, PipelineDefinition, SageMakerPipeline, StepCode
from modelyard.pipeline.runtime.bundle import read
from modelyard.registry import ModelRegistry
from modelyard.storage import DataBucket


def _definition(tmp_path, text="${DataBucket}", **options):
    document = {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": "Rows", "Type": "Integer", "DefaultValue": 10},
            {"Name": "Mode", "Type": "String", "DefaultValue": "a", "EnumValues": ["a", "b"]},
        ],
        "Steps": [
            {
                "Name": "Stop",
                "Type": "Fail",
                "Arguments": {
                    "ErrorMessage": {
                        "Std:Join": {
                            "On": text,
                            "Values": [{"Get": "Parameters.Rows"}, {"Get": "Parameters.Mode"}],
                        }
                    }
                },
            }
        ],
    }
    path = tmp_path / "definition.json"
    path.write_text(json.dumps(document))
    return PipelineDefinition(path=path, **options)


def _pipeline(stack, data, definition, **options):
    return SageMakerPipeline(
        stack,
        "Pipeline",
        name="nightly",
        definition=definition,
        data=PipelineData(bucket=data, read=("raw/",), write=("pipelines/nightly/",)),
        **options,
    )


def test_pipeline_alone(stack, data, tmp_path):
    pipeline = _pipeline(stack, data, _definition(tmp_path, parameter_defaults={"Rows": "5", "Mode": "b"}))
    template = Template.from_stack(stack)
    template.has_resource_properties(
        "Custom::SageMakerPipeline",
        {
            "PipelineName": "nightly",
            "ParameterDefaults": {"Rows": "5", "Mode": "b"},
            "Values": {"DataBucket": Match.any_value()},
            "DefinitionSha256": Match.string_like_regexp("^[0-9a-f]{64}$"),
        },
    )
    assert pipeline.pipeline_name == "nightly"


def test_pipelines_of_a_stack_share_the_provider(stack, data, tmp_path):
    definition = _definition(tmp_path)
    for name in ("one", "two"):
        SageMakerPipeline(
            stack, name, name=name, definition=definition, data=PipelineData(bucket=data, read=("raw/",))
        )
    template = Template.from_stack(stack)
    template.resource_count_is("AWS::Lambda::Function", 1)
    template.resource_count_is("Custom::SageMakerPipeline", 2)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("${DataBuckett}", {}, "no value for ${DataBuckett}"),
        ("", {"parameter_defaults": {"Row": "1"}}, "unknown parameter Row; declared: Rows, Mode"),
        ("", {"parameter_defaults": {"Rows": "many"}}, "'many', which is not of type Integer"),
        ("", {"parameter_defaults": {"Mode": "c"}}, "'c'; allowed: a, b"),
    ],
)
def test_bad_definitions_fail_at_synth(stack, data, tmp_path, text, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        _pipeline(stack, data, _definition(tmp_path, text, **options))


def test_code_that_no_placeholder_asks_for_is_refused(stack, data, tmp_path):
    (tmp_path / "step.py").write_text("")
    code = {"StepCode": StepCode(root=tmp_path, files=("step.py",))}
    with pytest.raises(ValueError, match="value given for StepCode"):
        _pipeline(stack, data, _definition(tmp_path), code=code)


@pytest.mark.parametrize("name", ["", "nightly run", "-nightly"])
def test_pipeline_refuses_bad_names(stack, data, tmp_path, name):
    with pytest.raises(ValueError, match="1 to 256 letters"):
        SageMakerPipeline(
            stack, "P", name=name, definition=_definition(tmp_path), data=PipelineData(bucket=data)
        )


def test_the_role_may_run_what_the_definition_has_and_no_more(stack, data, tmp_path):
    steps = [
        {
            "Name": "Gate",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [{"Type": "Equals", "LeftValue": {"Get": "Parameters.Rows"}, "RightValue": 1}],
                "IfSteps": [{"Name": "Search", "Type": "Tuning", "Arguments": {}}],
                "ElseSteps": [],
            },
        }
    ]
    definition = _definition(tmp_path)
    document = json.loads(definition.path.read_text())
    definition.path.write_text(json.dumps(document | {"Steps": [*document["Steps"], *steps]}))
    assert definition.step_types == {"Fail", "Condition", "Tuning"}
    _pipeline(stack, data, definition)
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    actions = {action for policy in policies for action in _actions(policy) if "Job" in action}
    assert actions == {
        "sagemaker:CreateHyperParameterTuningJob",
        "sagemaker:DescribeHyperParameterTuningJob",
        "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
        "sagemaker:StopHyperParameterTuningJob",
    }


def _actions(policy):
    for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
        yield from [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]


def test_code_archives_hold_exactly_the_files(new_app, tmp_path):
    for name in ("lib/a/step.py", "lib/a/other.py", "lib/b/step.py", "lib/__init__.py", "step.py"):
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text(name)
    app = new_app(outdir=str(tmp_path / "out"))
    stack = cdk.Stack(app, "Test")
    wanted = ("lib/__init__.py", "lib/a/step.py")
    step = StepCode(root=tmp_path / "code", files=wanted)
    definition = _definition(tmp_path, "${StepCode}")
    _pipeline(stack, DataBucket(stack, "Data"), definition, code={"StepCode": step})
    app.synth()
    (resource,) = Template.from_stack(stack).find_resources("Custom::SageMakerPipeline").values()
    place = tmp_path / "out" / f"asset.{resource['Properties']['BundleKey']}"
    bundle = read(place.read_bytes(), "the bundle")
    assert bundle.definition == definition.path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(bundle.code[step.sha256])) as code:
        assert {name: code.read(name).decode() for name in code.namelist()} == {n: n for n in wanted}
    assert f"code/{step.sha256}.zip" in json.dumps(resource["Properties"]["Values"]["StepCode"])


def test_a_code_archive_is_named_by_its_content_alone(tmp_path):
    for copy in ("one", "two"):
        (tmp_path / copy).mkdir()
        (tmp_path / copy / "step.py").write_text("x = 1")
    os.utime(tmp_path / "two" / "step.py", (0, 0))
    (tmp_path / "two" / "step.py").chmod(0o700)
    one, two = (StepCode(root=tmp_path / copy, files=("step.py",)) for copy in ("one", "two"))
    assert one.archive == two.archive


def test_functions_carry_their_runtime_and_nothing_else(synthesize):
    folder = synthesize("local").folder
    carried = {}
    for function in synthesize("local").of_type("AWS::Lambda::Function").values():
        with zipfile.ZipFile(folder / f"asset.{function['Code']['S3Key']}") as bundle:
            names = set(bundle.namelist())
        modelyard, domain, runtime, *_ = function["Handler"].split(".")
        assert f"{modelyard}/{domain}/{runtime}/handler.py" in names
        assert {name.split("/")[1] for name in names} == {"__init__.py", "runtime", domain}
        carried[domain] = names
    assert carried.keys() == {"pipeline", "serving", "inference", "registry", "storage"}


def test_the_cli_uploads_files_as_they_are_under_names_that_say_what_they_are(synthesize):
    """Packed by the CLI, a file would be another; without its suffix, SageMaker would not know an archive."""
    folder = synthesize("local").folder
    found = {}
    for path in folder.glob("*.assets.json"):
        for key, asset in json.loads(path.read_text())["files"].items():
            source, (destination,) = asset["source"], asset["destinations"].values()
            if source["path"].endswith(".template.json"):
                continue
            assert source["packaging"] == "file"
            assert source["path"] == f"asset.{destination['objectKey']}"
            assert destination["objectKey"].removesuffix(Path(source["path"]).suffix) == key
            assert hashlib.sha256((folder / source["path"]).read_bytes()).hexdigest() == key
            found.setdefault(Path(source["path"]).suffix, []).append(asset["displayName"])
    assert {"modelyard.serving.runtime", "pipeline refinance-interest-rate"} <= set(found[".zip"])


def test_each_pipeline_has_its_permissions_as_long_as_it_lives(stack, data, tmp_path):
    """Statements in a shared policy would be gone before the pipeline that leaves the template."""
    for name in ("one", "two"):
        SageMakerPipeline(
            stack, name, name=name, definition=_definition(tmp_path), data=PipelineData(bucket=data)
        )
    template = Template.from_stack(stack)
    for resource in template.find_resources("Custom::SageMakerPipeline").values():
        name = resource["Properties"]["PipelineName"]
        policies = template.find_resources("AWS::IAM::Policy")
        (own,) = (key for key, policy in policies.items() if f":pipeline/{name}/" in json.dumps(policy))
        assert own in resource["DependsOn"]


def test_a_renamed_pipeline_leaves_the_permissions_of_the_old_one_to_the_clean_up(new_app, tmp_path):
    def own(name):
        stack = cdk.Stack(new_app(), "Test")
        data = PipelineData(bucket=DataBucket(stack, "Data"))
        SageMakerPipeline(stack, "P", name=name, definition=_definition(tmp_path), data=data)
        policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy").items()
        return {key for key, policy in policies if f":pipeline/{name}/" in json.dumps(policy)}

    assert own("old")
    assert not own("old") & own("new")


def test_arns_hold_the_name_in_lower_case(stack, data, tmp_path, role):
    pipeline = SageMakerPipeline(
        stack, "P", name="Nightly-Run", definition=_definition(tmp_path), data=PipelineData(bucket=data)
    )
    pipeline.grant_start(role)
    assert pipeline.pipeline_arn.endswith(":pipeline/nightly-run")
    template = Template.from_stack(stack)
    template.has_resource_properties("Custom::SageMakerPipeline", {"PipelineName": "Nightly-Run"})
    policies = json.dumps(template.find_resources("AWS::IAM::Policy"))
    assert ":pipeline/nightly-run" in policies
    assert ":pipeline/Nightly-Run" not in policies


def test_earlier_code_stays_readable(stack, data, tmp_path):
    """Executions that started before a deployment, and retries of them, name archives of their own."""
    (tmp_path / "step.py").write_text("")
    code = {"StepCode": StepCode(root=tmp_path, files=("step.py",))}
    _pipeline(stack, data, _definition(tmp_path, "${StepCode}"), code=code)
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy")
    (policy,) = (value for key, value in policies.items() if "ExecutionRole" in key)
    text = json.dumps(policy["Properties"]["PolicyDocument"])
    assert '"/code/*"' in text
    assert "cdk-hnb659fds-assets" not in text
    assert not re.search(r"[0-9a-f]{64}\.zip", text)


@pytest.mark.parametrize("write", ["code/", "code/mine/"])
def test_a_pipeline_that_would_write_code_is_refused(stack, data, tmp_path, write):
    with pytest.raises(ValueError, match=r"PipelineData.write has 'code/"):
        SageMakerPipeline(
            stack,
            "P",
            name="nightly",
            definition=_definition(tmp_path),
            data=PipelineData(bucket=data, write=(write,)),
        )


def test_only_the_function_writes_code(stack, data, tmp_path):
    (tmp_path / "step.py").write_text("")
    code = {"StepCode": StepCode(root=tmp_path, files=("step.py",))}
    _pipeline(stack, data, _definition(tmp_path, "${StepCode}"), code=code)
    writers = {
        policy["Properties"]["Roles"][0]["Ref"]
        for policy in Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if "s3:PutObject" in statement["Action"] and '"/code/*"' in json.dumps(statement["Resource"])
    }
    assert [writer.startswith("PipelineProviderFunctionRole") for writer in writers] == [True]


@pytest.mark.parametrize("may_approve", [False, True])
def test_a_pipeline_approves_its_own_models_only_when_told_so(stack, data, tmp_path, may_approve):
    registry = ModelRegistry(stack, "Registry", group_name="models")
    _pipeline(stack, data, _definition(tmp_path), registry=registry, may_approve=may_approve)
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy")
    (policy,) = (value for key, value in policies.items() if "ExecutionRole" in key)
    text = json.dumps(policy)
    assert "sagemaker:CreateModelPackage" in text
    assert ("sagemaker:ModelApprovalStatus" not in text) is may_approve


def test_starting_is_not_changing(stack, data, tmp_path, role):
    _pipeline(stack, data, _definition(tmp_path)).grant_start(role)
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy")
    (policy,) = (value for key, value in policies.items() if key.startswith("Role"))
    text = json.dumps(policy)
    assert "sagemaker:StartPipelineExecution" in text
    assert "UpdatePipeline" not in text
    assert "PassRole" not in text
