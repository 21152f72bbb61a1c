"""Statements of one policy, merged where that changes nothing that they allow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """Something that is allowed.

    Args:
        actions: IAM actions.
        resources: ARNs, which may hold tokens.
        conditions: Condition operators as in a policy document.
    """

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """As in a policy document; one action or resource stands alone, which saves IAM's characters."""
        return {
            "Action": _one_or_all(self.actions),
            **(
                {"Condition": {key: dict(value) for key, value in self.conditions.items()}}
                if self.conditions
                else {}
            ),
            "Effect": "Allow",
            "Resource": _one_or_all(self.resources),
        }


def merge(statements: Iterable[Statement]) -> list[Statement]:
    """Make one of those that differ in their resources only, then of those that differ in their actions only.

    Actions come sorted, as CDK writes them; resources as they came, since tokens have no order.

    Example:
        >>> [one.actions for one in merge([get_of_raw, put_of_raw])]
        [('s3:GetObject', 's3:PutObject')]
    """
    alike: dict[str, list[Statement]] = {}
    for statement in statements:
        alike.setdefault(_key(statement.actions, statement.conditions), []).append(statement)
    alike_now: dict[str, list[Statement]] = {}
    for several in alike.values():
        statement = _united(several)
        alike_now.setdefault(_key(statement.resources, statement.conditions), []).append(statement)
    return [_united(several) for several in alike_now.values()]


def _united(several: Sequence[Statement]) -> Statement:
    return Statement(
        actions=tuple(sorted({action for one in several for action in one.actions})),
        resources=tuple(dict.fromkeys(resource for one in several for resource in one.resources)),
        conditions=several[0].conditions,
    )


def _key(names: Sequence[str], conditions: Mapping[str, Mapping[str, Any]]) -> str:
    return json.dumps(
        [sorted(names), {key: dict(value) for key, value in conditions.items()}], sort_keys=True
    )


def _one_or_all(names: Sequence[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else list(names)
