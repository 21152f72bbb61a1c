"""`modelyard graph`: every step drawn once, nothing on top of another, arrows from top to bottom."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from modelyard_cli.errors import CliError
from modelyard_cli.executions import Execution, Step
from modelyard_cli.graph.layout import HEIGHT, lay_out
from modelyard_cli.graph.mermaid import as_mermaid
from modelyard_cli.graph.picture import Edge, Node, Picture, picture_of, with_execution
from modelyard_cli.graph.svg import as_svg
from modelyard_cli.main import app

SVG = "{http://www.w3.org/2000/svg}"


def _definition(*steps: dict[str, object]) -> str:
    return json.dumps({"Version": "2020-12-01", "Steps": list(steps)})


def _fail(name: str, *depends_on: str) -> dict[str, object]:
    return {
        "Name": name,
        "Type": "Lambda",
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "DependsOn": list(depends_on),
        "Arguments": {},
    }


GATED = _definition(
    _fail("A"),
    _fail("B", "A"),
    {
        "Name": "Gate",
        "Type": "Condition",
        "DependsOn": ["A", "B"],
        "Arguments": {
            "Conditions": [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}],
            "IfSteps": [_fail("Good"), _fail("Next", "Good")],
            "ElseSteps": [{"Name": "Bad", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
        },
    },
)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    size = draw(st.integers(0, 14))
    names = [draw(st.text("abcXYZ_-<&'\"", min_size=1, max_size=12)) + str(i) for i in range(size)]
    edges = {
        Edge(source=names[draw(st.integers(0, target - 1))], target=names[target])
        for target in range(1, size)
        for _ in range(draw(st.integers(0, 3)))
    }
    nodes = tuple(Node(name=name, type="Processing") for name in names)
    return Picture(title="any <title>", nodes=nodes, edges=tuple(edges))


@settings(deadline=None)
@given(pictures())
def test_a_layout_has_every_step_apart_and_below_what_it_waits_for(picture: Picture) -> None:
    layout = lay_out(picture)
    assert set(layout.boxes) == {node.name for node in picture.nodes}
    for one, other in combinations(layout.boxes.values(), 2):
        beside = abs(one.x - other.x) >= (one.width + other.width) / 2
        assert beside or abs(one.y - other.y) >= HEIGHT
    for edge in picture.edges:
        heights = [y for _, y in layout.routes[edge]]
        assert heights == sorted(heights)
        assert layout.boxes[edge.source].y + HEIGHT <= layout.boxes[edge.target].y
    assert all(box.x + box.width / 2 <= layout.width for box in layout.boxes.values())


@settings(deadline=None)
@given(pictures())
def test_an_svg_is_xml_with_each_step(picture: Picture) -> None:
    root = ET.fromstring(as_svg(picture))
    assert [group.get("aria-label") for group in root.iter(f"{SVG}g")] == [n.name for n in picture.nodes]


def test_edges_that_others_imply_are_left_out() -> None:
    picture = picture_of(GATED, "gated")
    assert [(e.source, e.target, e.label) for e in picture.edges] == [
        ("A", "B", ""),
        ("B", "Gate", ""),
        ("Gate", "Good", "true"),
        ("Good", "Next", ""),
        ("Gate", "Bad", "false"),
    ]


def test_an_execution_adds_outcome_and_times() -> None:
    steps = (
        Step(name="A", type="Lambda", status="Succeeded", seconds=1.25, detail="from cache"),
        Step(name="Bad", type="Fail", status="Skipped"),
    )
    execution = Execution(arn="arn", status="Succeeded", failure_reason=None, seconds=3.0, steps=steps)
    picture = with_execution(picture_of(GATED, "gated"), execution)
    assert picture.title == "gated: Succeeded in 3.0 s"
    assert "Lambda · 1.2 s · from cache" in as_svg(picture)
    mermaid = as_mermaid(picture)
    assert 's0["A<br/>Lambda · 1.2 s"]' in mermaid
    assert "class s5 off" in mermaid


def test_mermaid_labels_cannot_be_ended_by_a_name() -> None:
    nodes = (Node(name='x"]; click', type="Processing"),)
    assert '["x#quot;]; click<br/>Processing"]' in as_mermaid(Picture(title="t", nodes=nodes, edges=()))


def test_the_file_name_says_the_format(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(GATED)
    run = CliRunner().invoke
    assert run(app, ["graph", str(tmp_path / "d.json"), "-o", str(tmp_path / "d.svg")]).exit_code == 0
    ET.parse(tmp_path / "d.svg")
    assert run(app, ["graph", str(tmp_path / "d.json")]).stdout.startswith("---\ntitle: d\n---\nflowchart TD")
    answer = json.loads(run(app, ["graph", str(tmp_path / "d.json"), "--json"]).stdout)
    assert [step["name"] for step in answer["steps"]] == ["A", "B", "Gate", "Good", "Next", "Bad"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a definition file, or an execution"),
        (["missing.json"], "missing.json: cannot be read"),
        (["d.json", "-o", "d.png"], "ends in .svg or .mmd"),
        (["bad.json"], "It is not JSON: Expecting value at line 1, column 1"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.json").write_text(GATED)
    Path("bad.json").write_text("nonsense")
    result = CliRunner().invoke(app, ["graph", *arguments])
    assert isinstance(result.exception, CliError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
