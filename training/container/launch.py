"""Runs a step's module from its code archive, in place of this process.

The image holds what changes rarely; each step's code arrives as an archive of its own. The new interpreter
finds that code before the image's, so a step never mixes the two versions of a module.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from training.common.archive import ArchiveError, unpack
from training.common.failure import UserError, say
from training.common.paths import single_file

MAX_CODE_BYTES = 64 * 1024 * 1024
MODULE_NAME = re.compile(r"training(\.[a-z_][a-z0-9_]*)+")


def launch(module: str, arguments: Sequence[str], code: Path) -> None:
    """Unpack the one .zip in `code` and become `python -m module arguments...`; returns only by an error."""
    if not MODULE_NAME.fullmatch(module):
        raise UserError(f"{module!r} is not the name of a module in training")
    archive = single_file(code, ".zip")
    folder = Path(tempfile.mkdtemp(prefix="code-"))
    try:
        unpack(archive, folder, max_bytes=MAX_CODE_BYTES)
    except ArchiveError as error:
        raise UserError(f"code archive {error}") from error
    source = folder.joinpath(*module.split(".")).with_suffix(".py")
    if not source.is_file():
        raise UserError(f"code archive {archive.name} does not hold {module}")
    say(f"{module} from {archive.name}")
    # -P: the working directory, where the image's own code may lie, must not come first.
    command = [sys.executable, "-P", "-m", module, *arguments]
    os.execve(sys.executable, command, environment(folder))  # noqa: S606  there is no shell, and none is needed


def environment(folder: Path) -> dict[str, str]:
    """This process's environment, with `folder` before everything else that modules are imported from."""
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
