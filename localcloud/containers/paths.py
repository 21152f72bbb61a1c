"""Where an image's absolute paths lie on this machine.

With namespaces the image's folders are mounted where they belong and paths stay as they are. Without, and for
single files among the machine's programs, arguments and variables are rewritten to where the copies lie.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from localcloud.containers.dockerfile import DEFAULT_PATH
from localcloud.containers.image import Image

ML_FOLDER = "/opt/ml"
TEMPORARY = "/var/tmp"  # noqa: S108 - the container's own
_ABSOLUTE = re.compile(r"(?<![\w.\-/])/[\w.@+\-/]*")
_PYTHON = re.compile(r"(?:/usr(?:/local)?/bin/)?python(?:3(?:\.\d+)?)?")


class Paths:
    """Rewrites paths of one container.

    Args:
        image: whose copied files lie under `image.root`.
        base: the container's own `/opt/ml`.
        bound: whether the container has mounts of its own.
    """

    def __init__(self, image: Image, base: Path, *, bound: bool) -> None:
        self._image, self._base, self._bound = image, base, bound

    @property
    def ml(self) -> str:
        """The container's `/opt/ml` as the container sees it: the value of SAGEMAKER_BASE_DIR."""
        return ML_FOLDER if self._bound else str(self._base)

    def path(self, path: str) -> str:
        """The real place of one absolute path of the image."""
        if path == ML_FOLDER or path.startswith(ML_FOLDER + "/"):
            return self.ml + path[len(ML_FOLDER) :]
        if _below(path, self._image.owned) and not (self._bound and _below(path, self.folders())):
            return str(self._image.root) + path
        return path

    def folders(self) -> list[str]:
        """The folders of the image that exist nowhere else, the outermost of each branch."""
        owned = self._image.owned
        return [
            top
            for top in owned
            if (self._image.root / top[1:]).is_dir() and not _below(top, [o for o in owned if o != top])
        ]

    def text(self, text: str) -> str:
        """A text (argument, value of a variable, shell command) with every absolute path in it rewritten."""
        return _ABSOLUTE.sub(lambda found: self.path(found[0]), text)

    def workdir(self) -> str:
        """Where the process starts; an image without a working folder of its own starts in `/opt/ml`.

        With namespaces, one that starts in `/` gets a folder that is like a root of its own.
        """
        workdir = self._image.workdir
        return self.path(workdir) if _below(workdir, self._image.owned) else self.ml

    def search_path(self) -> str:
        """PATH: the image's own programs, then those beside the running interpreter, then the machine's."""
        entries = self._image.environment.get("PATH", DEFAULT_PATH).split(":")
        staged = [str(self._image.root) + e for e in entries if e and (self._image.root / e[1:]).is_dir()]
        interpreter = str(Path(sys.executable).parent)
        return ":".join([*staged, interpreter, *(e for e in entries if e and Path(e).is_dir())])

    def command(self, entrypoint: Sequence[str], arguments: Sequence[str]) -> list[str]:
        """The argument vector; `python` is the interpreter that runs the local cloud."""
        words = [self.text(word) for word in (*entrypoint, *arguments)]
        if words and _PYTHON.fullmatch(words[0]):
            words[0] = sys.executable
        return words

    def environment(self, values: Mapping[str, str]) -> dict[str, str]:
        """Values of the image, rewritten. PATH is left out; see `search_path`."""
        return {name: self.text(value) for name, value in values.items() if name != "PATH"}


def _below(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(top + "/") for top in tops)


def short_temporary(folder: Path, *, bound: bool) -> str:
    """Where a container keeps temporary files: a path that is short enough for sockets, where it has mounts.

    Args:
        folder: of the container.
        bound: whether it has mounts of its own.
    """
    return TEMPORARY if bound and temporary_mounts(folder) else str(folder / "tmp")


def temporary_mounts(folder: Path) -> list[list[str]]:
    """The mount for it, as the launcher takes it; none where the container lies below its target."""
    own = folder / "tmp"
    return [] if Path(TEMPORARY) in folder.parents or not own.is_dir() else [[str(own), TEMPORARY, ""]]


def inherited() -> dict[str, str]:
    """What a container takes over from the machine: nothing that names a person, a profile or a key."""
    kept = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")
    return {name: os.environ[name] for name in kept if name in os.environ}
