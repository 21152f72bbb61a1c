"""Path patterns of Docker: `.dockerignore` lines and wildcards in COPY."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import PurePosixPath


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """The regular expression of one pattern: `*` and `?` stay within a folder, `**` crosses folders."""
    out, i = "", 0
    while i < len(pattern):
        char = pattern[i]
        if pattern.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
        elif pattern.startswith("**", i):
            out, i = out + ".*", i + 2
        elif char == "[" and (end := pattern.find("]", i + 2)) != -1:
            inner = pattern[i + 1 : end].replace("\\", "\\\\")
            out, i = out + "[" + ("^" + inner[1:] if inner[0] in "^!" else inner) + "]", end + 1
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char))
            i += 1
    try:
        return re.compile(out)
    except re.error as error:
        raise ValueError(f"bad pattern '{pattern}': {error}") from error


class IgnoreFile:
    """The rules of a `.dockerignore`: the last line that matches a path or a folder above it decides.

    >>> rules = IgnoreFile(["**/*.pyc", "data", "!data/keep.csv"])
    >>> rules.ignores("a/b.pyc"), rules.ignores("data/x"), rules.ignores("data/keep.csv")
    (True, True, False)
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[tuple[re.Pattern[str], bool]] = []
        for line in lines:
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            keep = text.startswith("!")
            pattern = str(PurePosixPath("/" + text.removeprefix("!").strip()))
            # Docker cleans the pattern as a path that is relative to the context.
            pattern = pattern.lstrip("/").removeprefix("./")
            if pattern:
                self._rules.append((compiled(pattern), keep))

    def ignores(self, path: str) -> bool:
        """Whether `path` (relative, with `/`) stays out of the build context."""
        candidates = [path, *(str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")]
        ignored = False
        for pattern, keep in self._rules:
            if any(pattern.fullmatch(candidate) for candidate in candidates):
                ignored = not keep
        return ignored
