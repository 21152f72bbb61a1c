"""Real data for the pipelines of the catalogue, and how it gets to where they read it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard_cli.demo.commands import ROOT
from modelyard_cli.errors import FAILED, CliError
from pipeline_defs.catalog import Family, ImageClassification, PipelineSpec, TabularRegression

_UPLOADS_AT_ONCE = 8
_SHOWN = 5


@dataclass(frozen=True)
class Data:
    """What was made from packages of real data, for one pipeline.

    table, batch: a file, or a folder of files, for `InputData` and `BatchData`.
    examples, truth: what to predict first, and what is right: rows, or names of images of the batch.
    raw: where `InputData` lies in the data bucket.
    answer: what the model predicts.
    images: whether the examples are images.
    """

    table: Path
    batch: Path
    examples: list[Any]
    truth: list[Any]
    model: str
    raw: str
    answer: str
    images: bool = False


def prepare(specs: Sequence[PipelineSpec], out: Path) -> list[Data]:
    """Write the data of some pipelines below `out`; raises CliError when that fails."""
    for tool in dict.fromkeys(_tool(spec.family) for spec in specs):
        done = subprocess.run(
            [sys.executable, f"tools/{tool}.py", "--out", str(out)],
            cwd=ROOT,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise CliError(f"no data: {done.stderr.strip()}", FAILED)
    return [_data(spec, out) for spec in specs]


def _tool(family: Family) -> str:
    if isinstance(family, TabularRegression):
        return "loans"
    return "image_data" if isinstance(family, ImageClassification) else "classification_data"


def _data(spec: PipelineSpec, out: Path) -> Data:
    family: Any = spec.family
    if isinstance(family, ImageClassification):
        folder = out / family.dataset
        truth = json.loads((folder / "batch_truth.json").read_text())
        names = list(truth)[:_SHOWN]
        return Data(
            table=folder / "images",
            batch=folder / "batch",
            examples=names,
            truth=[truth[name] for name in names],
            model=spec.name,
            raw=family.raw,
            answer="class",
            images=True,
        )
    if isinstance(family, TabularRegression):
        folder, table = out / family.scenario / family.target, out / family.scenario / "loans.csv"
    else:
        folder, table = out / family.dataset, out / family.dataset / "rows.csv"
    demo = json.loads((folder / "demo.json").read_text())
    return Data(
        table=table,
        batch=folder / "batch.jsonl",
        examples=demo["instances"],
        truth=demo[family.target],
        model=spec.name,
        raw=family.raw,
        answer=family.target,
    )


def upload(s3: Any, bucket: str, data: Data) -> dict[str, str]:
    """Put the files where the pipeline reads them; returns its parameters.

    SageMaker's step cache compares addresses: one that its content decides makes equal data, and only that,
    a hit.
    """
    places = {
        "InputData": (data.table, f"{data.raw}{_digest(data.table)}/"),
        "BatchData": (data.batch, f"batch/{data.model}/"),
    }
    with ThreadPoolExecutor(max_workers=_UPLOADS_AT_ONCE) as pool:
        for source, prefix in places.values():
            list(
                pool.map(lambda item, to=prefix: _put(s3, bucket, f"{to}{item[0]}", item[1]), _files(source))
            )
    return {
        name: f"s3://{bucket}/{prefix}{'' if source.is_dir() else source.name}"
        for name, (source, prefix) in places.items()
    }


def _put(s3: Any, bucket: str, key: str, path: Path) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


def _files(source: Path) -> Iterator[tuple[str, Path]]:
    """Each file's name below `source`, and where it lies."""
    if source.is_file():
        yield source.name, source
        return
    for path in sorted(source.rglob("*")):
        if path.is_file():
            yield path.relative_to(source).as_posix(), path


def _digest(source: Path) -> str:
    if source.is_file():
        return hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    total = hashlib.sha256()
    for name, path in _files(source):
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()[:12]
