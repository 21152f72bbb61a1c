"""What a classifier goes by, whatever its algorithm: how much worse it is when a feature says nothing."""

from __future__ import annotations

import numpy as np

from training.classification.metrics import Codes, negative_log_loss
from training.common.classifier import Classifier
from training.common.encoder import Matrix

REPEATS = 3
MAX_ROWS = 2_000


def importance(model: Classifier, matrix: Matrix, truth: Codes) -> dict[str, float]:
    """Feature -> how much the log loss grows when its values are dealt out among the rows at random.

    matrix: (rows, features) as the encoder makes it; the first `MAX_ROWS` are used.
    """
    matrix, truth = matrix[:MAX_ROWS], truth[:MAX_ROWS]
    source = np.random.default_rng(1)
    base = negative_log_loss(truth, model.predictor.probabilities(matrix))
    found = {}
    for place, feature in enumerate(model.encoder.features):
        losses = []
        for _ in range(REPEATS):
            shuffled = matrix.copy()
            shuffled[:, place] = source.permutation(shuffled[:, place])
            losses.append(base - negative_log_loss(truth, model.predictor.probabilities(shuffled)))
        found[feature.name] = float(np.mean(losses))
    return found
