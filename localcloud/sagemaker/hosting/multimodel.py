"""The models that one multi-model server holds.

https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.hosting.artifacts import ArtifactError, fetch_archive
from localcloud.sagemaker.hosting.server import ModelServer
from localcloud.sagemaker.jobs.storage import Storage, join_uri, split_uri

LOAD_SECONDS = 360.0
READY_SECONDS = 60.0  # a request waits no longer; the load goes on


class LoadError(Exception):
    """The container did not load the model: its status and body."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:500].decode('utf-8', 'replace')}")
        self.status, self.body = status, body


@dataclass(slots=True)
class _Model:
    """A model of the cache. `lock` guards `loaded` and `loading`; `users` are requests and a running load."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    loaded: bool = False
    loading: Future[None] | None = None
    users: int = 0


class ModelCache:
    """Loads models on demand, each once for concurrent requests, and makes room when the server says 507.

    Args:
        server: of the instance.
        storage: gives S3 with the permissions of the model's execution role, whose sessions are renewed.
        prefix: `ModelDataUrl` of the multi-model container.
        on_load: told the seconds of the download, those of the load, and the number of models held.
        ready_seconds: how long a request waits for a load.
    """

    def __init__(
        self,
        server: ModelServer,
        storage: Callable[[], Storage],
        prefix: str,
        on_load: Callable[[float, float, int], None],
        ready_seconds: float = READY_SECONDS,
    ) -> None:
        self._server, self._storage, self._prefix, self._on_load = server, storage, prefix, on_load
        self._ready_seconds = ready_seconds
        self._lock = threading.Lock()
        self._models: OrderedDict[str, _Model] = OrderedDict()

    def url(self, target: str) -> str:
        """Where the artifact of a TargetModel lies; ValidationError for a name that leaves the prefix."""
        name = target.removeprefix("/")
        if not name or ".." in name.split("/"):
            raise ServiceError(
                "ValidationError", f"Invalid target model {target!r}: it must lie below the prefix."
            )
        return join_uri(self._prefix, name)

    @contextmanager
    def use(self, target: str) -> Iterator[tuple[str, bool]]:
        """The server's name of a model, loaded, and whether it already was; it stays while the block runs.

        Raises:
            ServiceError: there is no such artifact, or it is refused; ModelNotReadyException while a load
                takes longer than a request may wait.
            LoadError: the server would not load it.
        """
        url = self.url(target)
        name = hashlib.sha256(url.encode()).hexdigest()[:32]
        with self._lock:
            model = self._models.setdefault(name, _Model())
            self._models.move_to_end(name)
            model.users += 1
        try:
            yield name, self._ensure(model, url, name, target)
        finally:
            self._leave(model, name)

    def _leave(self, model: _Model, name: str) -> None:
        with self._lock:
            model.users -= 1
            if not model.loaded and not model.users and self._models.get(name) is model:
                del self._models[name]

    def _ensure(self, model: _Model, url: str, name: str, target: str) -> bool:
        """Have the model loaded, once for all who ask at the same time; whether it was before."""
        with model.lock:
            if model.loaded:
                return True
            if model.loading is None or model.loading.done():
                model.loading = Future()
                with self._lock:
                    model.users += 1
                run = threading.Thread(
                    target=self._run, args=(model, model.loading, url, name), daemon=True, name="model-load"
                )
                run.start()
            loading = model.loading
        try:
            loading.result(self._ready_seconds)
        except TimeoutError:
            if loading.done():  # the server's own silence
                raise
            raise ServiceError(
                "ModelNotReadyException", f"Model {target} is still being loaded; retry the request.", 429
            ) from None
        return False

    def _run(self, model: _Model, loading: Future[None], url: str, name: str) -> None:
        failure: BaseException | None = None
        try:
            self._load(url, name)
            with model.lock:
                model.loaded = True
        except BaseException as error:
            failure = error
        # Before anybody hears of it, or the next load would find a model in use that nobody uses.
        self._leave(model, name)
        if failure is None:
            loading.set_result(None)
        else:
            loading.set_exception(failure)

    def forget(self, target: str) -> None:
        """The server does not have the model any more: load it again at the next use."""
        name = hashlib.sha256(self.url(target).encode()).hexdigest()[:32]
        with self._lock:
            model = self._models.get(name)
        if model is not None:
            with model.lock:
                model.loaded = False

    def _load(self, url: str, name: str) -> None:
        began = time.monotonic()
        self._discard(name)
        # Not where the container could change the folders under the hands of what unpacks into them.
        with tempfile.TemporaryDirectory(dir=self._server.base.parent, prefix="model-") as scratch:
            try:
                fetch_archive(self._storage(), url, Path(scratch) / name / "model")
            except ArtifactError as error:
                bucket, key = split_uri(url)
                raise ServiceError(
                    "ValidationError",
                    f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there "
                    "is an object located at the URL and that the role passed to CreateModel has permissions "
                    f"to download the model. ({error})",
                ) from error
            with self._models_folder() as folder:
                os.rename(Path(scratch) / name, name, dst_dir_fd=folder)
        downloaded = time.monotonic()
        inside = self._server.container.inside(f"/opt/ml/models/{name}/model")
        body = json.dumps({"model_name": name, "url": inside}).encode()
        while True:
            answer = self._server.request(
                "POST",
                "/models",
                body=body,
                headers={"Content-Type": "application/json"},
                timeout=LOAD_SECONDS,
            )
            # 409: the server has it, for example from before a request that timed out.
            if answer.status in (200, 409):
                break
            if answer.status != 507 or not self._make_room():
                self._discard(name)
                raise LoadError(answer.status, answer.body)
        with self._lock:
            held = sum(model.loaded for model in self._models.values()) + 1
        self._on_load(downloaded - began, time.monotonic() - downloaded, held)

    def _make_room(self) -> bool:
        """Take the model out that was not used for longest and serves nobody now; False if there is none."""
        with self._lock:
            idle = next(
                (
                    (name, model)
                    for name, model in self._models.items()
                    if model.loaded and not model.users and model.lock.acquire(blocking=False)
                ),
                None,
            )
        if idle is None:
            return False
        name, model = idle
        try:
            # 404: the server took it out by itself.
            self._server.request("DELETE", f"/models/{name}", timeout=LOAD_SECONDS)
            model.loaded = False
            self._discard(name)
        finally:
            model.lock.release()
        with self._lock:
            if not model.users and not model.loaded and self._models.get(name) is model:
                del self._models[name]
        return True

    def _discard(self, name: str) -> None:
        with self._models_folder() as folder:
            shutil.rmtree(name, ignore_errors=True, dir_fd=folder)

    @contextmanager
    def _models_folder(self) -> Iterator[int]:
        """Handle of `/opt/ml/models`, which the container may have replaced by a link."""
        path = self._server.base / "models"
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise ServiceError(
                "ModelError", f"The container replaced /opt/ml/models: {error.strerror}", 424
            ) from error
        try:
            yield handle
        finally:
            os.close(handle)
