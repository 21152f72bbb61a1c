"""A model that breaks the library that reads it, or leads it astray, ends no server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO

import numpy as np
import psutil
import pytest

from training.common import trees
from training.common.failure import UserError
from training.common.manifest import ModelError
from training.serving.http import HttpError
from training.serving.server import make_app
from training.serving.settings import Settings
from training.serving.trial import NotTriedError, Trial


def test_a_good_model_passes_and_is_not_tried_again(model_trial, model_folder, monkeypatch):
    model_trial.check(model_folder)
    with monkeypatch.context() as patched:
        patched.setattr(model_trial, "_ask", lambda folder: {"error": "tried again"})
        model_trial.check(model_folder)
    (model_folder / "model.ubj").write_bytes(b"{}")
    with pytest.raises(ModelError, match="is not an XGBoost model"):
        model_trial.check(model_folder)


def damaged(content):
    """The file with some bytes changed: there, and there, ..."""
    for place in range(0, len(content), max(1, len(content) // 12)):
        changed = bytearray(content)
        changed[place : place + 8] = b"\xff" * 8
        yield bytes(changed)


def test_what_ends_the_process_is_refused_and_the_next_is_tried(model_trial, model_folder):
    model_trial.check(model_folder)
    content = (model_folder / "model.ubj").read_bytes()
    for changed in damaged(content):
        (model_folder / "model.ubj").write_bytes(changed)
        with suppress(ModelError):
            model_trial.check(model_folder)
    (model_folder / "model.ubj").write_bytes(content)
    (model_folder / "encoder.json").write_text((model_folder / "encoder.json").read_text() + "\n")
    model_trial.check(model_folder)


def test_a_process_that_dies_is_the_models_fault_and_the_next_one_is_new(model_trial, model_folder):
    model_trial.check(model_folder)
    assert model_trial._process is not None
    (model_folder / "encoder.json").write_text((model_folder / "encoder.json").read_text() + "\n\n")
    os.kill(model_trial._process.pid, signal.SIGKILL)
    model_trial._process.wait()
    process = model_trial._process
    # As if it had died with the question read.
    process.poll, process.stdin = lambda: None, BytesIO()
    process.wait = lambda: -signal.SIGKILL
    with pytest.raises(ModelError, match=r"ends the library that reads it \(signal 9\)"):
        model_trial.check(model_folder)
    model_trial.check(model_folder)


def test_a_single_model_that_ends_its_library_ends_the_server_with_the_reason(model_trial, hosting):
    """The server's process, since what is wrong would end that of the tests."""
    model = hosting.root / "model" / "model.ubj"

    def ends_its_library(changed):
        model.write_bytes(changed)
        try:
            model_trial.check(hosting.root / "model")
        except ModelError as error:
            return "ends the library" in str(error)
        return False

    assert any(ends_its_library(changed) for changed in damaged(model.read_bytes()))
    environment = {"SAGEMAKER_BASE_DIR": str(hosting.root), "UVICORN_HOST": "127.0.0.1"}
    server = subprocess.run(
        [sys.executable, "-m", "training.container", "serve"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert server.returncode == 1, server
    assert "cannot be served: ends the library that reads it (signal" in server.stderr
    assert "Traceback" not in server.stderr
    assert "cannot be served" in (hosting.root / "output" / "failure").read_text()


def test_a_damaged_single_model_is_refused_or_served(serve, hosting):
    model = hosting.root / "model" / "model.ubj"
    for changed in damaged(model.read_bytes()):
        model.write_bytes(changed)
        try:
            client = serve()
        except UserError:
            continue
        assert client("GET", "/ping").status == 200


def test_a_single_model_that_could_not_be_tried_is_not_called_bad(trial, hosting):
    with pytest.raises(
        UserError, match=r"could not be tried, start the server again: took more than 0\.05 s"
    ):
        make_app(Settings(), trial(seconds=0.05))


@pytest.fixture
def trial():
    """Makes trials, and ends them."""
    made = []

    def make(**settings):
        made.append(Trial(1024**3, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def until(done, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_takes_too_long_is_not_the_models_fault(trial, model_folder):
    hasty = trial(seconds=0.05)  # less than its process takes to start
    with pytest.raises(NotTriedError, match=r"took more than 0\.05 s"):
        hasty.check(model_folder)
    hasty._seconds = 600.0
    hasty.check(model_folder)


def test_nobody_waits_for_others_without_end(trial, model_folder):
    busy = trial(seconds=0.2)
    with busy._lock, pytest.raises(NotTriedError, match=r"waited 0\.2 s for others"):
        busy.check(model_folder)


def test_one_that_was_tried_waits_for_nobody(model_trial, model_folder):
    model_trial.check(model_folder)
    with model_trial._lock, ThreadPoolExecutor(1) as thread:
        thread.submit(model_trial.check, model_folder).result(timeout=60)


@pytest.mark.parametrize("over", [False, True], ids=["while it is asked", "before"])
def test_a_process_that_does_not_start_is_not_the_models_fault(trial, model_folder, monkeypatch, over):
    class Ends(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            if over:  # its pipe is closed before the first write
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr("training.serving.trial.subprocess.Popen", Ends)
    monkeypatch.setattr("training.serving.trial.sys.executable", "/bin/false")
    with pytest.raises(NotTriedError, match="does not start"):
        trial().check(model_folder)


def test_it_has_the_priority_of_who_waits_for_it_and_leaves_no_zombie(trial, model_folder):
    idle = trial(idle=0.3)
    idle.check(model_folder)
    process = psutil.Process(idle._process.pid)
    assert process.nice() == psutil.Process().nice()
    until(lambda: not process.is_running())  # true of a zombie
    (model_folder / "encoder.json").write_text((model_folder / "encoder.json").read_text() + "\n\n\n")
    idle.check(model_folder)


def test_a_model_that_could_not_be_tried_may_be_asked_for_again(trial, model_folder):
    hasty = trial(seconds=0.05)
    app = make_app(Settings(multi_model=True), hasty)

    async def add():
        await app._store.add("m", "/opt/ml/models/m/model", model_folder)

    with pytest.raises(HttpError, match="cannot be tried now, try again") as refusal:
        asyncio.run(add())
    assert (refusal.value.status, refusal.value.retry_after) == (503, 5)
    hasty._seconds = 600.0
    asyncio.run(add())
    assert [model.name for model in app._store.loaded()] == ["m"]


def booster(**changes):
    """A tree with one split, as XGBoost writes it, with what a test changes."""
    tree = {
        "left_children": [1, -1, -1],
        "right_children": [2, -1, -1],
        "split_indices": [3, 0, 0],
        "categories": [],
        "categories_segments": [],
        "categories_sizes": [],
    } | changes

    class Booster:
        def save_raw(self, _kind):
            return json.dumps({"learner": {"gradient_booster": {"model": {"trees": [tree]}}}}).encode()

        def num_features(self):
            return 4

        def num_boosted_rounds(self):
            return 1

    return Booster()


def test_xgboost_trees_that_lead_somewhere_pass():
    trees.check_xgboost(booster())
    trees.check_xgboost(booster(categories=[1, 2], categories_segments=[0], categories_sizes=[2]))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"left_children": [7, -1, -1]}, "a node that is not there"),
        ({"right_children": [-5, -1, -1]}, "a node that is not there"),
        ({"right_children": [0, -1, -1]}, "leads back"),
        ({"split_indices": [4, 0, 0]}, "a feature that is not there"),
        ({"split_indices": [0, 0]}, "not as many nodes"),
        ({"categories": [1], "categories_segments": [0], "categories_sizes": [2]}, "categories that are not"),
    ],
)
def test_xgboost_trees_that_lead_astray_are_refused(changes, expected):
    with pytest.raises(ModelError, match=expected):
        trees.check_xgboost(booster(**changes))


def test_every_tree_of_a_large_model_is_looked_at_and_never_all_at_once():
    looked_at = []

    class Large:
        def num_features(self):
            return 4

        def num_boosted_rounds(self):
            return 2 * trees.ROUNDS + 1

        def __getitem__(self, part):
            looked_at.append((part.start, part.stop))
            return booster(**({"right_children": [0, -1, -1]} if part.start == 2 * trees.ROUNDS else {}))

    with pytest.raises(ModelError, match="tree 2 has a branch that leads back"):  # a tree of each part
        trees.check_xgboost(Large())
    assert looked_at == [(0, 100), (100, 200), (200, 201)]


def test_the_parts_of_a_booster_are_its_trees(model_folder, monkeypatch):
    from training.common.boosting import xgboost

    model = xgboost.Booster(model_file=model_folder / "model.ubj")
    rounds = model.num_boosted_rounds()

    def read():
        names = ("left_children", "right_children", "split_indices", "categories_sizes")
        return [[tree[name] for name in names] for tree in trees._trees(model, rounds)]

    whole = read()
    assert len(whole) == rounds > 14
    monkeypatch.setattr(trees, "ROUNDS", 7)
    assert read() == whole


@pytest.fixture(scope="module")
def text():
    import lightgbm

    chance = np.random.default_rng(1)
    rows = chance.normal(size=(400, 4))
    rows[:, 3] = chance.integers(0, 9, 400)
    data = lightgbm.Dataset(rows, (rows[:, 0] > 0).astype(int), categorical_feature=[3])
    parameters = {"objective": "binary", "num_leaves": 8, "verbose": -1, "min_data_per_group": 1}
    return lightgbm.train(parameters, data, 5).model_to_string()


def test_lightgbm_trees_that_lead_somewhere_pass(text):
    trees.check_lightgbm(text, 4)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("left_child", "99", "a node that is not there"),
        ("left_child", "-99", "a node that is not there"),
        ("right_child", "0", "leads back"),
        ("split_feature", "4", "a feature that is not there"),
        ("num_leaves", "9", "not as many nodes"),
        ("num_leaves", "x", "incomplete"),
        ("num_leaves", "9" * 40, "not as many nodes"),
    ],
)
def test_lightgbm_trees_that_lead_astray_are_refused(text, name, value, expected):
    head, _, rest = text.partition(f"\n{name}=")
    line, _, rest = rest.partition("\n")
    changed = f"{head}\n{name}={' '.join([value, *line.split()[1:]])}\n{rest}"
    with pytest.raises(ModelError, match=expected):
        trees.check_lightgbm(changed, 4)
