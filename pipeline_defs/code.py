"""Which files a step's code archive holds: the step's module and all that it imports inside `training/`.

Each step's code travels as an archive of its own, named by its content. So a change of one step's code
changes that step's cache key and no other's.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parent.parent
PACKAGE = "training"


class CodeError(Exception):
    """A step's module, or something that it imports, does not exist."""


def code_files(module: str, root: Path = REPO) -> tuple[str, ...]:
    """The files that `python -m module` needs from `training`, as sorted paths relative to `root`.

    Import statements are read, also those inside functions; nothing is imported. Imports whose names are
    computed at run time are not seen, so steps do not use them.

    >>> "training/tabular/evaluate.py" in code_files("training.tabular.evaluate")
    True
    """
    return code_files_of([module], root)[module]


def code_files_of(modules: Iterable[str], root: Path = REPO) -> dict[str, tuple[str, ...]]:
    """The same of several modules, each of which is read once although they share most."""
    known: dict[str, _Module] = {}
    return {module: _files_of(module, root, known) for module in modules}


class _Module(NamedTuple):
    path: Path
    imports: list[str]


def _files_of(module: str, root: Path, known: dict[str, _Module]) -> tuple[str, ...]:
    files: dict[str, Path] = {}
    pending = [module]
    while pending:
        name = pending.pop()
        for part in _with_parents(name):
            if part in files:
                continue
            if part not in known:
                path = _file_of(part, root)
                if path is None:
                    raise CodeError(
                        f"{part} is needed by {module}, but there is no such module under {root / PACKAGE}"
                    )
                known[part] = _Module(path, _imports(part, path, root))
            files[part] = known[part].path
            pending += known[part].imports
    return tuple(sorted(path.relative_to(root).as_posix() for path in files.values()))


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _file_of(name: str, root: Path) -> Path | None:
    # Strings, not paths: asked hundreds of times in a synth.
    base = os.path.join(root, *name.split("."))  # noqa: PTH118
    for path in (f"{base}/__init__.py", f"{base}.py"):
        if os.path.isfile(path):  # noqa: PTH113
            return Path(path)
    return None


def _imports(name: str, path: Path, root: Path) -> list[str]:
    found: list[str] = []
    for node in import_statements(path.read_bytes()):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if _is_ours(alias.name)]
        elif _is_ours(source := _absolute(node, name, path)):
            found.append(source)
            # `from package import x`: x is a module of its own or a name in the package.
            found += [
                member
                for alias in node.names
                if _file_of(member := f"{source}.{alias.name}", root) is not None
            ]
    return found


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


# An import statement, parentheses over several lines included. Parsing whole files took a twentieth of a
# synth; what only looks like an import, in a docstring, does not parse or names no module.
_IMPORT = re.compile(
    rb"^[ \t]*(from[ \t]+[\w.]+[ \t]+import[ \t]+(?:\([^)]*\)|[^\n(;]+)|import[ \t]+[^\n;]+)", re.MULTILINE
)


def import_statements(source: bytes) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The import statements of a module's source, wherever they stand in it."""
    found: list[ast.Import | ast.ImportFrom] = []
    for statement in _IMPORT.findall(source):
        with contextlib.suppress(SyntaxError):
            found += [n for n in ast.parse(statement).body if isinstance(n, ast.Import | ast.ImportFrom)]
    return tuple(found)


def _absolute(node: ast.ImportFrom, name: str, path: Path) -> str:
    if not node.level:
        return node.module or ""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])
