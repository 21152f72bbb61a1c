"""What holds for the code of every Lambda function."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import inference_runtime.settings
import pipeline_runtime.settings
import pytest
import serving_runtime.settings
import training_runtime.settings

from modelyard.archives import function_code

LIBRARY = Path(__file__).parents[2] / "constructs" / "modelyard"
SETTINGS = {
    "pipeline": pipeline_runtime.settings.Settings(stop_seconds=30),
    "serving": serving_runtime.settings.Settings(
        endpoint_name="e", table_name="t", groups=("a", "b"), artifact_bucket="bucket", kms_key_arn="arn:key"
    ),
    "inference": inference_runtime.settings.Settings(endpoint_name="e", table_name="t", models=("a", "b")),
    "training": training_runtime.settings.Settings(
        table_name="t",
        state_machine_arn="arn:machine",
        dead_letters_url="url",
        cluster="arn:cluster",
        task_definition="arn:aws:ecs:eu-west-1:111122223333:task-definition/trainer:7",
        container="trainer",
        subnets=("a", "b"),
        security_groups=("g",),
        capacity_providers=("spot",),
        slots=4,
        output_uri="s3://bucket/training/",
        rendezvous_endpoint="r:29400",
    ),
}
DOMAINS = (*SETTINGS, "storage", "registry")
# Importing the handler as Lambda does, and saying what came with it.
PROBE = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
importlib.import_module(f"modelyard.{sys.argv[2]}.runtime.handler").handle
print(json.dumps({name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}))
"""


@pytest.mark.parametrize("domain", DOMAINS)
def test_handler_imports_from_its_archive_alone(domain, tmp_path):
    zipfile.ZipFile(io.BytesIO(function_code(domain))).extractall(tmp_path)
    settings = SETTINGS[domain].to_environment() if domain in SETTINGS else {}
    run = subprocess.run(
        [sys.executable, "-I", "-c", PROBE, str(tmp_path), domain],
        env={"AWS_DEFAULT_REGION": "eu-west-1", **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loaded = json.loads(run.stdout)
    assert "botocore" in loaded
    assert not loaded.keys() & {"aws_cdk", "jsii", "constructs", "localcloud", "training"}
    # Not the library that is installed beside it here.
    ours = [file for name, file in loaded.items() if name.split(".")[0] == "modelyard"]
    assert [file for file in ours if not file.startswith(str(tmp_path))] == []
    # Callers wait for this function's cold start, and every import is part of it.
    assert domain != "inference" or not loaded.keys() & {"boto3", "s3transfer"}


def test_archives_hold_the_code_of_one_function_and_what_all_share():
    names = zipfile.ZipFile(io.BytesIO(function_code("storage"))).namelist()
    assert "modelyard/storage/runtime/handler.py" in names
    assert "modelyard/runtime/log.py" in names
    assert {name.split("/")[1] for name in names} == {"__init__.py", "runtime", "storage"}
    assert not [name for name in names if not name.endswith(".py")]


def test_archives_depend_on_nothing_but_the_files(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from modelyard.archives import function_code; "
        "import hashlib; print(hashlib.sha256(function_code('serving')).hexdigest())"
    )
    digests = []
    for place, seed in (("a", "1"), ("b", "2")):
        copy = shutil.copytree(LIBRARY, tmp_path / place / "modelyard", copy_function=shutil.copyfile)
        run = subprocess.run(
            [sys.executable, "-c", code, str(Path(copy).parent)],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.append(run.stdout)
    assert digests[0] == digests[1]


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
def test_construct_reads_settings_without_boto3(domain, tmp_path):
    zipfile.ZipFile(io.BytesIO(function_code(domain))).extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import modelyard.{domain}.runtime.settings; "
        + ("assert not {'boto3', 'botocore'} & set(sys.modules)")
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


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
        ("training", {"slots": 0}),
        ("training", {"subnets": ()}),
        ("training", {"capacity_providers": ("spot", "")}),
        ("training", {"zones": (0, 1)}),
        ("training", {"output_uri": "s3://bucket/training"}),
        ("training", {"ask_seconds": 121}),
        ("training", {"watch_seconds": 0}),
        ("training", {"queue_days": -1.0}),
        ("training", {"most_rounds": 2001}),
    ],
)
def test_impossible_settings_are_refused_by_name(domain, changes):
    settings = SETTINGS[domain]
    given = {name: getattr(settings, name) for name in type(settings).__dataclass_fields__}
    with pytest.raises(ValueError, match=next(iter(changes))):
        type(settings)(**{**given, **changes})
