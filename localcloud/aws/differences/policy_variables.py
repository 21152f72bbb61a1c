"""Policy variables stand for values of the request.

MiniStack compares `${aws:username}` as text, so a grant with one grants nothing, and a denial denies nothing.
A variable whose key the request lacks, and that has no default, makes a grant match nothing; a denial then
matches whatever stands in its place, the stricter reading.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

_VARIABLE = re.compile(r"\$\{\s*(?P<name>[^},]+?)\s*(?:,\s*'(?P<default>[^']*)'\s*)?\}")
# Stand for a star and a question mark that are no wildcards, since patterns have no way to quote them.
_QUOTED = {"*": "\ue000", "?": "\ue001"}
_PLAIN = {quoted: plain for plain, quoted in _QUOTED.items()}


class _Filled(dict[str, Any]):
    """Conditions whose variables have their values: what a value says is no variable."""


def apply() -> None:
    """Fill variables in before a statement, or a condition of a trust policy, is looked at."""
    from ministack.core import iam_evaluator

    first_match, conditions_met = iam_evaluator._first_match, iam_evaluator._conditions_met
    match = iam_evaluator.fnmatch_iam_cs

    def fnmatch_iam_cs(value: str, pattern: str) -> bool:
        if not any(quoted in pattern for quoted in _PLAIN):
            return bool(match(value, pattern))
        parts = {"*": ".*", "?": ".", **{quoted: re.escape(plain) for quoted, plain in _PLAIN.items()}}
        return re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), value) is not None

    def matching(context: Any, statements: Sequence[Any], effect: str) -> Any:
        filled = (_filled(statement, context) for statement in statements if statement.effect == effect)
        return first_match(context, [statement for statement in filled if statement is not None], effect)

    def met(conditions: Any, context: Any) -> bool:
        # What is still unresolved here, in a trust policy, equals nothing.
        return bool(conditions_met(_conditions(conditions, context)[0], context))

    iam_evaluator.fnmatch_iam_cs = fnmatch_iam_cs
    iam_evaluator._first_match, iam_evaluator._conditions_met = matching, met


def _filled(statement: Any, context: Any) -> Any:
    """The statement with values for variables; None for a grant that lacks one."""
    if not statement.conditions and not any(
        "${" in text for texts in (statement.resources, statement.not_resources) for text in texts
    ):
        return statement  # as most: this is asked for every statement of every request
    denies = statement.effect == "Deny"
    resources = [_fill(text, context) for text in statement.resources]
    others = [_fill(text, context) for text in statement.not_resources]
    conditions, unresolved = _conditions(statement.conditions, context, drop=denies)
    if not denies and (unresolved or None in others):
        return None
    # A grant keeps its other resources; an element of a denial that is unknown matches anything there.
    kept = [
        text if text is not None else _VARIABLE.sub("*", original)
        for text, original in zip(resources, statement.resources, strict=True)
        if text is not None or denies
    ]
    if statement.resources and not kept:
        return None
    # An exception to a denial counts only if it is known.
    exceptions = [text for text in others if text is not None]
    if others and not exceptions:
        kept = ["*"]
    return replace(statement, resources=kept, not_resources=exceptions, conditions=conditions)


def _conditions(conditions: Any, context: Any, *, drop: bool = False) -> tuple[Any, bool]:
    """Conditions with values, and whether one is unresolved; `drop` leaves such ones out, as if met."""
    if not isinstance(conditions, dict) or isinstance(conditions, _Filled):
        return conditions, False
    found = _Filled()
    unresolved = False
    for operator, by_key in conditions.items():
        if not isinstance(by_key, dict):
            found[operator] = by_key
            continue
        patterns = "like" in operator.lower() or "arn" in operator.lower()
        for key, expected in by_key.items():
            texts = expected if isinstance(expected, list) else [expected]
            values = [_fill(t, context, quote=patterns) if isinstance(t, str) else t for t in texts]
            missing = None in values
            unresolved = unresolved or missing
            if not (missing and drop):
                known = [text if value is None else value for text, value in zip(texts, values, strict=True)]
                found.setdefault(operator, {})[key] = known
    return found, unresolved


def _fill(text: str, context: Any, *, quote: bool = True) -> str | None:
    """The text with values for its variables; None if the request lacks one."""
    from ministack.core import iam_evaluator

    if "${" not in text:
        return text
    missing = False

    def value_of(variable: re.Match[str]) -> str:
        nonlocal missing
        name = variable["name"]
        value = name if name in ("*", "?", "$") else iam_evaluator._resolve_condition_key(name, context)
        if not isinstance(value, str) or not value:
            value = variable["default"]
        if value is None:
            missing = True
            return ""
        return "".join(_QUOTED.get(c, c) for c in value) if quote else value

    filled = _VARIABLE.sub(value_of, text)
    return None if missing else filled
