"""The models in memory: loaded off the event loop, once for all first callers, within a budget of bytes."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from training.common.hosts import usable_cpus
from training.common.manifest import ModelError
from training.serving.http import HttpError
from training.serving.memory import give_back
from training.serving.telemetry import MAX_SHOWN, log
from training.serving.trial import NotTriedError

# A booster in memory, its encoder and the golden rows against the size of their files: measured below 3.
MEMORY_FACTOR = 3
LOADS = min(4, usable_cpus() + 1)  # one that reads its files, beside those that take a CPU
RETRY_SECONDS = 5  # after which a model that could not be tried may be
QUIET_SECONDS = 5  # without a load, before freed memory is given back


class Handler(Protocol):
    """`batch_strategy`: how batch transform may send records."""

    @property
    def batch_strategy(self) -> str: ...

    async def answer(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """Body and content type of the answer; raises HttpError for what the caller did wrong.

        Does in a thread what would keep others, and /ping, waiting.
        """


@dataclass(frozen=True, slots=True)
class LoadedModel:
    name: str
    url: str
    size: int
    handler: Handler

    def to_json(self) -> dict[str, str]:
        return {"modelName": self.name, "modelUrl": self.url}


class ModelStore:
    """Loaded models by name, the least recently used first.

    Where SageMaker runs the server, the store never evicts by itself: SageMaker keeps its own list of what is
    loaded, and after a 507 unloads the models it has not used for longest, then tries again.
    https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
    evict: run without it, take out what was not used for longest; 507 is then only for what never fits.
    """

    def __init__(self, load: Callable[[Path], Handler], budget: int, *, evict: bool = False) -> None:
        self._load = load
        self._budget = budget
        self._evict = evict
        self._evictions = 0
        self._quiet: asyncio.TimerHandle | None = None
        self._used = self._loads = self._load_failures = 0
        self._load_seconds = 0.0
        # Of their own, so that large requests do not wait behind loads.
        self._threads = ThreadPoolExecutor(LOADS, thread_name_prefix="load")
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, asyncio.Task[None]] = {}

    def gauges(self) -> Mapping[str, float]:
        """What is loaded, and what loading took, for the metrics."""
        return {
            "models_loaded": len(self._models),
            "models_loading": len(self._loading),
            "model_bytes_used": self._used,
            "model_bytes_budget": self._budget,
            "loads_total": self._loads,
            "load_failures_total": self._load_failures,
            "evictions_total": self._evictions,
            "load_seconds_total": round(self._load_seconds, 6),
        }

    def loading(self, name: str) -> bool:
        return name in self._loading

    def loaded(self) -> list[LoadedModel]:
        return list(self._models.values())

    async def add(self, name: str, url: str, folder: Path) -> None:
        """Load a model.

        HttpError 409: it is loaded; 507: there is no room for it; 400: it is no model; 503: too busy to tell.
        """
        while name in self._loading:
            await asyncio.shield(self._loading[name])
        if name in self._models:
            raise HttpError(409, f"model {name} is already loaded")
        task = asyncio.create_task(self._add_once(name, url, folder))
        self._loading[name] = task
        await asyncio.shield(task)  # a caller that goes away does not stop the load for the others

    async def get(self, name: str) -> LoadedModel:
        """A loaded model, now the most recently used; waits for one that is loading. HttpError 404 else."""
        if name in self._loading:
            await asyncio.shield(self._loading[name])
        model = self._models.get(name)
        if model is None:
            raise HttpError(404, f"model {name[:MAX_SHOWN]} is not loaded")
        self._models.move_to_end(name)
        return model

    async def remove(self, name: str) -> None:
        """Forget a model; requests that have it already finish with it. HttpError 404 if it is not loaded."""
        await self.get(name)
        self._forget(name)

    def _forget(self, name: str) -> None:
        model = self._models.pop(name, None)
        if model is not None:
            self._used -= model.size
            # To free thousands of nodes takes milliseconds, which are not the event loop's.
            last = [model]
            del model
            self._threads.submit(last.clear)
            self._give_back_later()

    def _give_back_later(self) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
        loop = asyncio.get_running_loop()
        self._quiet = loop.call_later(QUIET_SECONDS, self._give_back)

    def _give_back(self) -> None:
        self._quiet = None
        self._threads.submit(give_back)

    async def _add_once(self, name: str, url: str, folder: Path) -> None:
        # Returns nothing: who waited for it would keep the model, and free it on the event loop.
        try:
            await self._add(name, url, folder)
        finally:
            # Not by a callback of the task: until that ran, who waits for it in a loop would never give way,
            # since a task that is done is no wait.
            del self._loading[name]

    async def _add(self, name: str, url: str, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        size = await loop.run_in_executor(self._threads, memory_of, folder)
        while self._evict and self._models and size <= self._budget < self._used + size:
            self._forget(next(iter(self._models)))
            self._evictions += 1
        free = self._budget - self._used
        if size > free:
            raise HttpError(507, f"model {name} needs {size} bytes, {free} of {self._budget} are free")
        started = time.perf_counter()
        if self._quiet is not None:  # after this load, then
            self._give_back_later()
        self._used += size  # reserved before the load, so that two loads cannot overdraw the budget together
        try:
            handler = await loop.run_in_executor(self._threads, self._load, folder)
        except BaseException as error:
            self._used -= size
            self._load_failures += 1
            if isinstance(error, ModelError):
                raise HttpError(400, f"model {name}: {error}") from None
            if isinstance(error, NotTriedError):
                message = f"model {name} cannot be tried now, try again: {error}"
                raise HttpError(503, message, retry_after=RETRY_SECONDS) from None
            if isinstance(error, MemoryError):
                raise HttpError(507, f"model {name}: out of memory while loading") from None
            if isinstance(error, Exception):  # whatever it is, it is the model's: the others are served
                log("load", model=name, trace=traceback.format_exc())
                reason = f"{type(error).__name__}: {str(error)[:200]}"
                raise HttpError(400, f"model {name} cannot be loaded: {reason}") from None
            raise
        self._loads += 1
        self._load_seconds += time.perf_counter() - started
        self._models[name] = LoadedModel(name, url, size, handler)


def memory_of(folder: Path) -> int:
    """Estimated bytes of memory that the model in `folder` takes."""
    return MEMORY_FACTOR * sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
