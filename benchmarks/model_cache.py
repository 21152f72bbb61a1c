"""A thousand models of 1 MB under a cache for a hundred: what is found in it, and what loads cost the others.

The whole path that decides: the local SageMaker's hosting (`ModelCache`: which model is loaded, and which is
taken out when the server says 507) and our server with its budget of bytes, a process of its own; S3 is a
folder. Requests arrive at a fixed rate by chance (Poisson), models by Zipf's law. In turn, several times: a
stretch without misses (only the most used models, all loaded), and one over all models. The server has one
core, all else another.

Bounds: hit ratio at least 0.95 of LRU's on the same trace, computed; p99 of hits at most twice that of the
stretches without misses; the server's memory, with its trial process, beyond what it takes with one model, at
most 1.1 times the budget. The p99 is judged by the median of the rounds, which are many and short: one in
which the machine was busy with something else decides nothing. For information: what a cache that knows the
future would reach (Belady).
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import statistics
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from benchmarks.cache_policies import lru_hits, optimal_hits, zipf
from benchmarks.load import exchange
from benchmarks.serving import NAME, Server, free_port, instance, make_model, running
from localcloud.sagemaker.hosting.http import Pool
from localcloud.sagemaker.hosting.multimodel import ModelCache
from training.serving.models import memory_of

HIT_SHARE, P99_TIMES, MEMORY_TIMES = 0.95, 2.0, 1.1
EXPONENT = 1.1
TREES = 254  # 1 MB
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
CALLERS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """`rate` of requests by second; `requests` over all models in each of `rounds`, after `warm_up`."""

    models: int = 1000
    held: int = 100
    trees: int = TREES
    rate: float = 30.0
    requests: int = 400
    warm_up: int = 600
    rounds: int = 9


@dataclass(slots=True)
class Stretch:
    """Seconds that hits took, and whether each request was one, in the order of the answers."""

    hit_seconds: list[float] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.hit_seconds, n=100)[98]


class Folder:
    """S3: its one operation that a load needs."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def fetch(self, item: Any, folder: Path) -> Path:
        shutil.copyfile(self._root / item.key, folder / "archive")
        return folder / "archive"


def measure(scale: Scale | None = None) -> dict[str, Any]:
    scale = scale or Scale()
    cores = sorted(os.sched_getaffinity(0))
    sys.setswitchinterval(0.0005)  # a hit waits for no thread that loads
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        root = Path(scratch)
        body, size = write_archives(root / "s3", scale)
        budget = int((scale.held + 0.5) * size)
        pid, port = stack.enter_context(cached_server(root, budget, cores[0]))
        os.sched_setaffinity(0, {cores[-1]})
        try:
            figures = _drive(_cache(port, root), pid, body, scale)
        finally:
            os.sched_setaffinity(0, cores)
    return summary(figures, budget, scale)


@contextmanager
def cached_server(root: Path, budget: int, core: int, *, evict: bool = False) -> Iterator[tuple[int, int]]:
    """A server of several models on one core: its process and its port.

    Args:
        root: folder; its models are below `ml/models`.
        budget: bytes of all models that are loaded.
        core: processor.
        evict: whether it takes models out itself.
    """
    (root / "ml" / "models").mkdir(parents=True)
    port = free_port()
    server = Server(
        command=(sys.executable, "-m", "training.container", "serve"),
        path="/ping",
        body=b"",
        environment={
            "SAGEMAKER_BASE_DIR": str(root / "ml"),
            "SAGEMAKER_MULTI_MODEL": "true",
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "SERVING_MODEL_BYTES": str(budget),
            "SERVING_EVICT": str(evict).lower(),
            "UVICORN_HOST": "127.0.0.1",
        },
        port=port,
    )
    with running(server, core, lambda: exchange(port, PING)) as process:
        yield process.pid, port


def _cache(port: int, root: Path) -> tuple[ModelCache, Pool]:
    pool = Pool(port)
    container = SimpleNamespace(inside=lambda path: path)
    server: Any = SimpleNamespace(request=pool.request, base=root / "ml", container=container)
    storage: Any = Folder(root / "s3")
    return ModelCache(server, lambda: storage, "s3://bucket/", lambda *_loaded: None), pool


def _drive(path: tuple[ModelCache, Pool], pid: int, body: bytes, scale: Scale) -> dict[str, Any]:
    _replay(path, [0] * 20, body, scale.rate)
    base = memory(pid)
    head = list(range(scale.held))[::-1]
    _replay(path, head, body, 0)
    full = memory(pid)
    trace = zipf(scale.models, EXPONENT, scale.warm_up + scale.rounds * scale.requests)
    # What is held when the trace begins, so that the computed caches begin with the same.
    _replay(path, trace[: scale.warm_up], body, 0)
    with watched(pid) as peak:
        calm, busy = [], []
        asked = [*head, *trace[: scale.warm_up]]
        counted: list[bool] = [False] * len(asked)
        for number in range(scale.rounds):
            start = scale.warm_up + number * scale.requests
            busy.append(_replay(path, trace[start : start + scale.requests], body, scale.rate))
            asked += trace[start : start + scale.requests]
            counted += [True] * scale.requests
            # Those that the caches hold now, whatever they are, by the same law.
            held = list(dict.fromkeys(reversed(asked)))[: int(0.8 * scale.held)][::-1]
            _replay(path, held, body, 0)
            steady = [held[place] for place in zipf(len(held), EXPONENT, scale.requests, seed=number)]
            calm.append(_replay(path, steady, body, scale.rate))
            asked += [*held, *steady]
            counted += [False] * (len(held) + len(steady))
    return {
        "calm": calm,
        "busy": busy,
        "lru": _share(lru_hits(asked, scale.held), counted),
        "optimal": _share(optimal_hits(asked, scale.held), counted),
        "base": base,
        "full": full,
        "peak": max(peak),
    }


def summary(found: dict[str, Any], budget: int, scale: Scale) -> dict[str, Any]:
    hits = [hit for stretch in found["busy"] for hit in stretch.hits]
    ratio = sum(hits) / len(hits)
    of_lru = ratio / found["lru"]
    calm = statistics.median(stretch.p99 for stretch in found["calm"])
    pairs = [busy.p99 / still.p99 for busy, still in zip(found["busy"], found["calm"], strict=True)]
    times = statistics.median(pairs)
    peak = (found["peak"] - found["base"]) / budget
    misses_in_calm = sum(not hit for stretch in found["calm"] for hit in stretch.hits)
    return {
        "models": scale.models,
        "held": scale.held,
        "zipf_exponent": EXPONENT,
        "requests": len(hits),
        "rate_per_second": scale.rate,
        "hit_ratio": round(ratio, 4),
        "lru_hit_ratio": round(found["lru"], 4),
        "hit_ratio_of_lru": round(of_lru, 4),
        "optimal_hit_ratio": round(found["optimal"], 4),
        "p99_hit_ms": round(1000 * statistics.median(stretch.p99 for stretch in found["busy"]), 3),
        "p99_hit_without_misses_ms": round(1000 * calm, 3),
        "p99_times": round(times, 3),
        "p99_times_min": round(min(pairs), 3),
        "p99_times_max": round(max(pairs), 3),
        "p99_times_by_round": [round(pair, 3) for pair in pairs],
        "misses_in_stretches_without": misses_in_calm,
        "budget_mb": round(budget / 1e6, 1),
        "base_mb": round(found["base"] / 1e6, 1),
        "full_mb": round((found["full"] - found["base"]) / 1e6, 1),
        "peak_mb": round((found["peak"] - found["base"]) / 1e6, 1),
        "peak_of_budget": round(peak, 3),
        "bounds": {"hit_share": HIT_SHARE, "p99_times": P99_TIMES, "memory_times": MEMORY_TIMES},
        "holds": of_lru >= HIT_SHARE and times <= P99_TIMES and peak <= MEMORY_TIMES,
    }


def _replay(path: tuple[ModelCache, Pool], trace: Sequence[int], body: bytes, rate: float) -> Stretch:
    """Send the trace, at a rate or (0) one by one. Only what the server and the cache do is timed."""
    cache, pool = path
    stretch, source = Stretch(), random.Random(3)

    def ask(model: int) -> None:
        started = time.perf_counter()
        with cache.use(f"{model}.tar.gz") as (name, hit):
            answer = pool.request(
                "POST",
                f"/models/{name}/invoke",
                body=body,
                headers={"Content-Type": "application/json"},
                timeout=60,
            )
        seconds = time.perf_counter() - started
        if answer.status != 200:
            raise RuntimeError(f"the server answered {answer.status}: {answer.body[:200]!r}")
        stretch.hits.append(hit)
        if hit:
            stretch.hit_seconds.append(seconds)

    if not rate:
        for model in trace:
            ask(model)
        return stretch
    with ThreadPoolExecutor(CALLERS) as callers:
        due, asked = time.perf_counter(), []
        for model in trace:
            due += source.expovariate(rate)
            time.sleep(max(0.0, due - time.perf_counter()))
            asked.append(callers.submit(ask, model))
        for each in asked:
            each.result()
    return stretch


def _share(hits: Sequence[bool], counted: Sequence[bool]) -> float:
    chosen = [hit for hit, counts in zip(hits, counted, strict=True) if counts]
    return sum(chosen) / len(chosen)


def memory(pid: int) -> int:
    """Resident bytes of the server and what it started."""
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


@contextmanager
def watched(pid: int) -> Iterator[list[int]]:
    """The server's memory, four times a second."""
    found, stop = [memory(pid)], threading.Event()

    def watch() -> None:
        while not stop.wait(0.25):
            found.append(memory(pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def write_archives(folder: Path, scale: Scale) -> tuple[bytes, int]:
    """`scale.models` archives `N.tar.gz`, no two the same; a request, and the bytes a model is counted as."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        row = make_model(Path(scratch), scale.trees)
        source = Path(scratch) / "models" / NAME / "model"
        size = memory_of(source)
        manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
        common = b"".join(
            _member(name, (source / name).read_bytes()) for name in ("model.ubj", "encoder.json")
        )
        packed = gzip.compress(common, 1)
    for number in range(scale.models):
        manifest["training"] = {"number": f"{number:06d}"}
        last = _member("manifest.json", json.dumps(manifest).encode()) + b"\0" * 1024
        # Two streams of gzip, one after the other, are one archive; the large one is packed once.
        (folder / f"{number}.tar.gz").write_bytes(packed + gzip.compress(last, 1))
    return json.dumps({"instances": [instance(row)]}).encode(), size


def _member(name: str, content: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()[: 512 + -(-len(content) // 512) * 512]
