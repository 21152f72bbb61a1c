"""The snippets of the constructs' READMEs run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
READMES = sorted((REPO / "constructs" / "modelyard").glob("*/README.md"))
NIGHTLY = {
    "Version": "2020-12-01",
    "Parameters": [{"Name": "Rows", "Type": "Integer", "DefaultValue": 10}],
    "Steps": [
        {
            "Name": "Stop",
            "Type": "Fail",
            "Arguments": {
                "ErrorMessage": {
                    "Std:Join": {"On": " of ${DataBucket} ", "Values": [{"Get": "Parameters.Rows"}]}
                }
            },
        }
    ],
}


def test_every_package_has_one():
    assert {path.parent.name for path in READMES} == {
        "storage",
        "registry",
        "pipeline",
        "serving",
        "inference",
    }


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_snippets_run(readme, tmp_path, monkeypatch):
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "nightly.json").write_text(json.dumps(NIGHTLY))
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CDK_VALIDATION", "false")
    snippets = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        names: dict[str, object] = {}
        exec(compile(snippet, str(readme), "exec"), names)
        names["stack"].node.root.synth()
