"""From paths to documents: cloud assemblies, templates and pipeline definitions, told apart by content."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from modelyard_cli.check.definitions.model import Definition, definition_of
from modelyard_cli.check.templates.model import Assembly, Template, part
from modelyard_cli.errors import CliError

_MAX_BYTES = 20_000_000
PIPELINE_TYPES = ("Custom::SageMakerPipeline", "AWS::SageMaker::Pipeline")


@dataclass(slots=True)
class Inputs:
    """Everything to check."""

    templates: list[Template] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)


def load(paths: list[Path]) -> Inputs:
    """Read every path.

    Raises:
        CliError: a path is missing, unreadable, or holds none of the three kinds.
    """
    inputs, loose = Inputs(), Assembly()
    for path in paths:
        if path.is_dir():
            _assembly(path, inputs)
            continue
        document = _read(path)
        if "Steps" in document and "Resources" not in document:
            inputs.definitions.append(_loose(path, document))
        elif isinstance(document.get("Resources"), dict):
            name = re.sub(r"\.template$", "", path.stem)
            _template(name, path, document, loose, inputs)
        else:
            raise CliError(f"{path}: neither a template (Resources) nor a pipeline definition (Steps)")
    for template in inputs.templates:
        inputs.definitions.extend(_within(template))
    return inputs


def _loose(path: Path, document: dict[str, Any]) -> Definition:
    return definition_of(path.stem, document, file=str(path), text=path.read_text(encoding="utf-8"))


def _assembly(folder: Path, inputs: Inputs) -> None:
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        definitions = sorted(p for p in folder.glob("*.json") if "Steps" in _read(p))
        if not definitions:
            raise CliError(
                f"{folder}: neither a cloud assembly (no manifest.json) nor a folder of definitions"
            )
        inputs.definitions.extend(_loose(path, _read(path)) for path in definitions)
        return
    artifacts = _read(manifest).get("artifacts", {})
    assembly = Assembly(folder=str(folder))
    for name, artifact in artifacts.items():
        if artifact.get("type") == "cdk:cloud-assembly":
            _assembly(folder / str(part(artifact, "properties", "directoryName")), inputs)
        if artifact.get("type") == "aws:cloudformation:stack":
            path = folder / str(part(artifact, "properties", "templateFile"))
            _template(name, path, _read(path), assembly, inputs)
    if not assembly.templates and not any(a.get("type") == "cdk:cloud-assembly" for a in artifacts.values()):
        raise CliError(f"{folder}: the cloud assembly has no stacks")


def _template(name: str, path: Path, document: dict[str, Any], assembly: Assembly, inputs: Inputs) -> None:
    template = Template(name=name, document=document, assembly=assembly, file=str(path))
    assembly.templates.append(template)
    inputs.templates.append(template)


def _within(template: Template) -> Iterator[Definition]:
    """Definitions that a template deploys: assets of its assembly, or bodies written into it."""
    for resource in template.of(*PIPELINE_TYPES):
        found = definition_text(template, resource.properties)
        if found is None:
            continue
        text, file = found
        sent = "" if "BundleKey" in resource.properties else text
        name = f"{template.name}/{resource.id}"
        try:
            document = json.loads(text)
        except json.JSONDecodeError:
            continue  # a rule for templates says so
        if isinstance(document, dict) and "Steps" in document:
            yield definition_of(name, document, file=file, pipeline=resource, text=sent)


def definition_text(template: Template, properties: dict[str, Any]) -> tuple[str, str] | None:
    """(text, file) of the definition that a pipeline resource deploys, where it can be read."""
    body = properties.get("PipelineDefinition", {})
    if isinstance(body, dict) and isinstance(body.get("PipelineDefinitionBody"), str):
        return body["PipelineDefinitionBody"], template.file
    bundle = asset(template, properties.get("BundleKey"))
    if bundle is not None:
        text = members(bundle).get("definition.json")
        return None if text is None else (text.decode("utf-8", "replace"), str(bundle))
    single = asset(template, part(body, "PipelineDefinitionS3Location", "Key"))
    return None if single is None else (single.read_text(encoding="utf-8"), str(single))


def asset(template: Template, key: Any) -> Path | None:
    """The assembly's file that goes up under this key."""
    if not isinstance(key, str) or not template.assembly.folder:
        return None
    path = Path(template.assembly.folder) / f"asset.{Path(key).name}"
    return path if path.is_file() else None


@lru_cache(maxsize=64)
def members(archive: Path) -> dict[str, bytes]:
    """Files of a zip by name; none of one that is broken or holds too much."""
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            if sum(entry.file_size for entry in entries) > _MAX_BYTES:
                return {}
            return {entry.filename: opened.read(entry) for entry in entries}
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return {}


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CliError(f"{path}: larger than {_MAX_BYTES // 1_000_000} MB")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CliError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path}: cannot be read ({error})") from None
    try:
        document = _yaml(text) if path.suffix in (".yaml", ".yml", ".template") else json.loads(text)
    except json.JSONDecodeError as error:
        raise CliError(f"{path}: not JSON ({error.msg} at line {error.lineno})") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise CliError(f"{path}: cannot be parsed ({str(error).splitlines()[0]})") from None
    if not isinstance(document, dict):
        raise CliError(f"{path}: not an object at its top")
    return document


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, such as `!Ref Name`."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tagged)
# Versions such as 2012-10-17 are texts in CloudFormation, not dates.
_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with tags for functions
