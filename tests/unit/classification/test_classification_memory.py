"""What a million rows would cost the steps of a classifier: bytes per row, from the peaks at two sizes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tests.unit.classification.conftest import BINARY, FLOWERS, train
from tests.unit.tabular.conftest import Container
from training.classification import evaluate, forests, importance, preprocess, rows, trial, validate
from training.classification.algorithms import RandomForest, Task
from training.common.encoder import Encoder
from training.common.features import Feature

SIZES = (3000, 9000)
FEATURES = len(FLOWERS.columns)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small model, with numbers and categories."""
    return train(tmp_path_factory.mktemp("small"), "naive-bayes", BINARY)


@pytest.fixture
def bytes_per_row(tmp_path, monkeypatch, flowers):
    """What each further row costs `act` at its peak; `place(container, table)` puts the rows first."""

    def measure(place, act):
        peaks = []
        for number, size in enumerate((SIZES[0], *SIZES)):  # once before: modules that are imported then
            root = tmp_path / f"{number}"
            monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(root))
            # As a part of a split has them: identifier and target first.
            table = [{"flower_id": row["flower_id"], "edible": row["edible"], **row} for row in flowers(size)]
            place(Container(root), table)
            tracemalloc.start()
            try:
                act()
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
        return (peaks[2] - peaks[1]) / (SIZES[1] - SIZES[0])

    return measure


# Both remember the identifiers: one to find those that appear twice, the other to rank them for the split,
# with a hash each.
@pytest.mark.parametrize(("step", "bound"), [(validate, 200), (preprocess, 300)])
def test_data_steps_hold_identifiers_and_not_rows(bytes_per_row, step, bound):
    def place(container, table):
        container.write_input("data", table, "rows.csv")

    assert bytes_per_row(place, lambda: step.main(BINARY)) < bound


@pytest.mark.parametrize("algorithm", ["naive-bayes", "logistic-regression"])
def test_a_trial_holds_numbers_and_not_rows(bytes_per_row, trained, monkeypatch, algorithm):
    """The float32 matrix, the part of it that a fold trains on, and that again prepared as float64."""
    monkeypatch.setattr(rows, "CHUNK_ROWS", 500)
    width = FEATURES + 2 + 3  # a column for each category

    def place(container, table):
        container.write_input("train", table, "part-00000.csv")
        container.channel("train", container.root / "processing" / "input" / "train")
        container.channel("encoder", trained.output("encoder"))
        setting = {"algorithm": algorithm, "scorer": "auc", "folds": "3"}
        container.config("hyperparameters.json", setting)

    assert bytes_per_row(place, lambda: trial.main([])) < 2 * 4 * FEATURES + 3 * 8 * width


def test_a_forest_stays_below_its_bound_on_any_table(tmp_path, monkeypatch):
    """Labels by chance, of which a tree learns every row."""
    bound = 200_000
    monkeypatch.setattr(forests, "LARGEST_BYTES", bound)
    encoder, chance = Encoder((Feature("length", "numeric"),), {}), np.random.default_rng(3)
    sizes = []
    for size in (200, 2000, 8000):
        matrix = chance.normal(size=(size, 1)).astype(np.float32)
        table = rows.Table(matrix, chance.integers(0, 2, size), [])
        forest = RandomForest(n_estimators=5, max_depth=30, min_samples_leaf=1)
        model = forest.fit(Task(encoder=encoder, table=table, classes=2, seed=1))
        sizes.append(sum(array.nbytes for array in model.arrays.values()))
    assert sizes[0] < bound / 4  # a small table bounds it enough
    assert bound / 4 < sizes[1] <= bound
    assert bound / 4 < sizes[2] <= bound


def test_evaluation_holds_probabilities_and_not_rows(bytes_per_row, trained, monkeypatch):
    """The class and its probabilities, and what metrics and charts make of them."""
    monkeypatch.setattr(evaluate, "CHUNK_ROWS", 500)
    for module in (evaluate, importance):
        monkeypatch.setattr(module, "MAX_ROWS", 500)

    def place(container, table):
        container.write_input("test", table, "part-00000.csv")
        (container.root / "processing" / "input" / "model").symlink_to(
            trained.root / "processing" / "input" / "model"
        )

    assert bytes_per_row(place, lambda: evaluate.main(["--metric", "auc"])) < 200
