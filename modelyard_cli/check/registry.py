"""The rules: each is one generator function over one document, registered under its id.

Example:
    @template_rule("MYT999", "Title for the table", "What to do.")
    def _rule(template: Template) -> Hits:
        yield "LogicalId/Properties.Name", "what is wrong there"
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from modelyard_cli.check.definitions.model import Definition
    from modelyard_cli.check.templates.model import Template

Hits = Iterator[tuple[str, str]]
_Check = TypeVar("_Check", bound=Callable[..., Hits])


class Advice(str):
    """The message of a hit that hardens what works: it is told, and fails a check only with --strict."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its id never changes its meaning, for acknowledgements name it."""

    id: str
    title: str
    remedy: str
    check: Callable[[Any], Hits] | None = None


_TEMPLATE_RULES: dict[str, Rule] = {}
_DEFINITION_RULES: dict[str, Rule] = {}
ACKNOWLEDGEMENT_RULES = {
    rule.id: rule
    for rule in (
        Rule(
            "MYA001",
            "An acknowledgement without a reason",
            "Say why the finding is accepted, so that the next reader can judge whether it still holds.",
        ),
        Rule(
            "MYA002",
            "An acknowledgement that nothing needs",
            "Remove it: the fault is gone, or the rule id or place is misspelt.",
        ),
        Rule(
            "MYA003",
            "A document of such a form that a rule could not read it to its end",
            "Mend the types that cfn-lint or the other rules name.",
        ),
    )
}


def template_rule(rule_id: str, title: str, remedy: str) -> Callable[[_Check], _Check]:
    """Register a check of one template, which sees the other templates of its assembly too."""
    return _register(_TEMPLATE_RULES, rule_id, title, remedy)


def definition_rule(rule_id: str, title: str, remedy: str) -> Callable[[_Check], _Check]:
    """Register a check of one pipeline definition."""
    return _register(_DEFINITION_RULES, rule_id, title, remedy)


def _register(rules: dict[str, Rule], rule_id: str, title: str, remedy: str) -> Callable[[_Check], _Check]:
    def keep(check: _Check) -> _Check:
        if rule_id in rules:
            raise ValueError(f"two rules are called {rule_id}")
        rules[rule_id] = Rule(rule_id, title, remedy, check)
        return check

    return keep


@cache
def template_rules() -> dict[str, Rule]:
    """Every rule for templates, by id."""
    _load("modelyard_cli.check.templates")
    return dict(sorted(_TEMPLATE_RULES.items()))


@cache
def definition_rules() -> dict[str, Rule]:
    """Every rule for pipeline definitions, by id."""
    _load("modelyard_cli.check.definitions")
    return dict(sorted(_DEFINITION_RULES.items()))


def all_rules() -> dict[str, Rule]:
    """Every rule, by id, in the order of the table."""
    return {**ACKNOWLEDGEMENT_RULES, **definition_rules(), **template_rules()}


def _load(package_name: str) -> None:
    package = importlib.import_module(package_name)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package_name}.{module.name}")


def template_findings(template: Template) -> Iterator[tuple[Rule, str, str]]:
    """(rule, place, message) of every fault in a template."""
    yield from _findings(template_rules(), template, template.name)


def definition_findings(definition: Definition) -> Iterator[tuple[Rule, str, str]]:
    """(rule, place, message) of every fault in a definition."""
    yield from _findings(definition_rules(), definition, definition.name)


def _findings(rules: dict[str, Rule], subject: Any, name: str) -> Iterator[tuple[Rule, str, str]]:
    for rule in rules.values():
        assert rule.check is not None
        try:
            for path, message in rule.check(subject):
                yield rule, f"{name}/{path}", message
        # Documents may hold anything anywhere: the rule that trips over it is said, and the others go on.
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            unread = ACKNOWLEDGEMENT_RULES["MYA003"]
            yield unread, f"{name}/{rule.id}", f"{rule.id} ({rule.title}) stopped at: {error}"
