"""PreprocessData: the split depends on nothing but a row's identifier, also across hosts."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.common.encoder import Encoder
from training.tabular import preprocess
from training.tabular.preprocess import SPLITS, split_of

DATASET = ["--dataset", "loans", "--target", "interest_rate"]
NAMES = tuple(name for name, _ in SPLITS)


def rows_of(container, split):
    rows = {}
    for path in sorted(container.output(split).glob("*.csv")):
        with path.open(newline="") as stream:
            rows |= {row["loan_id"]: row for row in csv.DictReader(stream)}
    return rows


def test_rows_are_split_once_and_unchanged(container, loans):
    table = loans(300)
    container.write_input("data", table)
    preprocess.main(DATASET)
    splits = [rows_of(container, name) for name in NAMES]
    assert sum(map(len, splits)) == 300
    assert {**splits[0], **splits[1], **splits[2]} == {row["loan_id"]: row for row in table}


def test_a_row_keeps_its_split_when_the_table_grows_and_turns(other_container, loans):
    table = loans(200)
    first = other_container("first")
    first.write_input("data", table)
    preprocess.main(DATASET)
    second = other_container("second")
    second.write_input(
        "data", [{**row, "loan_id": f"N{index}"} for index, row in enumerate(table)] + table[::-1]
    )
    preprocess.main(DATASET)
    for name in NAMES:
        assert rows_of(first, name).items() <= rows_of(second, name).items()


def test_the_encoder_knows_only_training_rows(container, loans):
    table = [{**row, "state": split_of(row["loan_id"])} for row in loans(200)]
    container.write_input("data", table)
    preprocess.main(DATASET)
    encoder = Encoder.from_json((container.output("encoder") / "encoder.json").read_text())
    assert encoder.categories["state"] == ("train",)


@pytest.mark.parametrize("count", [2, 3])
def test_several_hosts_do_together_what_one_does(other_container, loans, count):
    table = loans(250)
    one = other_container("one")
    one.write_input("data", table)
    preprocess.main(DATASET)
    together = {name: {} for name in NAMES}
    encoders = []
    names = [f"algo-{index + 1}" for index in range(count)]
    for name in names:
        host = other_container(name)
        host.write_input("data", table)
        host.config("resourceconfig.json", {"current_host": name, "hosts": names[::-1]})
        preprocess.main(DATASET)
        for split in NAMES:
            part = rows_of(host, split)
            assert not part.keys() & together[split].keys()
            together[split] |= part
        encoders += [path.read_text() for path in host.output("encoder").iterdir()]
    assert together == {name: rows_of(one, name) for name in NAMES}
    assert encoders == [(one.output("encoder") / "encoder.json").read_text()]


def test_too_few_rows_are_refused(container, loans, refused):
    container.write_input("data", loans(2))
    assert "2 rows are too few: none fell into" in refused(preprocess.main)


def test_a_cell_of_the_wrong_kind_is_refused(container, loans, refused):
    table = loans(30)
    table[4]["term"] = "x"
    container.write_input("data", table)
    assert refused(preprocess.main) == "loans.csv line 6: column term 'x' is not a number"


def test_a_broken_resource_configuration_is_refused(container, loans, refused):
    container.write_input("data", loans(30))
    container.config("resourceconfig.json", {"current_host": "algo-9", "hosts": ["algo-1"]})
    assert "is not a resource configuration" in refused(preprocess.main)


@settings(deadline=None)
@given(identifier=st.text())
def test_every_identifier_has_a_split(identifier):
    assert split_of(identifier) in NAMES


def test_the_splits_have_their_shares():
    counts = dict.fromkeys(NAMES, 0)
    for index in range(20_000):
        counts[split_of(f"LC{index}")] += 1
    for name, share in SPLITS:
        assert counts[name] / 20_000 == pytest.approx(share, abs=0.01)
