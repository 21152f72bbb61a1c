"""The code of a step, where it can be read.

It is known where the step's arguments name a module or a script that lies beside the definition, above it,
or in the archives of the assembly that deploys it.
"""

from __future__ import annotations

import ast
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from modelyard_cli.check.definitions.model import Definition, Step
from modelyard_cli.check.definitions.reports import Reader
from modelyard_cli.check.definitions.shapes import Shape
from modelyard_cli.check.definitions.syntax import texts

_MAX_BYTES = 5_000_000
_WORD = re.compile(r"[A-Za-z0-9_]+")


@dataclass(eq=False)
class Code:
    """The modules of a step, by name, and the words that may become names of what it writes."""

    modules: dict[str, ast.Module] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    _shapes: dict[str, Shape | None] = field(default_factory=dict)

    def add(self, module: str, source: str) -> None:
        try:
            self.modules[module] = tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            self.words.update(_WORD.findall(source))
        else:
            self.words |= _of_tree(tree)

    def names(self, text: str) -> bool:
        """Whether every word of a text is one of the code's."""
        return set(_WORD.findall(text)) <= self.words

    def written(self, stem: str) -> Shape | None:
        """The shape of a JSON file that the code writes, None where that is not seen."""
        if stem not in self._shapes:
            self._shapes[stem] = Reader(self.modules).written(stem)
        return self._shapes[stem]


def code_of(definition: Definition, step: Step) -> Code | None:
    """The code that a step runs, None where it cannot be read."""
    return next(_sources(definition, step), None)


def _sources(definition: Definition, step: Step) -> Iterator[Code]:
    app = step.arguments.get("AppSpecification")
    app = app if isinstance(app, dict) else {}
    given = [
        t
        for m in ("ContainerEntrypoint", "ContainerArguments")
        for t in app.get(m) or []
        if isinstance(t, str)
    ]
    modules = [given[i + 1] for i, t in enumerate(given[:-1]) if t == "--module"]
    scripts = [Path(t).name for t in given if t.endswith(".py")]
    for archive in _archives(definition, step):
        code = code_of_archive(archive)
        if code.words:
            yield code
    roots = [Path.cwd(), *Path(definition.file).resolve().parents[:4]] if definition.file else [Path.cwd()]
    for module in modules:
        for root in roots:
            if _file(root, module) is not None:
                yield _of_files(root, module)
    for script in scripts:
        for root in roots[1:2]:
            if (root / script).is_file():
                yield _of_files(root, Path(script).stem)


def _archives(definition: Definition, step: Step) -> Iterator[bytes]:
    """Archives of the step's inputs that the pipeline's bundle holds."""
    from modelyard_cli.check.load import asset, members

    pipeline = definition.pipeline
    bundle = asset(pipeline.template, pipeline.properties.get("BundleKey")) if pipeline else None
    if pipeline is None or bundle is None:
        return
    values: Any = pipeline.properties.get("Values")
    for item in step.arguments.get("ProcessingInputs") or []:
        uri = (item.get("S3Input") or {}).get("S3Uri") if isinstance(item, dict) else None
        match = re.fullmatch(r"\$\{(\w+)\}", uri) if isinstance(uri, str) else None
        key = str(values.get(match[1], "")) if match and isinstance(values, Mapping) else str(uri)
        content = members(bundle).get(f"code/{key.rsplit('/', 1)[-1]}")
        if content is not None:
            yield content


@lru_cache(maxsize=64)
def code_of_archive(content: bytes) -> Code:
    code = Code()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".py") and entry.file_size < _MAX_BYTES:
                    path = PurePosixPath(entry.filename).with_suffix("")
                    code.add(_module(path.parts), archive.read(entry).decode("utf-8", "replace"))
    except zipfile.BadZipFile:
        return Code()
    return code


def _module(parts: tuple[str, ...]) -> str:
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache(maxsize=64)
def _of_files(root: Path, module: str) -> Code:
    """A module below a folder, and what it imports from there."""
    code = Code()
    todo, done = [module], set()
    while todo:
        name = todo.pop()
        path = _file(root, name)
        if name in done or path is None or path.stat().st_size > _MAX_BYTES:
            continue
        done.add(name)
        code.add(name, path.read_text(encoding="utf-8", errors="replace"))
        for node in ast.walk(code.modules.get(name, ast.Module([], []))):
            if isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                package = name.split(".")[: -node.level] if node.level else []
                source = ".".join([*package, *([node.module] if node.module else [])])
                todo += [source, *(f"{source}.{alias.name}" for alias in node.names)]
    return code


def _file(root: Path, module: str) -> Path | None:
    if not re.fullmatch(r"\w+(\.\w+)*", module):
        return None
    path = root.joinpath(*module.split("."))
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


def _of_tree(tree: ast.Module) -> set[str]:
    """Words of texts, and names that may become keys: of arguments given by name, of members of classes."""
    words = {word for text in texts(ast.walk(tree)) for word in _WORD.findall(text)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            words.update(k.arg for k in node.keywords if k.arg)
        elif isinstance(node, ast.ClassDef):
            fields = (n.target for n in node.body if isinstance(n, ast.AnnAssign))
            words.update(target.id for target in fields if isinstance(target, ast.Name))
    return words
