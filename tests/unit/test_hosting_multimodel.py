"""The models that one server holds, against a server and an S3 that exist in memory."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.hosting.http import Answer
from localcloud.sagemaker.hosting.multimodel import LoadError, ModelCache
from localcloud.sagemaker.hosting.server import ModelServer
from localcloud.sagemaker.jobs.failure import JobFailure
from localcloud.sagemaker.jobs.storage import Item, Storage

TARGETS = st.sampled_from(["a", "b", "c", "d", "e"])


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        file.addfile(tarfile.TarInfo("model"), io.BytesIO())
    return buffer.getvalue()


ARCHIVE = archive()


class FakeServer:
    """Holds `capacity` models, refuses those in `broken`."""

    def __init__(self, base: Path, capacity: int) -> None:
        self.base, self.capacity = base, capacity
        self.container = SimpleNamespace(inside=lambda path: str(base) + path.removeprefix("/opt/ml"))
        self.models: list[str] = []
        self.loads = 0
        self.broken = False
        self.lock = threading.Lock()

    def request(self, method: str, path: str, **options: Any) -> Answer:
        with self.lock:
            if method == "DELETE":
                self.models.remove(path.removeprefix("/models/"))
                return Answer(200, {}, b"")
            asked = json.loads(options["body"])
            assert Path(asked["url"]).is_dir()
            if self.broken:
                return Answer(500, {}, b"broken")
            if len(self.models) >= self.capacity:
                return Answer(507, {}, b"")
            self.models.append(asked["model_name"])
            self.loads += 1
            return Answer(200, {}, b"")


class FakeStorage:
    def fetch(self, item: Item, folder: Path) -> Path:
        if "missing" in item.key:
            raise JobFailure("ClientError: Data download failed:NoSuchKey (404)")
        (folder / item.relative).write_bytes(ARCHIVE)
        return folder / item.relative


def cache_of(base: Path, capacity: int) -> tuple[ModelCache, FakeServer]:
    (base / "models").mkdir(parents=True, exist_ok=True)
    server = FakeServer(base, capacity)
    storage = cast(Storage, FakeStorage())
    return ModelCache(
        cast(ModelServer, server), lambda: storage, "s3://bucket/prefix/", lambda *_: None
    ), server


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(targets=st.lists(TARGETS, max_size=30), capacity=st.integers(1, 5))
def test_the_least_recently_used_model_makes_room(
    tmp_path_factory: pytest.TempPathFactory, targets: list[str], capacity: int
) -> None:
    cache, server = cache_of(tmp_path_factory.mktemp("instance"), capacity)
    expected: list[str] = []
    for target in targets:
        with cache.use(target) as (name, hit):
            assert hit == (target in expected)
            assert name in server.models
        if target in expected:
            expected.remove(target)
        expected = [*expected, target][-capacity:]
    assert len(server.models) == len(expected)
    folders = {path.name for path in (server.base / "models").iterdir()}
    assert folders == set(server.models)


def test_concurrent_users_of_many_models_all_get_theirs(tmp_path: Path) -> None:
    cache, server = cache_of(tmp_path, 4)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for step in range(40):
                with cache.use(f"m{(seed * 7 + step * step) % 9}") as (name, _):
                    assert name in server.models
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(server.models) <= 4


def test_a_model_in_use_is_never_taken_out(tmp_path: Path) -> None:
    cache, server = cache_of(tmp_path, 1)
    with cache.use("a") as (name, _):
        with pytest.raises(LoadError) as full, cache.use("b"):
            pass
        assert full.value.status == 507
        assert server.models == [name]
    with cache.use("b") as (_, hit):
        assert not hit


def test_what_fails_leaves_nothing_and_may_be_tried_again(tmp_path: Path) -> None:
    cache, server = cache_of(tmp_path, 2)
    server.broken = True
    with pytest.raises(LoadError), cache.use("a"):
        pass
    assert list((tmp_path / "models").iterdir()) == []
    server.broken = False
    with cache.use("a"):
        pass
    with pytest.raises(ServiceError, match=r"bucket: bucket, key: prefix/missing"), cache.use("missing"):
        pass
    assert len(list((tmp_path / "models").iterdir())) == 1


def test_a_slow_load_goes_on_without_the_request(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    server, storage, release = FakeServer(tmp_path, 2), FakeStorage(), threading.Event()
    fetch = storage.fetch
    storage.fetch = lambda *arguments: (release.wait(60), fetch(*arguments))[1]  # type: ignore[method-assign]
    cache = ModelCache(
        cast(ModelServer, server), lambda: cast(Storage, storage), "s3://b/", lambda *_: None, 0.05
    )
    for _ in range(2):
        with pytest.raises(ServiceError) as early, cache.use("slow"):
            pass
        assert (early.value.code, early.value.status) == ("ModelNotReadyException", 429)
    release.set()
    deadline = time.monotonic() + 60
    while not server.loads:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # What comes after the server's answer may take longer than a request waits.
    while (name := used(cache, "slow")) is None:
        assert time.monotonic() < deadline
    assert server.models == [name]
    assert server.loads == 1


def used(cache: ModelCache, target: str) -> str | None:
    """The name under which the server has a model, None while it is loaded."""
    try:
        with cache.use(target) as (name, _):
            return name
    except ServiceError as error:
        if error.code != "ModelNotReadyException":
            raise
        return None


def test_a_model_that_the_server_dropped_is_loaded_again(tmp_path: Path) -> None:
    cache, server = cache_of(tmp_path, 2)
    with cache.use("a"):
        pass
    server.models.clear()
    cache.forget("a")
    with cache.use("a") as (name, hit):
        assert not hit
        assert server.models == [name]


@pytest.mark.parametrize("target", ["", "/", "../x", "a/../../x"])
def test_names_that_leave_the_prefix(tmp_path: Path, target: str) -> None:
    cache, _ = cache_of(tmp_path, 1)
    with pytest.raises(ServiceError, match="below the prefix"):
        cache.url(target)
    assert cache.url("/deep/a.tar.gz") == "s3://bucket/prefix/deep/a.tar.gz"
