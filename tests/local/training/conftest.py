"""One deployed stage for all tests of this folder; they run in the order of their files' names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from localcloud import lifecycle
from modelyard_cli.main import app
from tests.local.training.stage import Stage

# A minute of alarms, and so of scaling, in a second.
CLOCK = 60


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("training")
    state = folder / "state"
    lifecycle.up(state, clock=CLOCK)
    try:
        stage = Stage(state, folder)
        stage.cdk("synth")
        stage.cdk("bootstrap", f"aws://{stage.cloud.account}/{stage.cloud.region}")
        # With the stack of data, which it needs.
        stage.cdk("deploy", "Training", "--require-approval", "never", "--concurrency", "4")
        yield stage
    finally:
        assert lifecycle.down(state)["ended"] == 0


@pytest.fixture(autouse=True)
def _surroundings(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `modelyard` and programs of `training/` take from their environment."""
    for name, value in stage.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELYARD_ENV", "local-training")


@pytest.fixture
def train() -> Callable[..., Any]:
    """`modelyard train`, with its answer for machines."""

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["train", *arguments, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run
