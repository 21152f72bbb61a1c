"""Where the demo puts data: an address that its content decides, for files and for folders of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard_cli.demo.data import Data, prepare, upload
from pipeline_defs.catalog import PIPELINES, ImageClassification, TabularClassification


class S3:
    """Remembers what was put."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:
        assert Bucket == "data"
        self.objects[Key] = Body


def put(table: Path, batch: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    s3 = S3()
    data = Data(
        table=table, batch=batch, examples=[], truth=[], model="model", raw="raw/set/", answer="class"
    )
    return upload(s3, "data", data), s3.objects


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "b").mkdir()
    (tmp_path / "images" / "a" / "1.png").write_bytes(b"one")
    (tmp_path / "images" / "b" / "2.png").write_bytes(b"two")
    (tmp_path / "rows.csv").write_text("x\n1\n")
    (tmp_path / "batch.jsonl").write_text("{}\n")
    return tmp_path


def test_a_file_lies_below_a_digest_of_its_content(files: Path) -> None:
    parameters, objects = put(files / "rows.csv", files / "batch.jsonl")
    assert parameters["BatchData"] == "s3://data/batch/model/batch.jsonl"
    key = parameters["InputData"].removeprefix("s3://data/")
    assert objects == {key: b"x\n1\n", "batch/model/batch.jsonl": b"{}\n"}
    (files / "rows.csv").write_text("x\n2\n")
    assert put(files / "rows.csv", files / "batch.jsonl")[0]["InputData"] != parameters["InputData"]


def test_a_folder_keeps_its_names_below_a_digest_of_all_of_it(files: Path) -> None:
    parameters, objects = put(files / "images", files / "images" / "a")
    prefix = parameters["InputData"].removeprefix("s3://data/")
    assert prefix.startswith("raw/set/")
    assert prefix.endswith("/")
    assert objects == {
        f"{prefix}a/1.png": b"one",
        f"{prefix}b/2.png": b"two",
        "batch/model/1.png": b"one",
    }
    (files / "images" / "b" / "2.png").rename(files / "images" / "a" / "2.png")
    assert put(files / "images", files / "images" / "a")[0]["InputData"] != parameters["InputData"]


def test_each_classifier_gets_the_data_of_its_own_set(tmp_path: Path) -> None:
    specs = [spec for spec in PIPELINES if isinstance(spec.family, TabularClassification)]
    found = {data.model: data for data in prepare(specs, tmp_path)}
    assert [data.raw for data in found.values()] == [spec.family.raw for spec in specs]
    for spec in specs:
        data, family = found[spec.name], spec.family
        assert isinstance(family, TabularClassification)
        rows = data.table.read_text().splitlines()
        assert rows[0].split(",")[1] == family.target
        assert data.truth
        assert {row.split(",")[1] for row in rows[1:]} >= set(data.truth)
        assert family.target not in data.batch.read_text()
    assert len(found["mortgage-approval"].table.read_text().splitlines()) == 1 + 1934


@pytest.mark.torch
def test_the_digits_are_the_same_bytes_each_time_and_the_batch_is_not_among_them(tmp_path: Path) -> None:
    specs = [spec for spec in PIPELINES if isinstance(spec.family, ImageClassification)]
    (first,), (second,) = (prepare(specs, tmp_path / name) for name in ("first", "second"))
    names = {path.name: path for path in first.table.rglob("*.png")}
    again = {path.name: path for path in second.table.rglob("*.png")}
    assert (len(names), {path.parent.name for path in names.values()}) == (1747, set("0123456789"))
    assert {name: path.read_bytes() for name, path in names.items()} == {
        name: path.read_bytes() for name, path in again.items()
    }
    held_back = json.loads((first.batch.parent / "batch_truth.json").read_text())
    assert {path.name for path in first.batch.iterdir()} == held_back.keys()
    assert len(held_back) == 50
    assert not held_back.keys() & names.keys()
    assert first.images is True
