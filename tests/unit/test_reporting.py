"""Charts and pages: well-formed, bounded in size, and no text of the data becomes markup."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.reporting.charts import bars, curves, density, histogram, matrix
from training.reporting.page import Page

HOSTILE = '<script>alert("x")</script>&'
numbers = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50)


def shapes(svg: str, kind: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(f"{{http://www.w3.org/2000/svg}}{kind}")


@settings(deadline=None)
@given(values=numbers)
def test_any_numbers_make_a_chart(values):
    shown = np.array(values)
    for svg in (
        histogram(shown, x_label="x"),
        density(shown, shown, x_label="x", y_label="y", diagonal=True),
    ):
        assert shapes(svg, "rect")
        assert "nan" not in svg
        assert "inf" not in svg


def test_a_histogram_has_a_bar_for_each_filled_bin():
    svg = histogram(np.array([0.0] * 5 + [1.0] * 10), x_label="x")
    assert len(shapes(svg, "rect")) == 2


def test_a_million_rows_make_no_larger_chart_than_a_thousand():
    source = np.random.default_rng(1)
    small, large = (
        len(density(source.normal(size=rows), source.normal(size=rows), x_label="x", y_label="y"))
        for rows in (10_000, 1_000_000)
    )
    assert large < 2 * small < 400_000


def test_bars_are_ranked_and_few():
    svg = bars({f"feature {index}": float(index) for index in range(100)})
    texts = [item.text for item in shapes(svg, "text")]
    assert texts[0] == "feature 99"
    assert "feature 50" not in texts
    assert shapes(bars({"none": 0.0}), "rect")
    assert shapes(bars({}), "rect") == []


def test_curves_are_thinned_and_keep_their_ends():
    xs = np.linspace(0, 1, 100_000)
    (line,) = shapes(curves({"ROC": (xs, xs**0.5)}, x_label="x", y_label="y"), "polyline")[:1]
    points = line.attrib["points"].split()
    assert len(points) <= 400
    assert [points[0], points[-1]] == ["64.0,274.0", "426.0,12.0"]


@pytest.mark.parametrize("size", [1, 2, 133])
def test_a_matrix_has_a_cell_for_each_pair(size):
    counts = np.eye(size, dtype=int).tolist()
    svg = matrix(counts, [f"c{index}" for index in range(size)], x_label="predicted", y_label="true")
    assert len(shapes(svg, "rect")) == size * size


def test_no_text_becomes_markup():
    page = Page(HOSTILE)
    page.verdict(HOSTILE)
    page.table(HOSTILE, (HOSTILE,), [(HOSTILE,), (1.5,), (3,)])
    page.chart(HOSTILE, bars({HOSTILE: 1.0}, x_label=HOSTILE), HOSTILE)
    text = page.to_html()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 7


def test_a_page_fetches_nothing(tmp_path):
    page = Page("title")
    page.chart("chart", histogram(np.array([1.0, 2.0]), x_label="x"))
    page.write(tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "src=" not in text


def test_importing_costs_no_more_than_numpy():
    script = (
        "import sys, training.reporting.charts, training.reporting.page; print('matplotlib' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
