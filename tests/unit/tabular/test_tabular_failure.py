"""How a step ends: exit code, SageMaker's message files, one line for mistakes, a trace for defects."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from training.common.failure import MESSAGE_BYTES, UserError, run


def failing(error):
    def main(_arguments):
        raise error

    return main


@pytest.fixture(autouse=True)
def keep_signal_handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_mistake_is_one_line_where_sagemaker_reads_it(container, capsys):
    assert run(failing(UserError("column x\nis missing")), []) == 1
    assert capsys.readouterr().err == "error: column x is missing\n"
    for name in ("failure", "message"):
        assert (container.root / "output" / name).read_text() == "column x is missing"


def test_a_defect_is_a_line_and_a_trace(container, capsys):
    assert run(failing(KeyError("depth")), []) == 1
    assert "Traceback" in capsys.readouterr().err
    assert (container.root / "output" / "failure").read_text() == "KeyError: 'depth'"


def test_memory_has_its_own_advice(container, capsys):
    assert run(failing(MemoryError()), []) == 1
    assert "choose an instance type with more memory" in capsys.readouterr().err


def test_a_long_message_is_cut_between_characters(container, capsys):
    run(failing(UserError("ä" * 2000)), [])
    text = (container.root / "output" / "failure").read_text(encoding="utf-8")
    assert len(text.encode()) == MESSAGE_BYTES
    assert set(text) == {"ä"}


def test_an_unwritable_folder_still_exits_with_the_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "ml").write_text("a file where the folder should be")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    assert run(failing(UserError("no")), []) == 1
    assert "error: no\n" in capsys.readouterr().err


def test_success_leaves_no_message(container):
    assert run(lambda _arguments: None, []) == 0
    assert not (container.root / "output").exists()


def test_a_stop_ends_the_process_at_once(container):
    code = (
        "import time; from training.common.failure import run;"
        "raise SystemExit(run(lambda a: (print('up', flush=True), time.sleep(600))))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    ) as process:
        assert process.stdout.readline() == b"up\n"
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
