"""A second execution of the same pipeline with the same parameters: what comes from the cache, and how long.

- `cacheable_steps`: the pipeline up to its evaluation, of which SageMaker caches every step. Bound: 2 s.
- `whole_pipeline`: with what follows the gate, which SageMaker never answers from the cache: CreateModel and
  RegisterModel are not among its cached types, and the batch transform names the model just created.
- `evaluation_changed`: after a change in evaluate.py alone; evaluation and what follows run again.

https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.harness import ROOT
from benchmarks.tabular_pipelines import REGRESSIONS, Pipelines, fresh_cloud, loans, seconds

BOUND_S = 2.0
RUNS = 5
SPEC = REGRESSIONS[0]
EVALUATE = "training/tabular/evaluate.py"


def measure() -> dict[str, Any]:
    with fresh_cloud() as (cloud, administrator, folder):
        data = loans(folder)
        whole = Pipelines(cloud, administrator, data, "whole")
        cacheable = Pipelines(cloud, administrator, data, "cacheable")
        whole.put(SPEC)
        cacheable.put(SPEC, cacheable_only=True)
        parameters = {pipelines: pipelines.upload(SPEC, "v1") for pipelines in (whole, cacheable)}
        del parameters[cacheable]["BatchData"]
        first = {pipelines: _run(pipelines, values) for pipelines, values in parameters.items()}
        again: dict[Pipelines, list[dict[str, Any]]] = {whole: [], cacheable: []}
        for _ in range(RUNS):  # in turn
            for pipelines, runs in again.items():
                runs.append(_run(pipelines, parameters[pipelines]))
        changed = []
        for number in range(RUNS):
            source = (ROOT / EVALUATE).read_bytes() + b"\n# change %d\n" % number
            whole.put(SPEC, changed={EVALUATE: source})
            changed.append(_run(whole, parameters[whole]))
    fully = _summary(again[cacheable], first[cacheable])
    return {
        "cacheable_steps": fully,
        "whole_pipeline": _summary(again[whole], first[whole]),
        "evaluation_changed": _summary(changed, first[whole]),
        "bound_s": BOUND_S,
        "holds": fully["median_s"] <= BOUND_S and not fully["ran"],
    }


def _run(pipelines: Pipelines, parameters: dict[str, str]) -> dict[str, Any]:
    arn = pipelines.start(SPEC, parameters)
    execution = pipelines.wait(arn)
    hits: dict[str, float] = {}
    ran: dict[str, float] = {}
    for step in pipelines.steps(arn):
        took = (step["EndTime"] - step["StartTime"]).total_seconds()
        (hits if "CacheHitResult" in step else ran)[step["StepName"]] = took
    return {"seconds": seconds(execution), "hits": hits, "ran": ran}


def _summary(runs: list[dict[str, Any]], first: dict[str, Any]) -> dict[str, Any]:
    took = [run["seconds"] for run in runs]
    return {
        "median_s": round(statistics.median(took), 3),
        "max_s": round(max(took), 3),
        "over_first_run": round(statistics.median(took) / first["seconds"], 3),
        "hits": list(runs[-1]["hits"]),
        "ran": {
            name: round(statistics.median(run["ran"][name] for run in runs), 3) for name in runs[-1]["ran"]
        },
    }
