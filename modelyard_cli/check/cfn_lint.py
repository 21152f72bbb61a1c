"""cfn-lint in processes of its own: it is slow to import and to run, so templates are shared out.

python -m modelyard_cli.check.cfn_lint TEMPLATE...      one JSON list on stdout
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from modelyard_cli.check.finding import Finding
from modelyard_cli.check.templates.model import Template
from modelyard_cli.errors import CliError

# CDK writes a DependsOn beside each reference to a role, so that its policies are there in time: W3005
# calls that superfluous.
IGNORED = ("W3005",)
_TIMEOUT_S = 300


class CfnLint:
    """cfn-lint at work on some templates; `findings` waits for it."""

    def __init__(self, templates: list[Template]) -> None:
        self._templates = {template.file: template for template in templates}
        self._workers: list[subprocess.Popen[str]] = []
        if not templates:
            return
        if importlib.util.find_spec("cfnlint") is None:
            raise CliError("the package cfn-lint is missing: pip install -r requirements-local.txt")
        for files in _share(list(self._templates), os.cpu_count() or 1):
            command = [sys.executable, "-m", "modelyard_cli.check.cfn_lint", *files]
            self._workers.append(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )

    def findings(self) -> list[Finding]:
        """What cfn-lint found.

        Raises:
            CliError: it broke down; its last words are in the message.
        """
        found: list[Finding] = []
        try:
            for worker in self._workers:
                output, errors = worker.communicate(timeout=_TIMEOUT_S)
                if worker.returncode:
                    last = (errors.strip().splitlines() or ["no message"])[-1]
                    raise CliError(f"cfn-lint ended with {worker.returncode}: {last}")
                found.extend(self._finding(item) for item in json.loads(output))
        except subprocess.TimeoutExpired:
            raise CliError(f"cfn-lint took longer than {_TIMEOUT_S} s") from None
        finally:
            self.close()
        return found

    def close(self) -> None:
        """End what still runs."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()

    def _finding(self, item: dict[str, Any]) -> Finding:
        template = self._templates[item["file"]]
        path = item["path"][1:] if item["path"][:1] == ["Resources"] else item["path"]
        text = ".".join(str(p) if isinstance(p, str) else f"[{p}]" for p in path[1:]).replace(".[", "[")
        place = "/".join(str(p) for p in (template.name, *path[:1], text) if p != "")
        return Finding(
            place=place, rule=item["rule"], message=item["message"],
            remedy=f"cfn-lint: {item['title']}", file=item["file"],
        )  # fmt: skip


def _share(files: list[str], processes: int) -> list[list[str]]:
    """Files in as many lists as pay, each list about equally long to lint."""
    shares: list[list[str]] = [[] for _ in range(max(1, min(processes, len(files), 8)))]
    sizes = [0] * len(shares)
    for file in sorted(files, key=lambda f: -Path(f).stat().st_size):
        least = sizes.index(min(sizes))
        shares[least].append(file)
        # Even an empty template costs cfn-lint some time.
        sizes[least] += Path(file).stat().st_size + 10_000
    return shares


def lint(files: list[str]) -> list[dict[str, Any]]:
    """cfn-lint's matches, in its default region."""
    from cfnlint import ConfigMixIn
    from cfnlint.runner import Runner

    # One runner for all: making the rules takes a third of a second.
    runner = Runner(ConfigMixIn(["--ignore-checks", *IGNORED, "--", *files]))
    return [
        {
            "file": match.filename,
            "rule": match.rule.id,
            "title": match.rule.shortdesc,
            "message": match.message,
            "path": list(match.path or ()),
        }
        for match in runner.run()
    ]


if __name__ == "__main__":
    gc.disable()  # the process ends before collecting pays
    sys.stdout.write(json.dumps(lint(sys.argv[1:])))
