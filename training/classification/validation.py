"""Cross-validation: how well an algorithm does on rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.classification.algorithms import Algorithm, Task
from training.classification.metrics import Metric
from training.classification.rows import Codes, Labels, Table
from training.common.failure import UserError


def scores(algorithm: Algorithm, task: Task, scorer: Metric, folds: int, labels: Labels) -> Iterator[float]:
    """The score on each fold of a model that was trained on the others."""
    table = task.table
    places = fold_of(table.codes, folds, task.seed, labels)
    for fold in range(folds):
        inside = places != fold
        part = Table(table.matrix[inside], table.codes[inside])
        model = algorithm.fit(
            Task(encoder=task.encoder, table=part, classes=task.classes, seed=task.seed, threads=task.threads)
        )
        yield scorer(table.codes[~inside], model.probabilities(table.matrix[~inside]))


def fold_of(codes: Codes, folds: int, seed: int, labels: Labels) -> NDArray[np.int64]:
    """The fold of each row, at random, with each class spread evenly over the folds.

    Raises UserError where a class has fewer rows than there are folds.
    """
    places = np.zeros(len(codes), dtype=np.int64)
    source = np.random.default_rng(seed)
    first = 0
    for code, name in enumerate(labels.classes):
        found = np.flatnonzero(codes == code)
        if len(found) < folds:
            raise UserError(
                f"class {name!r} has {len(found)} training rows, {folds} folds need as many: "
                "set CrossValidationFolds lower, or give more rows"
            )
        # Where one class ends the next goes on, so that no fold is larger than another by more than one row.
        places[source.permutation(found)] = (first + np.arange(len(found))) % folds
        first += len(found)
    return places
