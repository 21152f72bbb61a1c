"""`make deploy` reaches a real account only when it is told to; `make fuzz` is all that is fuzzed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
DEPLOYS = "deploy --all -c env="


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`make deploy` with stand-ins for the set-up and the CDK CLI, which prints what it is asked."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MAKE", "ENV"))}
    return subprocess.run(
        ["make", "deploy", "PYTHON=true", "CDK=echo", *arguments],
        cwd=REPO,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("endpoint", ["", "https://localhost:4566"])
def test_there_is_no_environment_by_default(endpoint):
    done = make(AWS_ENDPOINT_URL=endpoint)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "make deploy: name the environment: make deploy ENV=prod"
    assert DEPLOYS not in done.stdout


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "https://sts.amazonaws.com",
        "https://localhost.example.com",
        "https://localhost:1@example.com",
        "https://example.com/https://localhost",
    ],
)
def test_local_is_for_this_machine(endpoint):
    done = make("ENV=local", AWS_ENDPOINT_URL=endpoint)
    assert done.returncode == 2
    first = done.stderr.splitlines()[0]
    assert first.startswith("make deploy: ENV=local is for a cloud on this machine")
    assert DEPLOYS not in done.stdout


@pytest.mark.parametrize("endpoint", ["https://localhost:4566", "http://127.0.0.1:4566/", "https://[::1]:1"])
def test_local_on_this_machine(endpoint):
    done = make("ENV=local", AWS_ENDPOINT_URL=endpoint)
    assert done.returncode == 0, done.stderr
    assert f"{DEPLOYS}local" in done.stdout


def test_a_stage_is_deployed_where_the_credentials_point():
    done = make("ENV=staging")
    assert done.returncode == 0, done.stderr
    assert f"{DEPLOYS}staging" in done.stdout


def test_fuzz_gives_each_part_as_many_cases_as_it_is_told():
    done = subprocess.run(
        ["make", "--dry-run", "fuzz", "CASES=7"],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    counts = {"FUZZ_CASES", "FUZZ_URL_CASES", "RECONCILE_SEQUENCES"}
    assert set(re.findall(r"(\w+)=7\b", done.stdout)) == counts
    read = {name for file in re.findall(r"tests/\S+\.py", done.stdout) for name in counts_read(REPO / file)}
    assert read == counts


def counts_read(file: Path) -> set[str]:
    """Variables that say how many cases a file makes."""
    return set(re.findall(r'int\(os\.environ\.get\("(\w+)"', file.read_text()))
