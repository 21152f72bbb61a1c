"""The on-call page, whose commands tests run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
_ALL = {
    block.splitlines()[0].removeprefix("# "): block
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
}
TRAINING = "training: "


class Page:
    """Runs blocks by how their first line begins, each after the block `names`.

    Args:
        environment: Of whoever runs them.
        part: How the first lines of all its blocks begin; nothing for those that no part has.
    """

    def __init__(self, environment: Mapping[str, str], part: str = "") -> None:
        self._environment = environment
        self.blocks = {
            name.removeprefix(part): block
            for name, block in _ALL.items()
            if name.startswith(part) and (part or not name.startswith(TRAINING))
        }
        self.used = {"names"}

    def __call__(self, title: str, before: str = "") -> str:
        """What the block printed; `before` is run ahead of it."""
        (found,) = (name for name in self.blocks if name.startswith(title))
        self.used.add(found)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join([self.blocks["names"], before, self.blocks[found]])],
            env={**os.environ, **self._environment, "PATH": path, "AWS_PAGER": ""},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout
