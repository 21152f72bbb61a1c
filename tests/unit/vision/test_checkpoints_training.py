"""Training with checkpoints on one host: going on as if nothing had happened, and what may go wrong."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.unit.vision.checkpoint_support import pointer_in
from tests.unit.vision.vision_support import Container
from training.vision import train
from training.vision.checkpoints import folder as folders
from training.vision.checkpoints.folder import FolderStore
from training.vision.checkpoints.format import MAGIC
from training.vision.checkpoints.journal import Journal
from training.vision.checkpoints.pointer import POINTER, Keep
from training.vision.checkpoints.saver import STOPPED
from training.vision.data import Split

SETTINGS = {"epochs": 3, "augment": "crop_flip", "learning_rate": 0.003, "batch_size": 16}
STEPS = 15  # of the whole training


def prepare(container, trained, checkpoints=None, **changes):
    """A job on the data of `trained`, with SageMaker's folder of checkpoints."""
    for channel in ("train", "validation", "classes"):
        container.channel(channel, trained.output(channel))
    container.hyperparameters(**(SETTINGS | {"checkpoint_seconds": 0} | changes))
    if checkpoints:
        shutil.copytree(checkpoints, container.root / "checkpoints")
    else:
        (container.root / "checkpoints").mkdir(parents=True)
    return container


@pytest.fixture
def jobs(trained, other_container):
    """Jobs by name."""

    def make(name, checkpoints=None, **changes):
        return prepare(other_container(name), trained, checkpoints, **changes)

    return make


@pytest.fixture(scope="module")
def undisturbed(trained, tmp_path_factory):
    container = prepare(Container(tmp_path_factory.mktemp("undisturbed")), trained)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_BASE_DIR", str(container.root))
        train.main([])
    return container


@pytest.fixture
def at_step(monkeypatch):
    """Does something while a step is computed, counted from 1."""
    count = [0]
    loss_of = train.loss_of

    def arrange(number, action):
        count[0] = 0

        def counted(*arguments):
            count[0] += 1
            if count[0] == number:
                action()
            return loss_of(*arguments)

        monkeypatch.setattr(train, "loss_of", counted)

    return arrange


@pytest.fixture
def at_evaluation(monkeypatch):
    """Does something before batches of evaluations, counted from 1; returns those that were evaluated."""
    evaluation = Split.evaluation

    def arrange(actions):
        seen = []

        def counted(*arguments):
            for batch in evaluation(*arguments):
                actions.get(len(seen) + 1, lambda: None)()
                seen.append(len(batch.labels))
                yield batch

        monkeypatch.setattr(Split, "evaluation", counted)
        return seen

    return arrange


def last_state(container):
    store = FolderStore(container.root / "checkpoints")
    data = store.read(pointer_in(store).kept[-1].name).data
    return torch.load(io.BytesIO(data[data.index(b"\n", len(MAGIC)) + 1 :]), weights_only=True)


def flat(value, path=""):
    if isinstance(value, dict):
        return {
            name: leaf for key, item in value.items() for name, leaf in flat(item, f"{path}/{key}").items()
        }
    if isinstance(value, list):
        return flat(dict(enumerate(value)), path)
    return {path: value}


def assert_same(one, other):
    """The model, and all that a checkpoint at the end holds, to the bit, but for the time that it took."""
    models = [load_file(job.root / "model" / "model.safetensors") for job in (one, other)]
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items())
    manifests = [json.loads((job.root / "model" / "manifest.json").read_text()) for job in (one, other)]
    assert manifests[0]["training"]["epoch"] == manifests[1]["training"]["epoch"]
    states = [flat(last_state(job) | {"account": None}) for job in (one, other)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, states[1][name]), name
        else:
            assert value == states[1][name], name


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def steps_in(container):
    return [entry.step for entry in pointer_in(FolderStore(container.root / "checkpoints")).kept]


@pytest.mark.parametrize("step", [1, 10, STEPS])
def test_a_stopped_job_goes_on_to_the_same_model(jobs, undisturbed, at_step, capsys, step):
    """Also where it is stopped at the end of an epoch, before its validation, and more than once."""
    job = jobs("stopped")
    handler = signal.getsignal(signal.SIGTERM)
    at_step(step, terminate)
    with pytest.raises(SystemExit) as ended:
        train.main([])
    assert ended.value.code == STOPPED == 143
    assert f"stopped by SIGTERM after step {step}, checkpoint step-{step:08d}-" in capsys.readouterr().out
    assert steps_in(job)[-1] == step
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not (job.root / "model" / "model.safetensors").exists()
    at_step(3, terminate if step == 1 else lambda: None)
    if step == 1:
        with pytest.raises(SystemExit):
            train.main([])
        at_step(0, terminate)
    train.main([])
    assert "goes on from checkpoint step-" in capsys.readouterr().out
    assert_same(job, undisturbed)


SMALL = {"epochs": 2, "batch_size": 4}  # with several batches to be evaluated


def test_a_job_is_stopped_in_the_middle_of_an_evaluation(jobs, at_evaluation, capsys):
    """Which may take longer than there is time: no step is lost, and the evaluation is made again."""
    one = jobs("one", **SMALL)
    batches = at_evaluation({})
    train.main([])
    steps, of_one = steps_in(one)[-1] // 2, len(batches) // 2
    assert of_one > 2
    other = jobs("other", **SMALL)
    batches = at_evaluation({2: terminate})
    with pytest.raises(SystemExit) as ended:
        train.main([])
    assert ended.value.code == STOPPED
    assert f"stopped by SIGTERM after step {steps}, checkpoint step-" in capsys.readouterr().out
    assert len(batches) == 2
    batches = at_evaluation({})
    train.main([])
    assert len(batches) == 2 * of_one
    assert_same(one, other)


def test_a_checkpoint_that_is_due_during_an_evaluation_is_written_then(jobs, at_evaluation, monkeypatch):
    one = jobs("one", **SMALL)
    train.main([])
    other = jobs("other", checkpoint_seconds=3600, **SMALL)
    clock = time.monotonic

    def later():
        monkeypatch.setattr(time, "monotonic", lambda: clock() + 7200)

    def die():
        deadline = clock() + 60
        while not steps_in(other) and clock() < deadline:
            time.sleep(0.01)
        raise RuntimeError("the machine is gone")

    at_evaluation({2: later, 3: die})
    with pytest.raises(RuntimeError, match="the machine is gone"):
        train.main([])
    assert steps_in(other) == [steps_in(one)[-1] // 2]
    at_evaluation({})
    train.main([])
    assert_same(one, other)


def test_a_broken_job_goes_on_from_its_last_checkpoint(jobs, undisturbed, at_step):
    job = jobs("broken", checkpoint_steps=2)

    def die():
        raise RuntimeError("the machine is gone")

    at_step(8, die)
    with pytest.raises(RuntimeError, match="the machine is gone"):
        train.main([])
    assert 0 < steps_in(job)[-1] < 8  # which one depends on how fast it could write
    at_step(0, die)
    train.main([])
    assert_same(job, undisturbed)


def test_the_average_goes_on(jobs, at_step):
    one = jobs("one", ema_decay=0.95, clip_norm=1.0)
    train.main([])
    other = jobs("other", ema_decay=0.95, clip_norm=1.0)
    at_step(7, terminate)
    with pytest.raises(SystemExit):
        train.main([])
    at_step(0, terminate)
    train.main([])
    assert last_state(one)["average"]["steps"] == STEPS
    assert_same(one, other)


def test_random_numbers_go_on(jobs, at_step, monkeypatch):
    """With dropout: each step takes random numbers."""
    build = train.start

    def with_dropout(*arguments):
        origin = build(*arguments)
        origin.network.global_pool.register_forward_hook(
            lambda module, _given, found: torch.nn.functional.dropout(found, 0.3, module.training)
        )
        return origin

    monkeypatch.setattr(train, "start", with_dropout)
    one = jobs("one")
    train.main([])
    other = jobs("other")
    at_step(7, terminate)
    with pytest.raises(SystemExit):
        train.main([])
    at_step(0, terminate)
    train.main([])
    assert_same(one, other)


def test_a_finished_job_only_writes_its_model_again(jobs, undisturbed, capsys):
    job = jobs("again", undisturbed.root / "checkpoints")
    train.main([])
    assert "train-loss" not in capsys.readouterr().out
    assert_same(job, undisturbed)


def test_the_pointer_names_the_best_and_the_last(jobs):
    job = jobs("job", checkpoint_steps=1, checkpoint_keep=2, checkpoint_keep_every=5)
    train.main([])
    store = FolderStore(job.root / "checkpoints")
    pointer = pointer_in(store)
    best = next(entry for entry in pointer.kept if entry.name == pointer.best)
    manifest = json.loads((job.root / "model" / "manifest.json").read_text())["training"]
    assert (best.epoch - 1, best.top1) == (manifest["epoch"], manifest["validation_top1"])
    assert pointer.kept[-1].step == STEPS
    files = {name for name in store.names() if name.endswith(".ckpt")}
    assert files == {entry.name for entry in pointer.kept}
    assert len(files) < 9


def test_without_a_place_there_are_none(jobs, capsys, monkeypatch, tmp_path):
    job = jobs("job", epochs=1)
    (job.root / "checkpoints").rmdir()
    train.main([])
    assert "checkpoint" not in capsys.readouterr().out
    monkeypatch.setenv("CHECKPOINTS", str(tmp_path / "by variable"))
    train.main([])
    assert (tmp_path / "by variable" / POINTER).is_file()
    train.main(["--checkpoints", str(tmp_path / "by argument")])
    assert (tmp_path / "by argument" / POINTER).is_file()


def test_a_full_disk_does_not_end_the_training(jobs, undisturbed, monkeypatch, capsys):
    """The last good checkpoint stays, and later ones are written when there is room again."""
    job = jobs("full", checkpoint_steps=1)
    flush, calls, seen = os.fsync, [0], []

    def full(descriptor):
        calls[0] += 1
        if 4 < calls[0] < 12:
            seen.append(steps_in(job))
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(folders.os, "fsync", full)
    train.main([])
    out = capsys.readouterr().out
    assert "not written: " in out
    assert "No space left on device" in out
    assert seen
    assert steps_in(job)[-1] == STEPS
    assert not [name for name in FolderStore(job.root / "checkpoints").names() if "partial" in name]
    assert_same(job, undisturbed)


def test_a_run_that_was_replaced_ends(jobs, at_step, refused):
    job = jobs("old", checkpoint_steps=1)
    store = FolderStore(job.root / "checkpoints")

    def take_over():
        Journal(store, "new", Keep()).claim()

    at_step(3, take_over)
    assert "belongs to another run of this job now; this one ends here" in refused(train.main)
    assert pointer_in(store).run == "new"
    assert not (job.root / "model" / "model.safetensors").exists()


def damage(job, change, last=1):
    """The last so many."""
    store = FolderStore(job.root / "checkpoints")
    for entry in pointer_in(store).kept[-last:]:
        path = job.root / "checkpoints" / entry.name
        path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-100], "is cut off: "),
        (lambda data: b"", "is cut off: it has 0 bytes"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is damaged"),
        (lambda data: b"PK" + data, "is no checkpoint of this trainer"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(undisturbed, jobs, refused, capsys, change, reason):
    """The one before it counts, and leads to the same model; that is said. Without one, the job ends."""
    job = jobs("damaged", undisturbed.root / "checkpoints")
    *_, before, newest = pointer_in(FolderStore(job.root / "checkpoints")).kept
    damage(job, change)
    train.main([])
    out = capsys.readouterr().out
    assert f"WARNING: checkpoint {newest.name} is named, but {reason}" in out
    assert f"goes on from checkpoint {before.name}" in out
    assert_same(job, undisturbed)

    damage(job, change, last=9)
    assert f"can be used, the newest {reason}" in refused(train.main)


def test_an_older_checkpoint_of_another_job_is_not_taken_for_a_damaged_one(undisturbed, jobs, refused):
    job = jobs("other", undisturbed.root / "checkpoints", learning_rate=0.1)
    damage(job, lambda data: data[:-100])
    assert "learning_rate was 0.003, is 0.1" in refused(train.main)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"learning_rate": 0.1}, "learning_rate was 0.003, is 0.1"),
        ({"epochs": 9}, "epochs was 3, is 9"),
        ({"ema_decay": 0.9}, "ema_decay was 0.0, is 0.9"),
        ({"backbone": "test_efficientnet"}, "backbone was test_resnet, is test_efficientnet"),
    ],
)
def test_another_job_does_not_take_them(undisturbed, jobs, refused, change, reason):
    jobs("other", undisturbed.root / "checkpoints", **change)
    assert reason in refused(train.main)


def test_how_often_they_are_written_may_change(undisturbed, jobs):
    free = {"micro_batch_size": 4, "deterministic": "off"}
    jobs("other", undisturbed.root / "checkpoints", checkpoint_steps=5, checkpoint_keep=1, **free)
    train.main([])


def test_other_images_are_another_job(undisturbed, jobs, refused, trained, tmp_path):
    job = jobs("other", undisturbed.root / "checkpoints")
    copy = shutil.copytree(trained.output("validation"), tmp_path / "validation")
    (index,) = copy.glob("*.json")
    document = json.loads(index.read_text())
    rows = document["samples"]
    rows[0]["key"] = "f" * len(rows[0]["key"])
    index.write_text(json.dumps(document))
    (job.root / "input" / "data" / "validation").unlink()
    job.channel("validation", copy)
    assert "its images or classes were others" in refused(train.main)
