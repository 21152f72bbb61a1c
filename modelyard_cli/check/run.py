"""One check of everything: cfn-lint and the rules at the same time, then the acknowledgements."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from modelyard_cli.check import acknowledge
from modelyard_cli.check.cfn_lint import CfnLint
from modelyard_cli.check.finding import Finding
from modelyard_cli.check.load import Inputs, load
from modelyard_cli.check.registry import Advice, Rule, definition_findings, template_findings
from modelyard_cli.check.templates.model import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found, most orderly: by place; `advice` is what hardens, `findings` are faults."""

    findings: tuple[Finding, ...]
    advice: tuple[Finding, ...]
    acknowledged: int
    templates: int
    definitions: int


def check(paths: list[Path], *, acknowledgements: Path | None = None, cfn_lint: bool = True) -> Report:
    """Check assemblies, templates and definitions.

    Args:
        paths: what to check; those given together are taken as deployed together.
        acknowledgements: a file of them; without it, `modelyard-check.toml` where there is one.
        cfn_lint: whether cfn-lint runs too.

    Raises:
        CliError: something cannot be read.
    """
    inputs = load(paths)
    gc.disable()  # models of services are large, and the process is short
    lint = CfnLint(inputs.templates if cfn_lint else [])
    try:
        findings = own_findings(inputs)
    except BaseException:
        lint.close()
        raise
    finally:
        gc.enable()
    findings += lint.findings()
    entries = acknowledge.from_templates(inputs.templates)
    for file in _files(paths, acknowledgements):
        entries += acknowledge.from_file(file)
    subjects = {template.name for template in inputs.templates}
    subjects |= {definition.name.split("/")[0] for definition in inputs.definitions}
    remaining, accepted = acknowledge.apply(sorted(set(findings)), entries, subjects)
    return Report(
        findings=tuple(finding for finding in remaining if not finding.advice),
        advice=tuple(finding for finding in remaining if finding.advice),
        acknowledged=accepted,
        templates=len(inputs.templates),
        definitions=len(inputs.definitions),
    )


def own_findings(inputs: Inputs) -> list[Finding]:
    """Findings of this project's rules."""
    findings: list[Finding] = []
    for template in inputs.templates:
        findings += _of(template_findings(template), template.file, template)
    for definition in inputs.definitions:
        findings += _of(definition_findings(definition), definition.file, None)
    return findings


def _of(found: Iterable[tuple[Rule, str, str]], file: str, template: Template | None) -> list[Finding]:
    return [
        Finding(
            place=place,
            rule=rule.id,
            message=message,
            remedy=rule.remedy,
            file=file,
            construct=_construct(template, place) if template else "",
            advice=isinstance(message, Advice),
        )
        for rule, place, message in found
    ]


def _construct(template: Template, place: str) -> str:
    resource = template.resources.get(place.split("/")[1])
    metadata = resource.body.get("Metadata") if resource else None
    return str(metadata.get("aws:cdk:path", "")) if isinstance(metadata, dict) else ""


def _files(paths: list[Path], given: Path | None) -> list[Path]:
    common = given or Path(acknowledge.FILE)
    beside = [path.with_suffix(".check.toml") for path in paths if path.is_file()]
    return ([common] if given or common.is_file() else []) + [path for path in beside if path.is_file()]
