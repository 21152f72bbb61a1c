"""`report.html`: what a person looks at before approving a model; one file that fetches nothing.

page = Page("Evaluation of refinance-interest-rate")
page.table("Held-out rows", ("metric", "model", "baseline"), [("MSE", 15.2, 25.6)])
page.chart("Residuals", histogram(errors, x_label="predicted - true"), "Zero is a perfect prediction.")
page.write(folder)
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

NAME = "report.html"
_STYLE = """
body{font:14px/1.5 system-ui,sans-serif;color:#222;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:1.5rem 0 .3rem}
table{border-collapse:collapse}th,td{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(26rem,1fr));gap:1rem}
figure{margin:0}figcaption{color:#555}svg{width:100%;height:auto}
.verdict{padding:.6rem 1rem;background:#eef3fa;border-left:4px solid #1565c0}
"""


class Page:
    """A report that is put together piece by piece; every text is escaped."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._blocks: list[str] = []
        self._charts: list[str] = []

    def verdict(self, text: str) -> None:
        """The sentence that matters most."""
        self._blocks.append(f'<p class="verdict">{html.escape(text)}</p>')

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Numbers are shown with five digits, other things as they are."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows
        )
        self._blocks.append(f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>")

    def chart(self, title: str, svg: str, note: str = "") -> None:
        """`svg` comes from `training.reporting.charts`; it is the only thing that is not escaped."""
        caption = f"<figcaption>{html.escape(note)}</figcaption>" if note else ""
        self._charts.append(f"<figure><h2>{html.escape(title)}</h2>{svg}{caption}</figure>")

    def to_html(self) -> str:
        charts = f'<div class="charts">{"".join(self._charts)}</div>' if self._charts else ""
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            f"<title>{html.escape(self._title)}</title><style>{_STYLE}</style>"
            f"<h1>{html.escape(self._title)}</h1>{''.join(self._blocks)}{charts}</html>\n"
        )

    def write(self, folder: Path) -> None:
        """As `report.html` in `folder`."""
        (folder / NAME).write_text(self.to_html(), encoding="utf-8")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.5g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return html.escape(str(value))
