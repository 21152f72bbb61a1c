"""Step 3, one training job of the tuning job: cross-validate one algorithm with one set of hyperparameters.

Channels `train` (CSV parts) and `encoder` (encoder.json, classes.json). Hyperparameters: those of `Setting`,
and those of the algorithm. The log carries the score that the tuning job looks for, `cv-score=...`. The model
archive holds trial.json only: which algorithm, which hyperparameters, which scores. The refit step reads the
best trial's; it cannot ask SageMaker, since jobs have no network, and the tuning step's properties cannot
hand the hyperparameters on, since each algorithm has others.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from threadpoolctl import threadpool_limits

from training.classification.algorithms import ALGORITHMS, Algorithm, Task, threads_for
from training.classification.metrics import SCORERS
from training.classification.rows import encode, read_encoder, read_labels, read_rows
from training.classification.validation import scores
from training.common.failure import UserError, run, say
from training.common.hosts import read_hosts
from training.common.hyperparameters import build, read_values
from training.common.paths import channel, model_dir

TRIAL = "trial.json"
# Where SageMaker tells every container the objective's name; nothing here depends on it.
OBJECTIVE = "_tuning_objective_metric"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all trials of an algorithm share. `scorer`: a key of `SCORERS`, `folds`: of the validation."""

    algorithm: str
    scorer: str = "auc"
    folds: int = 5
    random_state: int = 7

    def __post_init__(self) -> None:
        for name, known in (("algorithm", ALGORITHMS), ("scorer", SCORERS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if not 2 <= self.folds <= 20:
            raise ValueError(f"folds must be 2 to 20, got {self.folds}")


def main(_arguments: Sequence[str]) -> None:
    if read_hosts().count > 1:
        raise UserError("a trial runs on one host; more of them run at once with MaxParallelTuningJobs")
    setting, algorithm = read_setting(read_values())
    encoder, labels = read_encoder(channel("encoder")), read_labels(channel("encoder"))
    table = encode(read_rows(channel("train"), encoder.features), encoder, labels)
    task = Task(
        encoder=encoder,
        table=table,
        classes=len(labels.classes),
        seed=setting.random_state,
        threads=threads_for(table),
    )
    hyperparameters = dataclasses.asdict(algorithm)  # type: ignore[call-overload]  # each is a dataclass
    say(f"{setting.algorithm} {hyperparameters}: {len(table.codes)} rows, {setting.folds} folds")
    started = time.monotonic()
    found = []
    with threadpool_limits(task.threads):  # those of the linear algebra
        folds = scores(algorithm, task, SCORERS[setting.scorer], setting.folds, labels)
        for fold, score in enumerate(folds, start=1):
            if not math.isfinite(score):
                raise UserError(f"{setting.scorer} is undefined on fold {fold}: use fewer folds or more rows")
            say(f"fold {fold} of {setting.folds}: {setting.scorer} {score:.5f}")
            found.append(score)
    trial = {
        "algorithm": setting.algorithm,
        "hyperparameters": hyperparameters,
        "scorer": setting.scorer,
        "random_state": setting.random_state,
        "score": fmean(found),
        "fold_scores": found,
        "seconds": time.monotonic() - started,
    }
    (model_dir() / TRIAL).write_text(json.dumps(trial, indent=1) + "\n", encoding="utf-8")
    say(f"cv-score={trial['score']:.6f};")


def read_setting(values: Mapping[str, Any]) -> tuple[Setting, Algorithm]:
    """A job's hyperparameters, all texts -> what all trials share, and this one's algorithm."""
    names = {field.name for field in dataclasses.fields(Setting)}
    if "algorithm" not in values:
        raise UserError(f"hyperparameter algorithm is missing; it is one of {', '.join(ALGORITHMS)}")
    setting = build(Setting, {name: value for name, value in values.items() if name in names})
    chosen = {name: value for name, value in values.items() if name not in {*names, OBJECTIVE}}
    algorithm: Algorithm = build(ALGORITHMS[setting.algorithm], chosen)
    return setting, algorithm


if __name__ == "__main__":
    raise SystemExit(run(main))
