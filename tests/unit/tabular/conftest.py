"""Generated loans, a container's folders, and a small trained model, for the tests of steps and server."""

from __future__ import annotations

import asyncio
import csv
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from training.common.failure import UserError
from training.serving.server import make_app
from training.serving.settings import Settings
from training.serving.trial import Trial
from training.tabular import preprocess, train
from training.tabular.datasets import TableSchema, schema_for

DATASET = ["--dataset", "loans", "--target", "interest_rate"]
Table = list[dict[str, str]]


@pytest.fixture(scope="session")
def schema() -> TableSchema:
    return schema_for("loans", "interest_rate")


def make_loans(schema: TableSchema, rows: int, seed: int = 1) -> Table:
    """Loans whose rate depends on term, income and state, with every column filled or empty as allowed."""
    source = random.Random(seed)
    table = []
    for index in range(rows):
        row = {column.name: str(source.randint(0, 40)) for column in schema.columns}
        for column in schema.columns:
            if column.kind == "categorical":
                row[column.name] = source.choice("ABC")
            if column.max_missing >= 0.5 and source.random() < 0.3:
                row[column.name] = ""
        row["term"] = source.choice(["36", "60"])
        row["annual_income"] = str(source.randint(20, 200) * 1000)
        rate = 8 + 4 * (row["term"] == "60") + 200_000 / int(row["annual_income"]) + 2 * (row["state"] == "B")
        table.append(
            {"loan_id": f"L{index:05d}", "interest_rate": f"{rate + source.gauss(0, 0.3):.2f}", **row}
        )
    return table


@pytest.fixture(scope="session")
def loans(schema: TableSchema) -> Callable[..., Table]:
    return lambda rows, seed=1: make_loans(schema, rows, seed)


class Container:
    """A job's folders under SAGEMAKER_BASE_DIR."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write_input(self, name: str, table: Table, file: str = "loans.csv") -> Path:
        path = self.root / "processing" / "input" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
        return path

    def write_text(self, name: str, text: str | bytes, file: str = "loans.csv") -> Path:
        path = self.root / "processing" / "input" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def output(self, name: str) -> Path:
        return self.root / "processing" / "output" / name

    def channel(self, name: str, source: Path) -> None:
        path = self.root / "input" / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(source)

    def config(self, name: str, document: Any) -> None:
        path = self.root / "input" / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    return Container(tmp_path / "ml")


@pytest.fixture
def other_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Container]:
    """Switches SAGEMAKER_BASE_DIR to another container of the same test."""

    def switch(name: str) -> Container:
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / name))
        return Container(tmp_path / name)

    return switch


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, schema: TableSchema) -> Container:
    """A container in which preprocessing and training have run on 600 generated loans."""
    root = tmp_path_factory.mktemp("trained")
    container = Container(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_BASE_DIR", str(root))
        container.write_input("data", make_loans(schema, 600))
        preprocess.main(DATASET)
        for name in ("train", "validation", "encoder"):
            container.channel(name, container.output(name))
        container.config("hyperparameters.json", {"num_round": "60", "eta": "0.3"})
        train.main([])
    return container


@pytest.fixture
def model_folder(trained: Container, tmp_path: Path) -> Path:
    """A private copy of the trained model's folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (trained.root / "model").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def refused() -> Callable[..., str]:
    """Runs a step's main and returns the one line that it refuses with."""

    def run(main: Callable[[list[str]], None], arguments: list[str] | None = None) -> str:
        with pytest.raises(UserError) as caught:
            main(DATASET if arguments is None else arguments)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return run


class Client:
    """Calls an ASGI application in process, one event loop for all calls of a test."""

    def __init__(self, app: Any, runner: asyncio.Runner) -> None:
        self._app = app
        self._runner = runner

    def __call__(self, method: str, target: str, body: Any = b"", **headers: str) -> Answer:
        return self._runner.run(self.send(method, target, body, **headers))

    def together(self, *calls: tuple[Any, ...]) -> list[Answer]:
        """Starts all calls at once."""

        async def all_of_them() -> list[Answer]:
            return await asyncio.gather(*(self.send(*call) for call in calls))

        return self._runner.run(all_of_them())

    async def send(self, method: str, target: str, body: Any = b"", **headers: str) -> Answer:
        path, _, query = target.partition("?")
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        pieces = [data[start : start + 1000] for start in range(0, max(len(data), 1), 1000)]
        messages = [
            {"type": "http.request", "body": piece, "more_body": index < len(pieces) - 1}
            for index, piece in enumerate(pieces)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()],
        }
        await self._app(scope, receive, send)
        kind = dict(sent[0]["headers"])[b"content-type"].decode()
        return Answer(sent[0]["status"], sent[1]["body"], kind)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    content_type: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


@pytest.fixture(scope="session")
def model_trial() -> Iterator[Trial]:
    """One for all tests: to start its process takes a second."""
    trial = Trial(1024**3)
    yield trial
    trial.close()


@pytest.fixture
def serve(model_trial: Trial) -> Iterator[Callable[..., Client]]:
    """`serve(multi_model=True, max_rows=10)` -> a client of a server with these settings."""
    with asyncio.Runner() as runner:
        yield lambda **settings: Client(make_app(Settings(**settings), model_trial), runner)


@pytest.fixture
def hosting(container: Container, model_folder: Path) -> Container:
    """A hosting container with the trained model as /opt/ml/model."""
    container.root.mkdir(parents=True)
    (container.root / "model").symlink_to(model_folder)
    return container
