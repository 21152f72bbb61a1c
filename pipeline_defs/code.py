"""Which files a step's code archive holds: the step's module and all that it imports inside `training/`.

Each step's code travels as an archive of its own, named by its content. So a change of one step's code
changes that step's cache key and no other's.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
PACKAGE = "training"


class CodeError(Exception):
    """A step's module, or something that it imports, does not exist or cannot be parsed."""


def code_files(module: str, root: Path = REPO) -> tuple[str, ...]:
    """The files that `python -m module` needs from `training`, as sorted paths relative to `root`.

    Imports are read from the syntax tree, also inside functions; nothing is imported. Imports whose names are
    computed at run time are not seen, so steps do not use them.

    >>> "training/tabular/evaluate.py" in code_files("training.tabular.evaluate")
    True
    """
    files: dict[str, Path] = {}
    pending = [module]
    while pending:
        name = pending.pop()
        for part in _with_parents(name):
            if part in files:
                continue
            path = _file_of(part, root)
            if path is None:
                raise CodeError(
                    f"{part} is needed by {module}, but there is no such module under {root / PACKAGE}"
                )
            files[part] = path
            pending += _imports(part, path, root)
    return tuple(sorted(path.relative_to(root).as_posix() for path in files.values()))


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _file_of(name: str, root: Path) -> Path | None:
    base = root.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_name(base.name + ".py")):
        if path.is_file():
            return path
    return None


def _imports(name: str, path: Path, root: Path) -> list[str]:
    try:
        statements = _import_statements(path.read_bytes())
    except SyntaxError as error:
        raise CodeError(f"{path}:{error.lineno}: {error.msg}") from error
    found: list[str] = []
    for node in statements:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        else:
            source = _absolute(node, name, path)
            found.append(source)
            # `from package import x`: x is a module of its own or a name in the package.
            found += [
                member
                for alias in node.names
                if _file_of(member := f"{source}.{alias.name}", root) is not None
            ]
    return [item for item in found if item.split(".")[0] == PACKAGE]


# By content, since the steps share most of their files.
@functools.cache
def _import_statements(source: bytes) -> tuple[ast.Import | ast.ImportFrom, ...]:
    nodes = ast.walk(ast.parse(source))
    return tuple(node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


def _absolute(node: ast.ImportFrom, name: str, path: Path) -> str:
    if not node.level:
        return node.module or ""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])
