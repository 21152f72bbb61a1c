"""What holds for the code of every Lambda function."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import inference_runtime.settings
import pipeline_runtime.settings
import pytest
import serving_runtime.settings

LIBRARY = Path(__file__).parents[2] / "constructs" / "modelyard"
SETTINGS = {
    "pipeline": pipeline_runtime.settings.Settings(stop_seconds=30),
    "serving": serving_runtime.settings.Settings(
        endpoint_name="e", table_name="t", groups=("a", "b"), artifact_bucket="bucket", kms_key_arn="arn:key"
    ),
    "inference": inference_runtime.settings.Settings(endpoint_name="e", table_name="t", models=("a", "b")),
}
# Importing the handler as Lambda does, and saying what came with it.
PROBE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from runtime.handler import handle
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("domain", SETTINGS)
def test_handler_imports_from_its_asset_alone(domain, tmp_path):
    shutil.copytree(LIBRARY / domain / "runtime", tmp_path / "runtime")
    environment = {"AWS_DEFAULT_REGION": "eu-west-1", **SETTINGS[domain].to_environment()}
    run = subprocess.run(
        [sys.executable, "-I", "-c", PROBE, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loaded = set(json.loads(run.stdout))
    assert "botocore" in loaded
    assert not loaded & {"aws_cdk", "modelyard", "jsii", "constructs", "localcloud", "training"}
    # Callers wait for this function's cold start, and every import is part of it.
    assert domain != "inference" or not loaded & {"boto3", "s3transfer"}


@pytest.mark.parametrize("domain", SETTINGS)
def test_settings_survive_the_environment(domain):
    settings = SETTINGS[domain]
    environment = settings.to_environment()
    assert all(isinstance(value, str) for value in environment.values())
    assert type(settings).from_environment(environment) == settings
    for name in environment:
        with pytest.raises(KeyError, match=name):
            type(settings).from_environment({k: v for k, v in environment.items() if k != name})


@pytest.mark.parametrize("domain", SETTINGS)
def test_construct_reads_settings_without_boto3(domain):
    code = f"import sys; sys.path.insert(0, {str(LIBRARY / domain)!r}); import runtime.settings; " + (
        "assert not {'boto3', 'botocore'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "domains"), [("log.py", tuple(SETTINGS)), ("invoke.py", ("serving", "inference"))]
)
def test_modules_that_two_functions_carry_are_one(name, domains):
    # A function's asset holds its own folder only, so that each carries a copy.
    assert len({(LIBRARY / domain / "runtime" / name).read_bytes() for domain in domains}) == 1


@pytest.mark.parametrize(
    ("domain", "changes"),
    [
        ("pipeline", {"stop_seconds": 0}),
        ("pipeline", {"stop_seconds": 900}),
        ("pipeline", {"denied_seconds": -1}),
        ("pipeline", {"denied_seconds": 900}),
        ("serving", {"groups": ()}),
        ("serving", {"groups": ("a", "")}),
        ("serving", {"endpoint_name": ""}),
        ("serving", {"artifact_prefix": "models/multi"}),
        ("serving", {"replay_seconds": 900}),
        ("serving", {"max_artifact_bytes": 0}),
        ("inference", {"models": ()}),
        ("inference", {"table_name": ""}),
        ("inference", {"cache_seconds": -1}),
        ("inference", {"max_body_bytes": 7_000_000}),
        ("inference", {"max_rows": 0}),
        ("inference", {"retry_seconds": 850}),
    ],
)
def test_impossible_settings_are_refused_by_name(domain, changes):
    settings = SETTINGS[domain]
    given = {name: getattr(settings, name) for name in type(settings).__dataclass_fields__}
    with pytest.raises(ValueError, match=next(iter(changes))):
        type(settings)(**{**given, **changes})
