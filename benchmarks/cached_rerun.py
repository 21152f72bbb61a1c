"""A second execution of the same pipeline with the same parameters: what comes from the cache, and how long.

Of a pipeline of each family, with few epochs and trials:

- `cacheable_steps`: the pipeline up to its evaluation, of which SageMaker caches every step. Bound: 2 s, for
  the slowest of the runs.
- `whole_pipeline`: with what follows the gate, which SageMaker never answers from the cache: CreateModel and
  RegisterModel are not among its cached types, and the batch transform names the model just created.
- `evaluation_changed`: after a change in evaluate.py alone; evaluation and what follows run again.

https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.catalogue import FAMILIES, Pipelines, few, fresh_cloud, seconds
from benchmarks.harness import ROOT
from pipeline_defs.catalog import PipelineSpec

BOUND_S = 2.0
RUNS = 3


def measure() -> dict[str, Any]:
    with fresh_cloud() as (cloud, administrator, folder):
        whole = Pipelines(cloud, administrator, folder / "data", "whole")
        cacheable = Pipelines(cloud, administrator, folder / "data", "cacheable")
        return summary({name: _family(whole, cacheable, spec) for name, spec in FAMILIES.items()})


def summary(families: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The figures, and whether they hold."""
    fully = [family["cacheable_steps"] for family in families.values()]
    return {
        **families,
        "bound_s": BOUND_S,
        "holds": all(figures["max_s"] <= BOUND_S and not figures["ran"] for figures in fully),
    }


def _family(whole: Pipelines, cacheable: Pipelines, spec: PipelineSpec) -> dict[str, Any]:
    whole.put(spec)
    cacheable.put(spec, cacheable_only=True)
    parameters = {p: {**few(spec.family), **p.upload(spec, "v1")} for p in (whole, cacheable)}
    first = {p: _run(p, spec, values) for p, values in parameters.items()}
    again: dict[Pipelines, list[dict[str, Any]]] = {whole: [], cacheable: []}
    for _ in range(RUNS):  # in turn
        for pipelines, runs in again.items():
            runs.append(_run(pipelines, spec, parameters[pipelines]))
    evaluate = f"{spec.code['EvaluateCode'].replace('.', '/')}.py"
    changed = []
    for number in range(RUNS):
        source = (ROOT / evaluate).read_bytes() + b"\n# change %d\n" % number
        whole.put(spec, changed={evaluate: source})
        changed.append(_run(whole, spec, parameters[whole]))
    return {
        "pipeline": spec.name,
        "cacheable_steps": _summary(again[cacheable], first[cacheable]),
        "whole_pipeline": _summary(again[whole], first[whole]),
        "evaluation_changed": _summary(changed, first[whole]),
    }


def _run(pipelines: Pipelines, spec: PipelineSpec, parameters: Mapping[str, str]) -> dict[str, Any]:
    arn = pipelines.start(spec, parameters)
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
