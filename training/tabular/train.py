"""Step 3: train XGBoost, on one host or one model over several, and write what goes into the model archive.

Channels `train`, `validation` (CSV parts) and `encoder`. Hyperparameters: see `Hyperparameters`. The model
directory receives model.ubj, encoder.json and manifest.json with golden rows; SageMaker makes model.tar.gz
of it. Of several hosts, each trains on its share of the rows, and the first writes the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from training.common.boosting import xgboost
from training.common.encoder import Encoder, Matrix
from training.common.failure import UserError, run, say
from training.common.features import Value
from training.common.hosts import Hosts, read_hosts, usable_cpus
from training.common.hyperparameters import read_hyperparameters
from training.common.manifest import NAME, TOLERANCE, Golden, Manifest
from training.common.paths import channel, model_dir, single_file
from training.common.tabular_model import FRAMEWORK, load
from training.tabular.collective import communicator, share_of, summed, together
from training.tabular.parts import Row, read_part_names, read_rows

CHUNK_ROWS = 10_000
GOLDEN_ROWS = 5
RELATIVE_TOLERANCE = 1e-5
SEED_STEP = 1_000_003


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """XGBoost's parameters of the same names; `num_round` is the upper bound that early stopping cuts."""

    num_round: int = 400
    early_stopping_rounds: int = 20
    max_depth: int = 4
    eta: float = 0.06
    subsample: float = 0.8
    colsample_bytree: float = 0.8
    min_child_weight: float = 5.0
    reg_lambda: float = 1.0
    seed: int = 7

    def __post_init__(self) -> None:
        for name in ("num_round", "early_stopping_rounds", "max_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("eta", "subsample", "colsample_bytree"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        for name in ("min_child_weight", "reg_lambda"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def booster_parameters(self, threads: int) -> dict[str, Any]:
        chosen = asdict(self)
        del chosen["num_round"], chosen["early_stopping_rounds"]
        chosen["lambda"] = chosen.pop("reg_lambda")
        fixed = {"objective": "reg:squarederror", "eval_metric": "rmse", "tree_method": "hist"}
        return fixed | {"nthread": threads} | chosen


@dataclass(frozen=True, slots=True)
class Table:
    """An encoded split: `matrix` (rows, features), `labels` (rows,), and a few of its raw rows."""

    matrix: Matrix
    labels: Matrix
    samples: list[Row]


def main(_arguments: Sequence[str]) -> None:
    hosts = read_hosts()
    parameters = read_hyperparameters(Hyperparameters)
    with together(hosts) as arguments:
        encoder = _read_encoder(single_file(channel("encoder"), "encoder.json"))
        train = encode(encoder, _rows("train", encoder, hosts))
        validation = encode(encoder, _rows("validation", encoder, hosts))
        say(
            f"host {hosts.rank + 1} of {hosts.count}: train {len(train.labels)} rows, "
            f"validation {len(validation.labels)}; {len(encoder.features)} features"
        )
        with communicator(arguments):
            booster = fit(encoder, train, validation, of_host(parameters, hosts), usable_cpus())
            rows, total = summed([len(train.labels), train.labels.sum(dtype=np.float64)])
    if not hosts.is_first:
        say("trained; the first host writes the model")
        return
    id_name, target = read_part_names(channel("train"))
    training = {
        "rows": int(rows),
        "hosts": hosts.count,
        "target_mean": total / rows,
        "rounds": booster.num_boosted_rounds(),
        "hyperparameters": asdict(parameters),
    }
    golden = Golden(instances=_instances(encoder, validation.samples), predictions=())
    manifest = Manifest(
        framework=FRAMEWORK,
        framework_version=xgboost.__version__,
        model="model.ubj",
        encoder="encoder.json",
        features=encoder.features,
        id=id_name,
        target=target,
        training=training,
        golden=golden,
    )
    write_model(model_dir(), booster, encoder, manifest)
    say(f"best of {booster.num_boosted_rounds()} rounds kept; wrote {model_dir()}")


def of_host(parameters: Hyperparameters, hosts: Hosts) -> Hyperparameters:
    """The parameters as one of several hosts trains with them: with a seed of its own.

    Each host samples its rows itself: with one seed, rows at the same place of every share would be in or out
    together. Columns are sampled by the first host for all.
    """
    return replace(parameters, seed=parameters.seed + SEED_STEP * hosts.rank)


def _rows(name: str, encoder: Encoder, hosts: Hosts) -> Iterator[Row]:
    return read_rows(channel(name), encoder.features, share_of(name, hosts))


def encode(encoder: Encoder, rows: Iterable[Row]) -> Table:
    """Encode rows in chunks: only the float32 matrix of a large table is ever in memory."""
    matrices, labels = [], []
    samples: list[Row] = []
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK_ROWS)):
        samples += chunk[: GOLDEN_ROWS - len(samples)]
        matrices.append(encoder.encode([row.values for row in chunk]))
        labels.append(np.array([row.target for row in chunk], dtype=np.float32))
    if not matrices:
        raise UserError(
            "a channel has no rows for this host; check the preprocessing step, or use fewer hosts"
        )
    return Table(np.concatenate(matrices), np.concatenate(labels), samples)


def fit(encoder: Encoder, train: Table, validation: Table, parameters: Hyperparameters, threads: int) -> Any:
    """The booster cut to its best round on the validation rows."""
    names = [feature.name for feature in encoder.features]

    def matrix(table: Table) -> Any:
        return xgboost.DMatrix(
            table.matrix,
            table.labels,
            feature_names=names,
            feature_types=encoder.feature_types,
            enable_categorical=True,
            nthread=threads,
        )

    training = matrix(train)
    booster = xgboost.train(
        parameters.booster_parameters(threads),
        training,
        num_boost_round=parameters.num_round,
        evals=[(training, "train"), (matrix(validation), "validation")],
        early_stopping_rounds=parameters.early_stopping_rounds,
        verbose_eval=20,
    )
    return booster[: booster.best_iteration + 1]


def write_model(folder: Path, booster: Any, encoder: Encoder, manifest: Manifest) -> None:
    """Write the model directory, with golden predictions made by the model as it is loaded from there."""
    booster.save_model(folder / manifest.model)
    (folder / manifest.encoder).write_text(encoder.to_json(), encoding="utf-8")
    unproven = _with_predictions(manifest, [], [])
    (folder / NAME).write_text(unproven.to_json(), encoding="utf-8")
    model = load(folder)
    instances = list(manifest.golden.instances)
    predictions = model.predict([model.values(instance, row) for row, instance in enumerate(instances)])
    proven = _with_predictions(manifest, instances, predictions)
    (folder / NAME).write_text(proven.to_json(), encoding="utf-8")


def _with_predictions(manifest: Manifest, instances: list[Any], predictions: list[float]) -> Manifest:
    # Another processor may add the leaves, float32, in another order: an error in proportion to their sum.
    scale = max(map(abs, predictions), default=0.0)
    golden = Golden(
        instances=tuple(instances),
        predictions=tuple(predictions),
        # The deployer refuses more than 1.
        tolerance=min(max(TOLERANCE, RELATIVE_TOLERANCE * scale), 1.0),
    )
    return replace(manifest, golden=golden)


def _instances(encoder: Encoder, rows: Sequence[Row]) -> tuple[dict[str, Value], ...]:
    names = [feature.name for feature in encoder.features]
    return tuple(dict(zip(names, row.values, strict=True)) for row in rows)


def _read_encoder(path: Path) -> Encoder:
    try:
        return Encoder.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path.name}: {error}") from error


if __name__ == "__main__":
    raise SystemExit(run(main))
