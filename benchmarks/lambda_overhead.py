"""What the inference function costs beside boto3 and `InvokeEndpoint`, on its archive with compiled bytecode.

Cold: importing its handler, clients included, beside `import boto3` and the same three clients; bound: 1.15
times. Warm: its handler beside the bare call of the same client, in turn, against a responder over TLS on
this machine; bound: 1 ms at the median. Both also in processor time, which a busy machine changes less.
"""

from __future__ import annotations

import compileall
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Sample, ratio
from modelyard.archives import function_code

COLD_BOUND, WARM_BOUND_MS = 1.15, 1.0
_PROBE = Path(__file__).with_name("lambda_probe.py")


@contextmanager
def function() -> Iterator[dict[str, str]]:
    """The environment of a process that is the function; AWS, as far as it knows, answers at once."""
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "code"
        with zipfile.ZipFile(io.BytesIO(function_code("inference"))) as archive:
            archive.extractall(code)
        compileall.compile_dir(code, quiet=1)
        command = [sys.executable, "-m", "benchmarks.https_responder", f"{folder}/tls"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as responder:
            try:
                assert responder.stdout is not None
                port, bundle = responder.stdout.readline().split()
                kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
                kept.pop("PYTHONDONTWRITEBYTECODE", None)
                yield kept | {
                    "PYTHONPATH": str(code),
                    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
                    "AWS_SECRET_ACCESS_KEY": "secret",
                    "AWS_SESSION_TOKEN": "token" * 100,
                    "AWS_REGION": "us-east-1",
                    "AWS_DEFAULT_REGION": "us-east-1",
                    "AWS_ENDPOINT_URL": f"https://localhost:{port}",
                    "AWS_CA_BUNDLE": bundle,
                    "ENDPOINT_NAME": "models",
                    "TABLE_NAME": "records",
                    "MODELS": "m",
                    "CACHE_SECONDS": "10",
                    "STALE_SECONDS": "120",
                    "MAX_BODY_BYTES": "4000000",
                    "MAX_ROWS": "1000",
                    "RETRY_SECONDS": "30",
                    "IMAGE_BUCKET": "images",
                    "IMAGE_PREFIX": "images/",
                    "MAX_IMAGES": "32",
                }
            finally:
                responder.terminate()


def probe(environment: dict[str, str], *arguments: str) -> Any:
    """What one run of the probe prints; without the checkout on its path."""
    done = subprocess.run(
        [sys.executable, "-P", str(_PROBE), *arguments],
        env=environment, cwd="/", check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def summary(
    cold: Mapping[str, Sequence[Mapping[str, float]]], warm: Sequence[Mapping[str, Mapping[str, list[float]]]]
) -> dict[str, Any]:
    """Figures of cold starts in seconds, by subject and in turn, and of rounds of calls in milliseconds."""
    ratios = {}
    for kind in ("wall", "cpu"):
        samples = {name: Sample(tuple(start[kind] for start in starts)) for name, starts in cold.items()}
        ratios[kind] = ratio(samples["handler"], samples["boto3"])
    figures: dict[str, Any] = {
        "cold": {
            name: Sample(tuple(start["wall"] for start in starts)).as_json() for name, starts in cold.items()
        },
        "cold_ratio": ratios["wall"],
        "cold_ratio_cpu": ratios["cpu"],
        "cold_bound": COLD_BOUND,
    }
    for kind, name in (("wall", "p50_ms"), ("cpu", "cpu_ms")):
        medians = {
            subject: [statistics.median(taken[subject][kind]) for taken in warm]
            for subject in ("bare", "handler")
        }
        over = [ours - bare for ours, bare in zip(medians["handler"], medians["bare"], strict=True)]
        figures |= {
            f"bare_{name}": round(statistics.median(medians["bare"]), 3),
            f"handler_{name}": round(statistics.median(medians["handler"]), 3),
            f"overhead_{name}": {
                "median": round(statistics.median(over), 3),
                "min": round(min(over), 3),
                "max": round(max(over), 3),
            },
        }
    return figures | {
        "overhead_bound_ms": WARM_BOUND_MS,
        "requests": sum(len(taken["bare"]["wall"]) for taken in warm),
        "holds": ratios["wall"]["median"] <= COLD_BOUND
        and figures["overhead_p50_ms"]["median"] <= WARM_BOUND_MS,
    }


def measure(starts: int = 15, rounds: int = 5, requests: int = 400) -> dict[str, Any]:
    cold: dict[str, list[dict[str, float]]] = {"handler": [], "boto3": []}
    with function() as environment:
        for number in range(-1, starts):
            for name, kept in cold.items():
                start = probe(environment, name)
                if number >= 0:
                    kept.append(start)
        warm = [probe(environment, "requests", str(requests)) for _ in range(rounds)]
    return summary(cold, warm)
