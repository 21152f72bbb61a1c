"""Gates against the code that writes their metrics, where that code can be read.

A step's code is known where its arguments name a module or a script that lies beside the definition, above
it, or in the archives of the assembly that deploys it.
"""

from __future__ import annotations

import ast
import io
import re
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from localcloud.sagemaker.pipelines.expressions import ExpressionError, functions, parse_reference
from localcloud.sagemaker.pipelines.paths import PathError, parse_path
from modelyard_cli.check.definitions.model import Definition, Step
from modelyard_cli.check.definitions.references import property_files
from modelyard_cli.check.registry import Hits, definition_rule

_MAX_BYTES = 5_000_000
_WORD = re.compile(r"[A-Za-z0-9_]+")


@definition_rule(
    "MYP801",
    "A gate on a metric that no script writes",
    "Read the path that the script writes into the property file.",
)
def _metrics(definition: Definition) -> Hits:
    for step in definition.steps:
        for function, argument in functions(dict(step.arguments)):
            if function != "Std:JsonGet" or not isinstance(argument, dict) or "PropertyFile" not in argument:
                continue
            try:
                reference = parse_reference(argument["PropertyFile"].get("Get"))
                parts = parse_path(str(argument.get("Path", "")))
            except (ExpressionError, PathError, AttributeError):
                continue
            target = definition.by_name.get(reference.name)
            words = _words(definition, target) if target else frozenset()
            missing = [p for p in parts if isinstance(p, str) and not set(_WORD.findall(p)) <= words]
            if words and missing:
                yield (
                    step.at(),
                    f"reads {argument['Path']}, but the code of {reference.name} never writes {missing[0]!r}",
                )


@definition_rule(
    "MYP802",
    "A property file that no script writes",
    "Name the file that the script writes into the output's folder.",
)
def _files(definition: Definition) -> Hits:
    for step in definition.steps:
        words = _words(definition, step)
        for index, item in enumerate(property_files(step)):
            stem = Path(str(item.get("FilePath", ""))).stem
            if words and not set(_WORD.findall(stem)) <= words:
                yield (
                    step.at(f"PropertyFiles[{index}].FilePath"),
                    f"the step's code never names {item.get('FilePath')}",
                )


def _words(definition: Definition, step: Step) -> frozenset[str]:
    """Every name and word in the texts of a step's code; empty where the code is not known."""
    for source in _sources(definition, step):
        return source
    return frozenset()


def _sources(definition: Definition, step: Step) -> Iterator[frozenset[str]]:
    app = step.arguments.get("AppSpecification")
    app = app if isinstance(app, dict) else {}
    texts = [
        t
        for m in ("ContainerEntrypoint", "ContainerArguments")
        for t in app.get(m) or []
        if isinstance(t, str)
    ]
    modules = [texts[i + 1] for i, t in enumerate(texts[:-1]) if t == "--module"]
    scripts = [Path(t).name for t in texts if t.endswith(".py")]
    for archive in _archives(definition, step):
        yield _of_archive(archive)
    roots = [Path.cwd(), *Path(definition.file).resolve().parents[:4]] if definition.file else [Path.cwd()]
    for module in modules:
        path = Path(*module.split(".")).with_suffix(".py")
        for root in roots:
            if (root / path).is_file():
                yield _read_package(root / path, root / path.parts[0])
    for script in scripts:
        for root in roots[1:2]:
            if (root / script).is_file():
                yield _read_package(root / script, root / script)


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
        key = str(values.get(match[1], "")) if match and isinstance(values, dict) else str(uri)
        code = members(bundle).get(f"code/{key.rsplit('/', 1)[-1]}")
        if code is not None:
            yield code


@lru_cache(maxsize=64)
def _of_archive(content: bytes) -> frozenset[str]:
    words: set[str] = set()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".py") and entry.file_size < _MAX_BYTES:
                    words |= _of_source(archive.read(entry).decode("utf-8", "replace"))
    except zipfile.BadZipFile:
        return frozenset()
    return frozenset(words)


@lru_cache(maxsize=64)
def _read_package(path: Path, root: Path) -> frozenset[str]:
    """Words of a module and of the modules of its package that it imports."""
    words: set[str] = set()
    todo, done = [path], set()
    while todo:
        file = todo.pop()
        if file in done or not file.is_file() or file.stat().st_size > _MAX_BYTES:
            continue
        done.add(file)
        source = file.read_text(encoding="utf-8", errors="replace")
        words |= _of_source(source)
        for name in re.findall(
            rf"^\s*(?:from|import)\s+({re.escape(root.name)}[\w.]*)(?:\s+import\s+([\w, ]+))?",
            source,
            re.MULTILINE,
        ):
            base = root.parent.joinpath(*name[0].split("."))
            todo += [
                base.with_suffix(".py"),
                *(base / f"{n.strip()}.py" for n in name[1].split(",") if n.strip()),
            ]
    return frozenset(words)


def _of_source(source: str) -> set[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set(_WORD.findall(source))
    words: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.update(_WORD.findall(node.value))
        elif isinstance(node, ast.keyword | ast.arg):
            words.add(node.arg or "")
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.Name):
            words.add(node.id)
    return words
