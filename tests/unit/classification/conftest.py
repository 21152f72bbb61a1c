"""Generated rows, a container's folders, and trained classifiers of every algorithm."""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tabular.conftest import Container, Table, model_trial, serve
from training.classification import algorithms, datasets, preprocess, refit, trial
from training.classification.algorithms import ALGORITHMS
from training.classification.datasets import ClassDataset
from training.common.failure import UserError
from training.tabular.datasets import Column

__all__ = ["model_trial", "serve"]

ARGUMENTS = ["--dataset", "flowers", "--target", "kind"]
BINARY = ["--dataset", "flowers", "--target", "edible"]
FAST: dict[str, dict[str, str]] = {
    "xgboost": {"num_round": "20"},
    "lightgbm": {"num_round": "20"},
    "random-forest": {"n_estimators": "15"},
    "logistic-regression": {"c": "0.5"},
    "naive-bayes": {},
    "neural-net": {"hidden_units": "8", "hidden_layers": "2", "learning_rate_init": "0.02"},
}
# Three classes and two, numbers and categories, gaps allowed in one of each.
FLOWERS = ClassDataset(
    id="flower_id",
    columns=(
        Column("length", "numeric"),
        Column("width", "numeric", 0.5),
        Column("soil", "categorical"),
        Column("color", "categorical", 0.5),
    ),
    targets={"kind": None, "edible": "yes"},
)


@pytest.fixture(autouse=True)
def flowers_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(datasets.DATASETS, "flowers", FLOWERS)


def make_flowers(rows: int, seed: int = 1) -> Table:
    source = random.Random(seed)
    table = []
    for index in range(rows):
        kind = ("aster", "broom", "clover")[index % 3]
        place = "abc".index(kind[0])
        row = {
            "flower_id": f"F{index:04d}",
            "kind": kind,
            "length": f"{source.gauss(place, 0.6):.3f}",
            "width": "" if source.random() < 0.1 else f"{source.gauss(-place, 0.6):.3f}",
            "soil": source.choice(("sand", "clay")),
            "color": "" if source.random() < 0.1 else source.choice(("red", "blue", "white")),
        }
        edible = place + (row["soil"] == "sand") >= 2
        table.append({**row, "edible": "yes" if edible != (source.random() < 0.05) else "no"})
    return table


@pytest.fixture(scope="session")
def flowers() -> Callable[..., Table]:
    return make_flowers


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    return Container(tmp_path / "ml")


def archive(source: Path, target: Path) -> Path:
    """model.tar.gz as SageMaker makes it of a model folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:gz") as tar:
        for path in sorted(source.iterdir()):
            tar.add(path, path.name)
    return target


def train(root: Path, algorithm: str, arguments: list[str]) -> Container:
    """A container in which preprocessing, a trial and the refit have run; `model` is also an input."""
    container = Container(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(datasets.DATASETS, "flowers", FLOWERS)
        patch.setenv("SAGEMAKER_BASE_DIR", str(root))
        container.write_input("data", make_flowers(240), "rows.csv")
        preprocess.main(arguments)
        for name in ("train", "encoder"):
            container.channel(name, container.output(name))
        setting = {"algorithm": f'"{algorithm}"', "scorer": "accuracy", "folds": "3", "random_state": "5"}
        values = setting | FAST[algorithm] | {"_tuning_objective_metric": "cv:score"}
        container.config("hyperparameters.json", values)
        trial.main([])
        archive(root / "model", root / "input" / "data" / "trial" / "model.tar.gz")
        (root / "model" / trial.TRIAL).unlink()
        container.config("hyperparameters.json", {})
        refit.main([])
        archive(root / "model", root / "processing" / "input" / "model" / "model.tar.gz")
    return container


@pytest.fixture(scope="session", params=sorted(ALGORITHMS))
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def trained(algorithm: str, tmp_path_factory: pytest.TempPathFactory) -> Container:
    """Three classes, each algorithm."""
    return train(tmp_path_factory.mktemp(algorithm), algorithm, ARGUMENTS)


@pytest.fixture(scope="session")
def trained_binary(algorithm: str, tmp_path_factory: pytest.TempPathFactory) -> Container:
    """Two classes, each algorithm."""
    return train(tmp_path_factory.mktemp(algorithm), algorithm, BINARY)


@pytest.fixture
def refused() -> Callable[..., str]:
    """Runs a step's main and returns the one line that it refuses with."""

    def run(main: Callable[[list[str]], None], arguments: list[str]) -> str:
        with pytest.raises(UserError) as caught:
            main(arguments)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return run


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


assert set(FAST) == set(algorithms.ALGORITHMS)
