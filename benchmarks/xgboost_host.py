"""One host of `distributed_xgboost`: `python -m benchmarks.xgboost_host SETTINGS`, started once per host.

Finds the others, shards, seeds and trains with the training step's own code, many models in one process: a
process for each would cost more than its training. The first host writes what the models are worth.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from training.common.encoder import CategoryCounter
from training.common.hosts import Hosts
from training.common.table import read_lines
from training.tabular.collective import communicator, together
from training.tabular.datasets import schema_for
from training.tabular.parts import Row, Share, parse_cells
from training.tabular.train import Hyperparameters, Table, encode, fit, of_host

# A seventh is held out and a seventh stops early: near the pipeline's 15 % each.
FOLDS = 7


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a host is told.

    table, target: CSV file and the column to predict.
    out: file for one R2 per repetition, a JSON list.
    names: addresses of all hosts; `rank` is this one's place among them.
    repetitions: each partitions the rows anew and holds every part out once.
    run: distinguishes runs whose chance must differ though their partitions are the same.
    threads: of this host.
    """

    table: str
    target: str
    out: str
    names: tuple[str, ...]
    rank: int
    repetitions: int
    run: int
    threads: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def main(settings: Settings) -> None:
    hosts = Hosts(tuple(settings.names), settings.rank)
    share = Share(hosts.rank, hosts.count)
    encoder, table = read(Path(settings.table), settings.target)
    turns = list(product(range(settings.repetitions), range(FOLDS)))
    boosters = []
    with together(hosts) as arguments, communicator(arguments):
        for repetition, fold in turns:
            parts = partition(len(table.labels), repetition, fold)
            train, validation = (_rows(table, part[share.rank :: share.count]) for part in parts[:2])
            seed = (settings.run * settings.repetitions + repetition) * FOLDS + fold
            parameters = of_host(replace(Hyperparameters(), seed=seed), hosts)
            boosters.append(fit(encoder, train, validation, parameters, settings.threads))
    if not hosts.is_first:
        return
    predictions = np.empty((settings.repetitions, len(table.labels)))
    for (repetition, fold), booster in zip(turns, boosters, strict=True):
        held_out = partition(len(table.labels), repetition, fold)[2]
        predictions[repetition, held_out] = booster.inplace_predict(
            table.matrix[held_out], validate_features=False
        )
    errors = ((predictions - table.labels) ** 2).mean(axis=1)
    scores = 1 - errors / table.labels.var(dtype=np.float64)
    Path(settings.out).write_text(json.dumps(scores.tolist()))


def read(path: Path, target: str) -> tuple[Any, Table]:
    """The whole table, encoded once: rows that are held out decide no more than the codes of categories."""
    schema = schema_for("loans", target)
    rows = [
        Row(line.cells[0], float(line.cells[1]), parse_cells(line.place, schema.features, line.cells[2:]))
        for line in read_lines([path], schema.header)
    ]
    counter = CategoryCounter(schema.features)
    for row in rows:
        counter.add(row.values)
    encoder = counter.encoder()
    return encoder, encode(encoder, rows)


def partition(rows: int, repetition: int, fold: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Places of the rows to train on, to stop early by, and to hold out."""
    parts = np.random.default_rng(repetition).permutation(rows) * FOLDS // rows
    place = (parts - fold) % FOLDS
    return np.flatnonzero(place > 1), np.flatnonzero(place == 1), np.flatnonzero(place == 0)


def _rows(table: Table, places: NDArray[Any]) -> Table:
    return Table(table.matrix[places], table.labels[places], [])


if __name__ == "__main__":
    xgboost.set_config(verbosity=0)
    main(Settings(**json.loads(sys.argv[1])))
