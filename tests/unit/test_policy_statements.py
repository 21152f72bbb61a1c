"""Statements of one policy are merged, and allow what they allowed before."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from modelyard.policy_statements import Statement, merge

_CONDITIONS = ({}, {"Bool": {"a:Secure": "true"}}, {"StringLike": {"s3:prefix": ["raw", "raw/*"]}})


def _some(*names: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=len(names), unique=True).map(tuple)


_STATEMENTS = st.lists(
    st.builds(
        Statement,
        actions=_some("s3:GetObject", "s3:PutObject", "kms:Decrypt"),
        resources=_some("arn:raw", "arn:batch", "*"),
        conditions=st.sampled_from(_CONDITIONS),
    ),
    max_size=8,
)


def _allowed(statements: list[Statement]) -> set[tuple[str, str, str]]:
    return {
        (action, resource, str(statement.conditions))
        for statement in statements
        for action in statement.actions
        for resource in statement.resources
    }


@given(_STATEMENTS)
def test_merging_allows_neither_more_nor_less(statements: list[Statement]) -> None:
    assert _allowed(merge(statements)) == _allowed(statements)


@given(_STATEMENTS)
def test_no_two_are_left_that_differ_in_their_actions_only(statements: list[Statement]) -> None:
    for one, other in combinations(merge(statements), 2):
        assert (set(one.resources), one.conditions) != (set(other.resources), other.conditions)


@given(_STATEMENTS)
def test_nothing_is_said_twice(statements: list[Statement]) -> None:
    for one in merge(statements):
        assert len(set(one.actions)) == len(one.actions)
        assert len(set(one.resources)) == len(one.resources)


def _statement(actions: str, resources: str, **conditions: dict[str, str]) -> Statement:
    return Statement(
        actions=tuple(actions.split()), resources=tuple(resources.split()), conditions=conditions
    )


def test_the_same_actions_on_several_resources_are_one_statement() -> None:
    merged = merge([_statement("put get", "raw"), _statement("get put", "batch raw")])
    assert [one.as_json() for one in merged] == [
        {"Action": ["get", "put"], "Effect": "Allow", "Resource": ["raw", "batch"]}
    ]


def test_several_actions_on_the_same_resources_are_one_statement() -> None:
    assert merge([_statement("get", "raw"), _statement("put get", "raw")]) == [_statement("get put", "raw")]


def test_conditions_keep_statements_apart() -> None:
    limited = _statement("get", "raw", Bool={"a:Secure": "true"})
    assert merge([limited, _statement("get", "raw"), limited]) == [limited, _statement("get", "raw")]
    assert limited.as_json() == {
        "Action": "get",
        "Condition": {"Bool": {"a:Secure": "true"}},
        "Effect": "Allow",
        "Resource": "raw",
    }
