"""The server's own eviction, `SERVING_EVICT`: a thousand models of 1 MB under room for a hundred.

Without SageMaker, which decides in `model_cache` what is loaded, the server takes out itself what was not
used for longest. One caller asks for models by Zipf's law, and loads what it is told is not there.

Bounds, as in `model_cache`: hit ratio at least 0.95 of LRU's on the same trace, computed; the server's
memory, with its trial process, beyond what it takes with one model, at most 1.1 times the budget.
"""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.cache_policies import lru_hits, optimal_hits, zipf
from benchmarks.model_cache import EXPONENT, HIT_SHARE, MEMORY_TIMES, Scale, cached_server, memory, watched
from benchmarks.model_cache import write_archives as archives
from localcloud.sagemaker.hosting.http import Pool

JSON = {"Content-Type": "application/json"}
REQUESTS, WARM_UP = 3_000, 600


def measure(scale: Scale | None = None, requests: int = REQUESTS, warm_up: int = WARM_UP) -> dict[str, Any]:
    scale = scale or Scale()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        body, size = archives(root / "s3", scale)
        budget = int((scale.held + 0.5) * size)
        with cached_server(root, budget, sorted(os.sched_getaffinity(0))[0], evict=True) as (pid, port):
            caller = _Caller(root, Pool(port), body)
            for _ in range(20):
                caller.ask(0)
            base = memory(pid)
            trace = zipf(scale.models, EXPONENT, warm_up + requests)
            with watched(pid) as peak:
                hits = [caller.ask(model) for model in trace]
    # The first model was there before.
    asked = [0, *trace]
    return summary(
        hits=hits[warm_up:],
        lru=lru_hits(asked, scale.held)[1 + warm_up :],
        optimal=optimal_hits(asked, scale.held)[1 + warm_up :],
        memory=(max(peak) - base) / budget,
    )


def summary(*, hits: list[bool], lru: list[bool], optimal: list[bool], memory: float) -> dict[str, Any]:
    """The figures, and whether they hold; `memory` in budgets."""
    ratio, of_lru = sum(hits) / len(hits), sum(hits) / sum(lru)
    return {
        "requests": len(hits),
        "hit_ratio": round(ratio, 4),
        "hit_ratio_of_lru": round(of_lru, 4),
        "lru_hit_ratio": round(sum(lru) / len(lru), 4),
        "optimal_hit_ratio": round(sum(optimal) / len(optimal), 4),
        "peak_of_budget": round(memory, 3),
        "bounds": {"hit_share": HIT_SHARE, "memory_times": MEMORY_TIMES},
        "holds": of_lru >= HIT_SHARE and memory <= MEMORY_TIMES,
    }


class _Caller:
    """Asks for models, and has those loaded that are not."""

    def __init__(self, root: Path, pool: Pool, body: bytes) -> None:
        self._root, self._pool, self._body = root, pool, body

    def ask(self, model: int) -> bool:
        """Whether it was loaded."""
        if (status := self._invoke(model)) == 404:
            self._load(model)
            status, hit = self._invoke(model), False
        else:
            hit = True
        if status != 200:
            raise RuntimeError(f"the server answered {status} for model {model}")
        return hit

    def _invoke(self, model: int) -> int:
        path = f"/models/{model}/invoke"
        return self._pool.request("POST", path, body=self._body, headers=JSON, timeout=60).status

    def _load(self, model: int) -> None:
        folder = self._root / "ml" / "models" / str(model) / "model"
        if not folder.exists():
            with tarfile.open(self._root / "s3" / f"{model}.tar.gz") as tar:
                tar.extractall(folder, filter="data")
        body = json.dumps({"model_name": str(model), "url": f"/opt/ml/models/{model}/model"}).encode()
        answer = self._pool.request("POST", "/models", body=body, headers=JSON, timeout=60)
        if answer.status != 200:
            raise RuntimeError(f"the server answered {answer.status}: {answer.body[:200]!r}")
