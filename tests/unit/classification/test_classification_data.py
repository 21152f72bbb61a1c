"""Validation and preprocessing of labelled rows: what is refused, and how rows are split."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.classification.conftest import ARGUMENTS, BINARY, read_json
from training.classification import preprocess, validate
from training.classification.arguments import Split
from training.classification.preprocess import held_out_ids


def read(container, name):
    with (container.output(name) / "part-00000.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_good_table_gives_a_report(container, flowers):
    container.write_input("data", flowers(90), "rows.csv")
    validate.main(ARGUMENTS)
    report = read_json(container.output("report") / "data_report.json")
    assert report["valid"] is True
    assert report["target"]["rows_by_class"] == {"aster": 30, "broom": 30, "clover": 30}
    assert report["ignored_columns"] == ["edible"]


def change(name, value, where=lambda index: index == 4):
    def spoil(table):
        for index, row in enumerate(table):
            if where(index):
                row[name] = value
        return table

    return spoil


ALWAYS = lambda index: True  # noqa: E731


@pytest.mark.parametrize(
    ("arguments", "spoil", "message"),
    [
        (
            ARGUMENTS,
            change("kind", "aster", ALWAYS),
            "target kind is 'aster' in every row: a classifier needs",
        ),
        (ARGUMENTS, change("kind", ""), "rows.csv line 6: target kind is empty"),
        (ARGUMENTS, change("length", ""), "column length is empty in 1.1% of the rows, none may be"),
        (ARGUMENTS, change("length", "tall"), "rows.csv line 6: column length: 'tall' is not a number"),
        (ARGUMENTS, change("flower_id", "F0001"), "rows.csv line 6: flower_id 'F0001' appears twice"),
        (ARGUMENTS, change("kind", "daisy"), "class 'daisy' has 1 rows, at least 10 are needed"),
        (ARGUMENTS, lambda table: table[:1], "the table has 1 rows, at least 20 are needed to split it"),
        (ARGUMENTS, lambda table: [], "rows.csv: column kind is missing from the header"),
        (BINARY, change("edible", "maybe"), "target edible has 3 classes, 'yes' is one of two"),
        (BINARY, change("edible", "perhaps", lambda index: index % 2), "class 'no'|'yes' is one of two"),
        (["--dataset", "flowers", "--target", "size"], None, "dataset flowers has no target 'size'"),
        (["--dataset", "trees", "--target", "kind"], None, "unknown dataset 'trees'; known: breast-cancer"),
        ([*ARGUMENTS, "--test-size", "1.5"], None, "TestSize must be above 0 and below 1, got 1.5"),
        ([*ARGUMENTS, "--stratify", "maybe"], None, "argument --stratify: invalid choice: 'maybe'"),
        ([*ARGUMENTS, "--test-size", "0.02"], None, "class 'aster' has 30 rows, at least 50 are needed"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(container, flowers, refused, arguments, spoil, message):
    table = flowers(90)
    if spoil is not None:
        table = spoil(table)
    if table:
        container.write_input("data", table, "rows.csv")
    else:
        container.write_text("data", "flower_id,length,width,soil,color\n", "rows.csv")
    import re

    assert re.search(message if "|" in message else re.escape(message), refused(validate.main, arguments))


def test_the_positive_class_must_be_there(container, flowers, refused):
    table = change("edible", "poison", lambda index: True)(flowers(90))
    table = change("edible", "bitter", lambda index: index % 2)(table)
    container.write_input("data", table, "rows.csv")
    assert "target edible is bitter and poison, one of them must be 'yes'" in refused(validate.main, BINARY)


def test_rows_are_split_by_class_and_labels_named(container, flowers):
    container.write_input("data", flowers(90), "rows.csv")
    preprocess.main([*BINARY, "--test-size", "0.3", "--random-state", "1"])
    train, test = read(container, "train"), read(container, "test")
    assert len(train) + len(test) == 90
    assert not {row["flower_id"] for row in train} & {row["flower_id"] for row in test}
    everything = [*train, *test]
    for label in ("yes", "no"):
        total = sum(row["edible"] == label for row in everything)
        assert sum(row["edible"] == label for row in test) == round(0.3 * total)
    assert read_json(container.output("encoder") / "classes.json") == {
        "target": "edible",
        "classes": ["no", "yes"],
        "positive": "yes",
    }


ROWS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1), st.sampled_from("abc"), min_size=1, max_size=60
)


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS,
    order=st.randoms(use_true_random=False),
    size=st.floats(0.05, 0.95),
    stratify=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_the_split_is_exact_and_knows_no_order(rows, order, size, stratify, seed):
    split = Split(test_size=size, stratify=stratify, random_state=seed)
    pairs = list(rows.items())
    chosen = held_out_ids(pairs, split)
    order.shuffle(pairs)
    assert held_out_ids(pairs, split) == chosen
    groups = [[i for i, label in pairs if label == name] for name in "abc"] if stratify else [list(rows)]
    assert len(chosen) == sum(round(len(group) * size) for group in groups)


def test_another_random_state_holds_other_rows_out():
    rows = [(str(index), "a") for index in range(100)]
    chosen = [held_out_ids(rows, Split(test_size=0.2, stratify=True, random_state=seed)) for seed in range(3)]
    assert len(set(chosen)) == 3


def test_hosts_share_the_rows_and_fit_one_encoder(container, flowers, tmp_path, monkeypatch):
    """Two hosts together write what one writes."""
    table = flowers(90)
    container.write_input("data", table, "rows.csv")
    preprocess.main(ARGUMENTS)
    whole = sorted(row["flower_id"] for row in read(container, "test"))
    found = []
    for rank in (0, 1):
        root = tmp_path / f"host-{rank}"
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(root))
        host = type(container)(root)
        host.write_input("data", table, "rows.csv")
        path = root / "config" / "resourceconfig.json"
        path.parent.mkdir(parents=True)
        path.write_text(f'{{"current_host": "algo-{rank + 1}", "hosts": ["algo-1", "algo-2"]}}')
        preprocess.main(ARGUMENTS)
        with (host.output("test") / f"part-0000{rank}.csv").open(newline="") as stream:
            found += [row["flower_id"] for row in csv.DictReader(stream)]
        assert (host.output("encoder") / "classes.json").exists() == (rank == 0)
    assert sorted(found) == whole


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        (1, ARGUMENTS, "1 rows are too few: none fell into test"),
        (2, [*ARGUMENTS, "--stratify", "false", "--test-size", "0.5"], "the training rows are all of class"),
        (3, [*ARGUMENTS, "--stratify", "false", "--test-size", "0.4"], "is none|are test rows: set Stratify"),
    ],
)
def test_too_few_rows_to_split(container, flowers, refused, rows, arguments, message):
    import re

    container.write_input("data", flowers(rows), "rows.csv")
    assert re.search(message, refused(preprocess.main, arguments))
