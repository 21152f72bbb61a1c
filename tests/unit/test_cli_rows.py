"""Rows for `modelyard predict` from the files people have."""

from pathlib import Path

import pytest

from modelyard_cli.errors import CliError
from modelyard_cli.rows import read_rows


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.json", '[{"term": 36, "state": "NJ"}]'),
        ("rows.json", '{"instances": [{"term": 36, "state": "NJ"}]}'),
        ("rows.jsonl", '{"term": 36, "state": "NJ"}\n\n'),
        ("rows.csv", "term,state\n36,NJ\n"),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)

    assert read_rows(file) == [{"term": 36, "state": "NJ"}]


def test_an_empty_csv_field_is_a_missing_value(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("term,state\n,NJ\n")

    assert read_rows(file) == [{"state": "NJ"}]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("rows.json", "[1]", "list of objects"),
        ("rows.json", "{", "not JSON"),
        ("rows.jsonl", '{"a": 1}\n[]\n', "line 2"),
        ("rows.csv", "term,state\n", "no rows"),
        ("rows.xlsx", "", ".xlsx"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, name: str, text: str, says: str) -> None:
    file = tmp_path / name
    file.write_text(text)

    with pytest.raises(CliError, match=says) as refused:
        read_rows(file)
    assert str(file) in str(refused.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="cannot be read"):
        read_rows(tmp_path / "none.json")


def test_predictions_are_shown_by_what_they_are():
    from modelyard_cli.predict import shown

    assert shown(12.34567) == "12.3457"
    assert shown({"label": "yes", "probabilities": {"no": 0.1, "yes": 0.9}}) == "yes (0.900)"
    assert shown({"label": "yes", "probabilities": {}}) == '{"label": "yes", "probabilities": {}}'
    assert shown(["a"]) == '["a"]'
