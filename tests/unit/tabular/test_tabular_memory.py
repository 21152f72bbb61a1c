"""What a million rows would cost: the steps read a table row by row, so memory grows by bytes per row."""

from __future__ import annotations

import tarfile
import tracemalloc

import pytest

from training.tabular import evaluate, preprocess, validate
from training.tabular.parts import Row
from training.tabular.train import encode

DATASET = ["--dataset", "loans", "--target", "interest_rate"]
MILLION = 1_000_000


def peak(act) -> int:
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Validation remembers every identifier, to find those that appear twice; preprocessing remembers no row.
@pytest.mark.parametrize(("step", "bound"), [(validate, 200e6), (preprocess, 20e6)])
def test_a_million_rows_fit_into_memory(other_container, loans, step, bound):
    peaks = []
    for rows in (1000, 4000):
        other_container(f"{rows}").write_input("data", loans(rows))
        peaks.append(peak(lambda: step.main(DATASET)))
    assert (peaks[1] - peaks[0]) / 3000 * MILLION < bound


def test_training_holds_numbers_and_not_rows(trained):
    """Twice the float32 matrix at most, while its pieces are put together."""
    from training.common.tabular_model import load

    encoder = load(trained.root / "model").encoder
    values = [1.0 if feature.kind == "numeric" else "A" for feature in encoder.features]
    peaks = [
        peak(lambda rows=rows: encode(encoder, (Row(str(i), 1.0, values) for i in range(rows))))
        for rows in (20_000, 60_000)
    ]
    per_row = (peaks[1] - peaks[0]) / 40_000
    assert per_row < 2.5 * 4 * (len(encoder.features) + 1)


def test_evaluation_holds_two_numbers_a_row(trained, other_container, loans, monkeypatch):
    """The true and the predicted value, and what metrics and charts make of them: not the rows."""
    monkeypatch.setattr(evaluate, "CHUNK_ROWS", 250)
    peaks = []
    for number, rows in enumerate((1000, 1000, 4000)):  # once before: modules that are imported then
        container = other_container(f"{number}")
        archive = container.write_text("model", b"", "model.tar.gz")
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(trained.root / "model", ".")
        container.write_input("test", loans(rows), "part-00000.csv")
        peaks.append(peak(lambda: evaluate.main([])))
    assert (peaks[2] - peaks[1]) / 3000 * MILLION < 200e6
