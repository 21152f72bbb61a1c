"""The committed definitions are what the SageMaker SDK builds, and a stale one is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_defs import catalog
from pipeline_defs.catalog import PIPELINES, StaleDefinitionError, load_definition, lock_record

REPO = Path(__file__).parents[2]
SDK = Path(os.environ.get("MODELYARD_SDK_PYTHON") or REPO / ".venv-sdk" / "bin" / "python")
# No name resolves and nothing connects: building must need neither network nor credentials.
OFFLINE = """
import socket, sys
def refuse(*a, **k): raise OSError("offline: %r" % (a,))
socket.getaddrinfo = refuse
socket.socket.connect = refuse
from pipeline_defs.build import main
sys.exit(main(["--check"]))
"""


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert SDK.is_file(), f"{SDK} is missing; install the SageMaker SDK: python3 tools/setup.py sdk"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [SDK, *arguments], cwd=REPO, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


def test_rebuilding_gives_the_committed_bytes_offline():
    result = build("-c", OFFLINE)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "current" in result.stdout


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The first pipeline in a repository that a test may spoil."""
    spec = PIPELINES[0]
    for path in (spec.definition, spec.lock, *spec.sources):
        target = tmp_path / path.relative_to(REPO)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    monkeypatch.setattr(catalog, "REPO", tmp_path)
    monkeypatch.setattr(catalog, "DEFINITIONS", tmp_path / "pipeline_defs" / "definitions")
    assert load_definition(spec)
    return spec


@pytest.mark.parametrize("suffix", [".json", ".lock"])
def test_a_missing_file_is_refused(copied, suffix):
    copied.definition.with_suffix(suffix).unlink()
    with pytest.raises(
        StaleDefinitionError, match=rf"{copied.name}\{suffix} is missing; run `make definitions`"
    ):
        load_definition(copied)


def test_an_edited_definition_is_refused(copied):
    copied.definition.write_text(copied.definition.read_text().replace("P30D", "P90D"))
    with pytest.raises(StaleDefinitionError, match="was edited by hand; run `make definitions`"):
        load_definition(copied)


def test_a_changed_source_is_named(copied):
    source = next(path for path in copied.sources if path.name == "steps.py")
    source.write_text(source.read_text() + "# changed\n")
    with pytest.raises(StaleDefinitionError, match=r"pipeline_defs/steps\.py changed since it was built"):
        load_definition(copied)


def test_line_endings_of_a_checkout_do_not_matter(copied):
    before = lock_record(copied)
    copied.definition.write_bytes(copied.definition.read_bytes().replace(b"\n", b"\r\n"))
    assert lock_record(copied) == before


def test_every_committed_definition_belongs_to_a_pipeline():
    expected = {path.name for spec in PIPELINES for path in (spec.definition, spec.lock)}
    assert {path.name for path in (REPO / "pipeline_defs" / "definitions").iterdir()} == expected


def test_the_catalogue_needs_no_sdk():
    script = "import pipeline_defs.catalog, pipeline_defs.code, sys; print('boto3' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
