"""The benchmarks of time to an accuracy and of a GPU: what they compute, and the way they go, in small."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import boto3
import torch

from benchmarks import __main__ as command
from benchmarks import gpu_step, time_to_accuracy
from benchmarks.gpu_step import TINY, Looks, Size, turns
from benchmarks.harness import Sample
from benchmarks.input_path import as_client
from benchmarks.time_to_accuracy import Run
from training.vision.sources import read_source

FAST = Run((1.0, 2.0), (0.9, 0.96))
SLOW = Run((2.0, 4.0, 6.0, 8.0, 10.0), (0.2, 0.5, 0.85, 0.91, 0.95))
NEVER = Run((5.0, 10.0), (0.3, 0.4))


def test_time_to_an_accuracy_is_of_its_own_round() -> None:
    runs = {"before": [SLOW, SLOW], "shards": [SLOW, SLOW], "after": [FAST, Run((4.0,), (0.97,))]}
    figures = time_to_accuracy.summary(runs, 0.95)
    assert figures["time_over"]["both"] == {"median": 0.3, "min": 0.2, "max": 0.4}
    assert figures["time_over"]["shards_for_objects"]["median"] == 1.0
    assert figures["both_by_target"] == {"0.8": 0.417, "0.9": 0.312, "0.95": 0.3}
    assert figures["ways"]["after"]["seconds"] == [2.0, 4.0]
    assert figures["ways"]["before"]["epochs"] == [5, 5]
    assert figures["holds"]
    assert not time_to_accuracy.summary(runs | {"after": [SLOW, FAST]}, 0.95)["holds"]


def test_what_was_not_reached_is_no_figure() -> None:
    runs = {"before": [SLOW, NEVER], "shards": [SLOW, SLOW], "after": [FAST, FAST]}
    figures = time_to_accuracy.summary(runs, 0.95)
    assert figures["time_over"]["both"] == {"median": None, "min": None, "max": None}
    assert figures["time_over"]["given_weights"]["median"] == 0.2
    assert figures["ways"]["before"]["seconds"] == [10.0, None]
    assert figures["both_by_target"]["0.8"] is None
    assert not figures["holds"]


def test_two_hosts_take_half_the_time_and_what_they_lose() -> None:
    found = time_to_accuracy.scaled({"median": 0.95, "min": 0.9, "max": 1.0})
    assert found["time_over_one_host_computed"] == 0.526
    both = {"median": 0.4, "min": 0.3, "max": None}
    on_two = time_to_accuracy.on_top(both, 0.526)["with_both_computed"]
    assert on_two == {"median": 0.21, "min": 0.158, "max": None}


def test_a_process_that_measures_in_a_cloud_has_its_keys_there_only(monkeypatch) -> None:
    """All benchmarks run in one, and boto3 keeps the first keys that it has found."""

    def keys(key: str) -> dict[str, str]:
        region = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ENDPOINT_URL": "https://localhost:1"}
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": key, **region}

    def used() -> str:
        return time_to_accuracy.make_client()._request_signer._credentials.access_key

    for name, value in keys("own").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert used() == "own"
    for key in ("first", "second"):
        with as_client(SimpleNamespace(environment=keys), key):
            assert used() == key
        assert used() == "own"


def test_the_race_ends_with_the_accuracy_and_objects_are_the_same_images(tmp_path, monkeypatch) -> None:
    """On the real digits, a tenth of them, with a bucket in memory."""
    stored: dict[str, bytes] = {}

    class Bucket:
        def create_bucket(self, Bucket: str) -> None: ...

        def upload_file(self, path: str, bucket: str, key: str) -> None: ...

        def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
            stored[Key] = Body

        def get_object(self, Bucket: str, Key: str):
            return {"Body": io.BytesIO(stored[Key])}

    monkeypatch.setattr(time_to_accuracy, "make_client", lambda **_: Bucket())
    monkeypatch.setattr(time_to_accuracy, "SIZE", 32)
    monkeypatch.setattr(time_to_accuracy, "PACKAGED", "test_resnet")
    monkeypatch.delenv("SAGEMAKER_BASE_DIR", raising=False)
    classes = time_to_accuracy.prepare(tmp_path)
    assert classes.names == tuple("0123456789")
    folder = tmp_path / "processing" / "output"
    source = read_source("", {name: str(folder / name) for name in time_to_accuracy.SPLITS})
    objects = time_to_accuracy.one_by_one(tmp_path)
    parts = {name: source.entries(name)[:300] for name in time_to_accuracy.SPLITS}
    assert len(stored) == sum(map(len, objects.values())) > 1000
    for name, entries in parts.items():
        assert [each.read() for each in objects[name][:300]] == [each.read() for each in entries]
    runs = [
        time_to_accuracy.train({name: given[name][:300] for name in parts}, classes, "none", 7, 0.3, 8)
        for given in (parts, objects)
    ]
    assert runs[0].top1 == runs[1].top1
    assert runs[0].top1[-1] >= 0.3 > max((0.0, *runs[0].top1[:-1]))
    assert len(runs[0].top1) < 8
    assert 0.0 < runs[0].seconds[0] <= runs[0].seconds[-1] < 3600


def test_without_a_gpu_nothing_is_measured_and_nothing_is_green(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("benchmarks.harness.OUT", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu_step"])
    assert command.main() == command.LACKING == 3
    told = capsys.readouterr().out.strip()
    assert told.startswith("gpu_step: not measured: it needs a GPU of NVIDIA's and PyTorch with CUDA")
    assert "\n" not in told
    assert list(tmp_path.iterdir()) == []
    assert gpu_step.main([]) == 3
    assert capsys.readouterr().err.startswith("gpu_step: not measured: it needs")


def test_a_bound_that_is_missed_counts_for_more_than_what_is_lacking(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr("benchmarks.harness.OUT", tmp_path)

    def lacking(**_: object) -> None:
        raise gpu_step.UnmeasurableError("a GPU")

    for holds, code in ((True, 3), (False, 1)):
        monkeypatch.setattr(gpu_step, "measure", lacking)
        monkeypatch.setattr("benchmarks.decode.measure", lambda holds=holds: {"holds": holds})
        monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu_step", "decode"])
        assert command.main() == code
    assert "gpu_step: not measured: a GPU" in capsys.readouterr().out


def test_the_way_of_a_gpu_is_gone_on_the_cpu_in_small() -> None:
    figures = gpu_step.measure("cpu", TINY)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["device"] == "cpu: says nothing of a GPU"
    assert set(figures["images_per_second"]) == set(gpu_step.SUBJECTS)
    assert min(figures["images_per_second"].values()) > 0
    assert list(figures["stages_ms"]) == ["batch", "copy", "forward", "backward", "optimizer"]
    assert min(figures["stages_ms"].values()) > 0
    assert figures["decoder_images_per_second"] > 0
    assert set(figures["utilization"].values()) == {None}


def test_blocks_are_warmed_up_in_turn_and_give_back_their_memory() -> None:
    asked: list[tuple[str, int]] = []

    def subject(name: str):
        def steps(count: int) -> float:
            asked.append((name, count))
            return float(len(asked))

        return steps

    samples, busy = turns({name: subject(name) for name in "ab"}, Size(steps=5, rounds=2), lambda: None)
    assert asked == [(name, count) for _ in range(3) for name in "ab" for count in (2, 5, 0)]
    assert samples == {"a": Sample((8.0, 14.0)), "b": Sample((11.0, 17.0))}
    assert busy == {"a": [], "b": []}


def test_looks_are_taken_while_the_block_runs() -> None:
    seen = iter([None, 80.0, 90.0])
    with Looks(lambda: next(seen, 90.0)) as looks:
        while len(looks.seen) < 2:
            pass
    assert looks.seen[:2] == [80.0, 90.0]


def test_figures_of_a_gpu() -> None:
    samples = {
        name: Sample(seconds)
        for name, seconds in {
            "plain": (1.0, 2.0),
            "fastest": (1.02, 2.0),
            "memory": (1.53, 3.0),
            "shards": (1.53, 6.0),
        }.items()
    }
    busy = {"plain": [100.0, 98.0], "fastest": [], "memory": [], "shards": []}
    stages = {"decoder_images_per_second": 500.0, "stages_ms": {"batch": 1.0}}
    figures = gpu_step.summary(samples, busy, stages, 150)
    assert figures["images_per_second"]["plain"] == 100.0
    assert figures["loop_over_plain"] == {"median": 1.01, "min": 1.0, "max": 1.02}
    assert figures["deterministic_costs"]["median"] == 1.5
    assert figures["shards_over_memory"] == {"median": 1.5, "min": 1.0, "max": 2.0}
    assert figures["utilization"]["plain"] == 99.0
    assert figures["holds"]
    slow = samples | {"fastest": Sample((1.1, 2.2))}
    assert not gpu_step.summary(slow, busy, stages, 150)["holds"]
