"""Which metrics are better when they are large, and which when they are small, as far as names tell."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LOSSES = re.compile(
    r"[a-z]*(loss|rmse)|mse|mae|s?mape|w[am]ape|mase|r?msle|mphe|rmspe|m?error|errors|err|wer|cer|perplexity|"
    r"deviance|nloglik|(cross)?entropy|hinge|brier"
)
_SCORES = re.compile(
    r"acc(uracy)?|auc(pr)?|auroc|auprc|f1|precision|recall|sensitivity|specificity|r2|ndcg|bleu|rouge|m?iou|"
    r"dice|mcc|kappa|top[15]"
)
# Written in two parts: `r_squared`, `top-1`, `R2`.
_PAIRS = {
    ("r", "2"): "r2",
    ("r", "squared"): "r2",
    ("f", "1"): "f1",
    ("top", "1"): "top1",
    ("top", "5"): "top5",
}


def better(metric: str) -> Literal["large", "small", ""]:
    """What is better of a metric; empty where its name does not say, or says both.

    Example:
        better("validation:rmse")  # small
    """
    words = [word.lower() for word in _WORDS.findall(metric)]
    words += [_PAIRS[pair] for pair in pairwise(words) if pair in _PAIRS]
    loss = any(map(_LOSSES.fullmatch, words))
    score = any(map(_SCORES.fullmatch, words))
    if loss and not score:
        # Scorers turn an error round, so that more is better: neg_mean_squared_error.
        return "large" if {"neg", "negative"} & set(words) else "small"
    if score and not loss:
        return "large"
    return "large" if "score" in words and not loss else ""
