"""`make demo` with its phases replaced: what it writes down, and what it leaves however it ends."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from modelyard_cli.demo import __main__ as program
from modelyard_cli.demo import phases, screen
from modelyard_cli.demo.data import Data
from modelyard_cli.errors import FAILED, CliError
from tests.unit.test_demo_summary import MODEL

PHASES = ["data", "cloud", "bootstrap", "synth", "deploy", "upload", "pipeline", "approve", "predict"]
FIGURES = {"parameters", "execution", "metrics", "approval", "prediction"}


class Stage:
    """The demo's surroundings: phases and a `modelyard` that only note that they ran, folders of the test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ran: list[str] = []
        self.state, self.result = folder / "demo-cloud", folder / "demo.json"
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(program, "STATE", self.state)
        monkeypatch.setattr(program, "RESULT", self.result)
        monkeypatch.setattr(program, "modelyard", self.modelyard)
        monkeypatch.setattr(program.summary, "ROOT", folder)
        monkeypatch.setattr(phases, "BUILD", folder)
        for name in ("KEEP", "ALL", "TRAIN"):
            monkeypatch.delenv(name, raising=False)
        data, environment = Data.__new__(Data), {"AWS_DEFAULT_REGION": "us-east-1"}
        object.__setattr__(data, "model", phases.MODEL)
        execution = {"status": "Succeeded", "seconds": 5.0, "steps": []}
        self.answers(prepare_data=data, prepare_all=[data], synthesize=None, bootstrap=None)
        self.answers(deploy={"FunctionUrl": "https://localhost/"}, acting_as="session")
        self.answers(upload=MODEL["parameters"], run_pipeline=execution)
        self.answers(run_pipelines={phases.MODEL: execution}, metrics=MODEL["metrics"])
        self.answers(approve=MODEL["approval"], predict=MODEL["prediction"])

        def start_cloud(state: Path, clock: float) -> dict[str, str]:
            self.ran.append("start_cloud")
            self.clock = clock
            state.mkdir()
            return environment

        monkeypatch.setattr(phases, "start_cloud", start_cloud)

    def answers(self, **values: Any) -> None:
        for name, value in values.items():
            self._monkeypatch.setattr(phases, name, self._phase(name, value))

    def raises(self, phase: str, error: BaseException) -> None:
        def fail(*_: object) -> None:
            raise error

        self._monkeypatch.setattr(phases, phase, fail)

    def _phase(self, name: str, value: Any) -> Callable[..., Any]:
        def run(*_: object) -> Any:
            self.ran.append(name)
            return value

        return run

    def modelyard(self, *arguments: str) -> None:
        assert self.state.exists()
        self.ran.append(" ".join(arguments))

    @property
    def down(self) -> str:
        return f"down --state {self.state}"

    def written(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.result.read_text())
        return document


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_what_a_demo_writes_down(stage: Stage) -> None:
    program.main()

    written = stage.written()
    assert written.keys() == {"succeeded", "outputs", "phases", "total_seconds", "models"} | FIGURES
    assert written["succeeded"] is True
    assert list(written["phases"]) == PHASES
    assert written["total_seconds"] >= max(written["phases"].values())
    # The one that always runs stands twice: by itself and among the others.
    assert written["models"] == {phases.MODEL: {name: written[name] for name in FIGURES}}
    assert written["execution"]["status"] == "Succeeded"
    assert stage.ran[-1] == stage.down
    assert "run_pipelines" not in stage.ran


def test_training_has_a_stage_and_a_clock_of_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAIN", "1")
    monkeypatch.setattr(program.training, "prepare", lambda: "digits")
    monkeypatch.setattr(program.training, "loop", lambda *given: stage.ran.append(f"train on {given[2]}"))
    monkeypatch.setattr(program.summary, "show", lambda *_: None)

    program.main()

    assert stage.ran == ["synthesize", "start_cloud", "bootstrap", "deploy", "train on digits", stage.down]
    assert stage.clock == program.training.CLOCK
    assert list(stage.written()["phases"]) == ["data", "cloud", "bootstrap", "synth", "deploy"]


def test_two_demos_at_once_are_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAIN", "1")
    monkeypatch.setenv("ALL", "1")

    with pytest.raises(SystemExit):
        program.main()
    assert stage.ran == []


def test_all_pipelines_run_together(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL", "1")

    program.main()

    assert {"prepare_all", "run_pipelines"} <= set(stage.ran)
    assert not {"prepare_data", "run_pipeline"} & set(stage.ran)
    assert stage.written()["models"].keys() == {phases.MODEL}


def test_a_kept_cloud_is_left_running(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEEP", "1")

    program.main()

    assert stage.down not in stage.ran
    assert ".venv/bin/modelyard down --state demo-cloud" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("value", ["", "0"])
def test_keep_is_off(stage: Stage, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("KEEP", value)

    program.main()

    assert stage.ran[-1] == stage.down


def test_an_earlier_cloud_is_stopped_before_its_folder_goes(stage: Stage) -> None:
    (stage.state / "left").mkdir(parents=True)

    program.main()

    assert stage.ran[0] == stage.down
    assert not (stage.state / "left").exists()


def test_an_earlier_cloud_that_cannot_be_stopped_is_no_obstacle(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.state.mkdir()

    def refuse(*_: str) -> None:
        raise CliError("nothing answers", FAILED)

    monkeypatch.setattr(program, "modelyard", refuse)

    program.main()

    assert stage.written()["succeeded"] is True


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (CliError("cdk deploy failed: no such bucket", FAILED), FAILED, "cdk deploy failed: no such bucket"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_demo_that_does_not_go_through(
    stage: Stage, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, says: str
) -> None:
    stage.raises("deploy", error)

    # An interrupt that came through would end the tests.
    with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
        program.main()

    assert isinstance(ended.value, SystemExit)
    assert ended.value.code == code
    assert stage.ran[-1] == stage.down
    written = stage.written()
    assert written.keys() == {"succeeded", "phases", "total_seconds"}
    assert written["succeeded"] is False
    assert list(written["phases"]) == PHASES[: PHASES.index("deploy")]
    printed = capsys.readouterr()
    assert printed.err == f"modelyard: {says}\n"
    assert "✗ cdk deploy --all" in printed.out.splitlines()
    assert "What to try next" not in printed.out


def test_a_failed_synthesis_is_told_as_that_phase(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.raises("synthesize", CliError("cdk synth failed", FAILED))

    with pytest.raises(SystemExit) as ended:
        program.main()

    assert ended.value.code == FAILED
    assert "✗ cdk synth" in capsys.readouterr().out.splitlines()
    assert list(stage.written()["phases"]) == ["data", "cloud", "bootstrap"]
    assert "deploy" not in stage.ran
    assert stage.ran[-1] == stage.down


def test_a_cloud_is_kept_after_a_failure_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEP", "1")
    stage.raises("predict", CliError("404: no such model", FAILED))

    with pytest.raises(SystemExit):
        program.main()

    assert stage.down not in stage.ran
    assert stage.state.exists()


def test_an_error_of_our_own_leaves_no_cloud(stage: Stage) -> None:
    stage.raises("approve", KeyError("ModelPackageSummaryList"))

    with pytest.raises(KeyError):
        program.main()

    assert stage.ran[-1] == stage.down
    assert stage.written()["succeeded"] is False


@pytest.mark.parametrize("terminal", [True, False])
def test_a_phase_is_shown_as_it_ends(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    file = io.StringIO()
    monkeypatch.setattr(
        screen, "console", Console(file=file, force_terminal=terminal, width=80, highlight=False)
    )
    shown = screen.Screen()

    with shown.phase("deploy", "cdk deploy") as news:
        news("data 3/12 AWS::S3::Bucket")
    with pytest.raises(ValueError, match="wrong"), shown.phase("predict", "Prediction"):
        raise ValueError("wrong")

    assert list(shown.seconds) == ["deploy"]
    text = file.getvalue()
    done, failed = (next(line for line in text.splitlines() if mark in line) for mark in "✓✗")
    assert "cdk deploy" in done
    assert "data 3/12 AWS::S3::Bucket" in done
    assert " s" in done
    assert "Prediction" in failed
    # Without a terminal there is no spinner to say that something runs.
    assert ("  cdk deploy ...\n" in text) is not terminal
