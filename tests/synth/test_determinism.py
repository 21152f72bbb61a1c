"""`python app.py` as users run it: no network, no credentials, the same bytes, bad input refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


def _without_network() -> list[str]:
    """What runs a command without a network, not even loopback; empty where the machine cannot."""
    command = ["unshare", "--net", "--map-root-user"]
    try:
        done = subprocess.run([*command, "true"], capture_output=True, check=False, timeout=120)
    except OSError:
        return []
    return command if done.returncode == 0 else []


_NO_NETWORK = _without_network()


def _run(context, folder, repo=REPO, **variables):
    """app.py with the context that the CDK CLI would pass on, without AWS settings and without a network."""
    settings = json.loads((REPO / "cdk.json").read_text())["context"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    return subprocess.run(
        [*_NO_NETWORK, sys.executable, "app.py"],
        cwd=repo,
        env={
            **clean,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "CDK_CONTEXT_JSON": json.dumps({**settings, **context}),
            "CDK_OUTDIR": str(folder),
            # Where there are no namespaces of networks.
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "HTTP_PROXY": "http://127.0.0.1:9",
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_two_syntheses_are_equal_to_the_byte(tmp_path):
    """One of them with other credentials and another hash seed: neither may show."""
    first = _run({"env": "prod"}, tmp_path / "a", PYTHONHASHSEED="1")
    second = _run(
        {"env": "prod"},
        tmp_path / "b",
        PYTHONHASHSEED="2",
        AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE",
        CDK_DEFAULT_ACCOUNT="123456789012",
        CDK_DEFAULT_REGION="eu-west-1",
    )
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    one, two = _contents(tmp_path / "a"), _contents(tmp_path / "b")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    assert not any("__pycache__" in name for name in one)


def test_cdks_own_validator_finds_nothing(tmp_path):
    result = _run({"env": "prod"}, tmp_path / "out", CDK_VALIDATION="true")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "out" / "validation-report.json").read_text())
    found = [v for plugin in report["pluginReports"] for v in plugin["violations"]]
    assert [(v["ruleName"], v["description"]) for v in found] == []


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({}, "no environment chosen; add -c env=NAME, one of: local, local-training, dev, staging, prod"),
        (
            {"env": "production"},
            "unknown environment 'production'; known: local, local-training, dev, staging, prod",
        ),
        (
            {"env": "dev", "region": "eu-west-1"},
            "unknown context key region; known: env, cdk-nag (-c env=NAME)",
        ),
        ({"environment": "dev"}, "unknown context key environment; known: env, cdk-nag (-c env=NAME)"),
    ],
)
def test_bad_context_is_one_line(tmp_path, context, message):
    result = _run(context, tmp_path / "out")
    assert result.returncode == 1
    assert result.stderr.strip() == f"modelyard: {message}"
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.fixture
def clone(tmp_path):
    """What a synthesis reads, to be spoilt."""
    folder = tmp_path / "clone"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("stacks", "pipeline_defs", "training"):
        shutil.copytree(REPO / name, folder / name, ignore=ignore)
    shutil.copy(REPO / "app.py", folder)
    return folder


def _refused(clone, folder):
    """The only line of a synthesis that is refused."""
    result = _run({"env": "dev"}, folder, repo=clone)
    assert result.returncode == 1
    assert not (folder / "manifest.json").exists()
    (line,) = result.stderr.splitlines()
    return line


def test_a_stale_definition_is_one_line(clone, tmp_path):
    with (clone / "pipeline_defs" / "steps.py").open("a") as source:
        source.write("# changed\n")
    assert _refused(clone, tmp_path / "out") == (
        "modelyard: pipeline definition refinance-interest-rate: pipeline_defs/steps.py changed since it was "
        "built; run `make definitions`"
    )


def test_a_placeholder_without_a_value_is_one_line(clone, tmp_path):
    definition = clone / "pipeline_defs" / "definitions" / "refinance-interest-rate.json"
    definition.write_text(definition.read_text().replace("${ImageUri}", "${ImageUrl}"))
    lock = definition.with_suffix(".lock")
    digest = hashlib.sha256(definition.read_bytes()).hexdigest()
    lock.write_text(json.dumps(json.loads(lock.read_text()) | {"definition": digest}))
    line = _refused(clone, tmp_path / "out")
    assert line.startswith("modelyard: refinance-interest-rate.json: ")
    assert "${ImageUrl}" in line
