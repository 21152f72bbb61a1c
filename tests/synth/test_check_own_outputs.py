"""`modelyard check` finds nothing in what this app synthesizes, cfn-lint included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelyard_cli.check.run import check
from stacks.environments import environments


@pytest.mark.parametrize("environment", ["local", "dev", "staging", "prod"])
def test_no_findings(synthesize: Callable[[str], Any], environment: str) -> None:
    # Templates of the environments differ in values, which cfn-lint's schemas see alike: once is enough.
    report = check([synthesize(environment).folder], cfn_lint=environment == "prod")
    assert report.templates >= 5
    assert report.definitions >= 4
    assert report.findings == ()
    # Of training: sweep and Spot's warnings have no dead letters, for another sweep comes in a minute.
    expected = ["MYT611"] * 2 if environments()[environment].training else []
    assert [advice.rule for advice in report.advice] == expected
