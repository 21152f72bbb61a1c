"""The cluster query language, as far as conditions joined by `and` go. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-query-language.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from localcloud.ecs.errors import invalid

_CONDITION = re.compile(
    r"(?P<negated>!|not\s+)?(?P<subject>[\w:.\-]+)\s*"
    r"(?P<operator>==|!=|=~|!~|exists|!exists|in\b|!in\b|not_in\b|not_equals\b|equals\b|matches\b)\s*"
    r"(?P<value>.*)",
    re.DOTALL,
)
_SUBJECTS = ("ec2InstanceId", "agentConnected", "runningTasksCount", "pendingTasksCount", "agentVersion")
_SAME = {"equals": "==", "not_equals": "!=", "matches": "=~", "not_in": "!in"}
Test = Callable[[Mapping[str, str]], bool]


def parse(expression: str) -> Test:
    """Read an expression; what it returns says whether an instance with these facts is meant.

    Facts are `ec2InstanceId`, the other subjects of the language, and attributes as `attribute:NAME`.

    Raises:
        ServiceError: InvalidParameterException, also for `or` and parentheses, which are not read here.

    Example:
        >>> parse("attribute:ecs.instance-type =~ g5.*")({"attribute:ecs.instance-type": "g5.xlarge"})
        True
    """
    if re.search(r"\sor\s|\|\||[()]", expression):
        raise invalid(
            f"The local ECS reads conditions joined by and, no or and no parentheses: {expression!r}."
        )
    tests = [_condition(part.strip()) for part in re.split(r"\s+and\s+|\s*&&\s*", expression.strip())]
    return lambda facts: all(test(facts) for test in tests)


def _condition(text: str) -> Test:
    found = _CONDITION.fullmatch(text)
    subject = found["subject"] if found else ""
    if found is None or not (subject in _SUBJECTS or subject.startswith("attribute:")):
        raise invalid(
            f"The local ECS does not understand {text!r}; it reads conditions on attributes and on "
            f"{', '.join(_SUBJECTS)}, joined by and."
        )
    operator = _SAME.get(found["operator"], found["operator"])
    values = _values(found["value"], several=operator.endswith("in"))
    test = _test(subject, operator.removeprefix("!") if operator != "!=" else operator, values)
    opposite = bool(found["negated"]) != (operator.startswith("!") and operator != "!=")
    return (lambda facts: not test(facts)) if opposite else test


def _test(subject: str, operator: str, values: list[str]) -> Test:
    if operator == "exists":
        return lambda facts: subject in facts
    if operator in ("=~", "~"):
        try:
            pattern = re.compile(values[0])
        except (re.error, IndexError):
            raise invalid(f"{values} is not a regular expression.") from None
        return lambda facts: subject in facts and pattern.fullmatch(facts[subject]) is not None
    if operator == "!=":
        return lambda facts: facts.get(subject) not in values
    return lambda facts: facts.get(subject) in values


def _values(text: str, *, several: bool) -> list[str]:
    bare = text.strip()
    if several:
        if not (bare.startswith("[") and bare.endswith("]")):
            raise invalid(f"{text!r} is not a list: [one, another].")
        return [each.strip().strip("'\"") for each in bare[1:-1].split(",")]
    return [bare.strip("'\"")]
