"""ValidateData: a bad table is one line that says what and where; a good one passes with a report."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.common.features import Feature
from training.tabular import validate
from training.tabular.datasets import schema_for
from training.tabular.validate import ColumnAudit

DATASET = ["--dataset", "loans", "--target", "interest_rate"]


def report_of(container):
    return json.loads((container.output("report") / "data_report.json").read_text())


def test_a_good_table_passes_with_a_report(container, loans):
    table = [{**row, "comment": "x"} for row in loans(50)]
    container.write_input("data", table)
    validate.main(DATASET)
    report = report_of(container)
    assert report["valid"] is True
    assert report["rows"] == 50
    assert report["ignored_columns"] == ["comment"]
    assert report["columns"]["term"]["min"] == 36
    assert report["columns"]["state"] == {"kind": "categorical", "present": 50, "missing": 0, "categories": 3}
    rates = [float(row["interest_rate"]) for row in table]
    assert report["target"]["mean"] == pytest.approx(sum(rates) / 50)


def test_files_of_a_prefix_are_one_table(container, loans):
    table = loans(60)
    container.write_input("data", table[:30], "a.csv")
    turned = [dict(reversed(list(row.items()))) for row in table[30:]]
    container.write_input("data", turned, "b.csv")
    validate.main(DATASET)
    assert report_of(container)["rows"] == 60
    assert report_of(container)["files"] == ["a.csv", "b.csv"]


def test_the_report_names_the_version_of_the_data(container, loans):
    path = container.write_input("data", loans(30), "a.csv")
    validate.main(DATASET)
    assert report_of(container)["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    container.write_input("data", loans(60)[30:], "b.csv")
    validate.main(DATASET)
    both = report_of(container)["sha256"]
    container.write_input("data", loans(60, seed=2)[30:], "b.csv")
    validate.main(DATASET)
    assert len({both, report_of(container)["sha256"], hashlib.sha256(path.read_bytes()).hexdigest()}) == 3


def change(table, index, **cells):
    table[index] = {**table[index], **cells}
    return table


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (
            lambda t: [{k: v for k, v in r.items() if k != "term"} for r in t],
            "loans.csv: column term is missing",
        ),
        (
            lambda t: [{k: v for k, v in r.items() if k != "interest_rate"} for r in t],
            "column interest_rate is",
        ),
        (lambda t: change(t, 3, term="long"), "loans.csv line 5: column term: 'long' is not a number"),
        (lambda t: change(t, 3, term="nan"), "line 5: column term: 'nan' is not a finite number"),
        (lambda t: change(t, 3, interest_rate=""), "line 5: target interest_rate is empty"),
        (lambda t: change(t, 3, interest_rate="x"), "line 5: column interest_rate: 'x' is not a number"),
        (lambda t: [{**r, "interest_rate": "7"} for r in t], "target interest_rate is 7 in every row"),
        (lambda t: change(t, 3, loan_id="L00001"), "line 5: loan_id 'L00001' appears twice"),
        (lambda t: change(t, 3, loan_id=""), "line 5: loan_id is empty"),
        (
            lambda t: [{**r, "state": ""} for r in t],
            "column state is empty in 100.0% of the rows, none may be",
        ),
        (
            lambda t: [{**r, "emp_length": ""} for r in t],
            "column emp_length is empty in 100.0% of the rows, at",
        ),
        (lambda t: t[:5], "the table has 5 rows, at least 20 are needed"),
        (lambda t: t[:1], "the table has 1 rows, at least 20 are needed"),
    ],
)
def test_a_bad_table_is_one_line(container, loans, refused, spoil, expected):
    container.write_input("data", spoil(loans(50)))
    assert expected in refused(validate.main)


def test_many_problems_are_counted_and_listed_in_the_report(container, loans, refused):
    container.write_input("data", [{**row, "term": "x"} for row in loans(50)])
    assert "(and 49 more)" in refused(validate.main)
    report = report_of(container)
    assert report["valid"] is False
    assert report["problem_count"] == 50
    assert len(report["problems"]) == 20


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "loans.csv is empty"),
        (b"\x1f\x8b\x08\x00\x00\x00\xff\xfe", "is not a CSV file: not UTF-8 text"),
        (b'{"rows": [1, 2]}\n', "is not the expected CSV: its first line"),
        (b"<html><body>Access denied</body></html>\n", "names no known column"),
    ],
)
def test_what_is_no_csv_is_refused(container, refused, content, expected):
    container.write_text("data", content)
    assert expected in refused(validate.main)


def lines(schema, *rows):
    return "\n".join([",".join(schema.header), *rows, ""])


def test_a_header_without_rows_is_refused(container, schema, refused):
    container.write_text("data", lines(schema))
    assert refused(validate.main) == "the table has a header but no rows"


def test_a_doubled_column_is_refused(container, schema, refused):
    container.write_text("data", lines(schema).replace("term,", "term,term,"))
    assert refused(validate.main) == "loans.csv: column term appears more than once in the header"


def test_a_short_row_is_refused(container, schema, refused):
    container.write_text("data", lines(schema, "L1,7.5,36"))
    assert "loans.csv line 2: has 3 cells, the header has 43" in refused(validate.main)


def test_an_open_quote_is_refused(container, schema, refused):
    container.write_text("data", lines(schema, '"L1,7.5,36'))
    assert "is not a CSV file: unexpected end of data" in refused(validate.main)


def test_an_empty_input_is_refused(container, refused):
    (container.root / "processing" / "input" / "data").mkdir(parents=True)
    assert "holds no file; check the parameter InputData" in refused(validate.main)


def test_a_missing_input_is_refused(container, refused):
    assert "processing input 'data' is missing" in refused(validate.main)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dataset", "cats", "--target", "x"], "unknown dataset 'cats'; known: loans"),
        (["--dataset", "loans", "--target", "x"], "has no target 'x'; known: interest_rate, loan_amount"),
        (["--dataset", "loans"], "required: --target"),
        ([*DATASET, "--speed", "9"], "unrecognized arguments: --speed 9"),
    ],
)
def test_bad_arguments_are_one_line(container, refused, arguments, expected):
    assert expected in refused(validate.main, arguments)


def test_no_feature_knows_the_target():
    for target, other in (("interest_rate", "loan_amount"), ("loan_amount", "interest_rate")):
        names = {feature.name for feature in schema_for("loans", target).features}
        assert not names & {target, other, "loan_id", "grade", "sub_grade", "installment", "loan_status"}


@settings(deadline=None)
@given(values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50))
def test_statistics_of_one_pass_are_those_of_two(values):
    audit = ColumnAudit(Feature("x", "numeric"))
    for value in values:
        audit.add(repr(value))
    report = audit.report()
    mean = sum(values) / len(values)
    spread = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    scale = max(map(abs, values)) or 1.0
    assert report["mean"] == pytest.approx(mean, abs=1e-9 * scale)
    assert report["standard_deviation"] == pytest.approx(spread, abs=1e-6 * scale)
    assert (report["min"], report["max"]) == (min(values), max(values))
