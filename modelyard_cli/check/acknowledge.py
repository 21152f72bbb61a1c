"""Acknowledgements: findings that somebody accepts, with the reason.

In a template, metadata of the resource: `"modelyard::acknowledge": {"MYT101": "reason"}`. In a file,
`modelyard-check.toml` in the working directory or `NAME.check.toml` beside a document:

    [[acknowledge]]
    rule = "MYT101"
    place = "Serving/ScalingTarget*"     # as printed; * stands for anything
    reason = "..."
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard_cli.check.finding import Finding
from modelyard_cli.check.registry import ACKNOWLEDGEMENT_RULES
from modelyard_cli.check.templates.model import Template
from modelyard_cli.errors import CliError

METADATA = "modelyard::acknowledge"
FILE = "modelyard-check.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """One accepted finding: `rule` at every place that matches `place`, as `source` says."""

    rule: str
    place: str
    reason: str
    source: str

    def covers(self, finding: Finding) -> bool:
        pattern = ".*".join(map(re.escape, self.place.split("*")))
        return finding.rule == self.rule and re.fullmatch(pattern, finding.place) is not None


def from_templates(templates: list[Template]) -> list[Acknowledgement]:
    """Acknowledgements in the metadata of resources."""
    found = []
    for template in templates:
        for resource in template.resources.values():
            given = (resource.body.get("Metadata") or {}).get(METADATA)
            for rule, reason in given.items() if isinstance(given, dict) else ():
                found.append(
                    Acknowledgement(
                        rule=rule,
                        place=f"{template.name}/{resource.id}*",
                        reason=reason if isinstance(reason, str) else "",
                        source=f"{template.name}/{resource.id}/Metadata",
                    )
                )
    return found


def from_file(path: Path) -> list[Acknowledgement]:
    """Acknowledgements of a file.

    Raises:
        CliError: it is not TOML, or not of the documented form.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CliError(f"{path}: cannot be read ({error})") from None
    entries = document.get("acknowledge", [])
    if set(document) - {"acknowledge"} or not isinstance(entries, list):
        raise CliError(f"{path}: holds [[acknowledge]] entries only, each with rule, place and reason")
    return [_entry(entry, number, path) for number, entry in enumerate(entries, 1)]


def _entry(entry: Any, number: int, path: Path) -> Acknowledgement:
    members = {"rule", "place", "reason"}
    if (
        not isinstance(entry, dict)
        or set(entry) - members
        or not all(isinstance(v, str) for v in entry.values())
    ):
        raise CliError(f"{path}: entry {number} has rule, place and reason, each a text")
    if not entry.get("rule") or not entry.get("place"):
        raise CliError(f"{path}: entry {number} lacks rule or place")
    return Acknowledgement(
        rule=entry["rule"],
        place=entry["place"],
        reason=entry.get("reason", ""),
        source=f"{path.name}/acknowledge[{number}]",
    )


def apply(
    findings: list[Finding], acknowledgements: list[Acknowledgement], subjects: set[str]
) -> tuple[list[Finding], int]:
    """Findings that remain, and how many were acknowledged.

    Args:
        subjects: first parts of places that were checked. An entry of a file is unused only if what it
            speaks of was checked at all.
    """
    remaining, accepted = [], 0
    used: set[Acknowledgement] = set()
    for finding in findings:
        covering = [entry for entry in acknowledgements if entry.covers(finding)]
        used.update(covering)
        if any(entry.reason.strip() for entry in covering):
            accepted += 1
        else:
            remaining.append(finding)
    for entry in acknowledgements:
        if not entry.reason.strip():
            remaining.append(_about("MYA001", entry, "gives no reason"))
        elif entry not in used and any(_reaches(entry.place, subject) for subject in subjects):
            remaining.append(_about("MYA002", entry, "covers no finding"))
    return remaining, accepted


def _reaches(place: str, subject: str) -> bool:
    first = place.split("/", 1)[0]
    return re.fullmatch(".*".join(map(re.escape, first.split("*"))), subject) is not None


def _about(rule: str, entry: Acknowledgement, what: str) -> Finding:
    return Finding(
        place=entry.source,
        rule=rule,
        message=f"the acknowledgement of {entry.rule} at {entry.place} {what}",
        remedy=ACKNOWLEDGEMENT_RULES[rule].remedy,
    )
