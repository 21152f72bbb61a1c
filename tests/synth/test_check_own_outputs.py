"""`modelyard check` finds nothing in what this app synthesizes, cfn-lint included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelyard_cli.check.run import check
from stacks.environments import environments


@pytest.mark.parametrize("environment", [*environments()])
def test_neither_findings_nor_advice(synthesize: Callable[[str], Any], environment: str) -> None:
    # Templates of the environments differ in values, which cfn-lint's schemas see alike: twice is enough,
    # with the stacks of training and without.
    report = check([synthesize(environment).folder], cfn_lint=environment in ("prod", "dev"))
    assert report.templates >= 5
    assert report.definitions >= 4
    assert (report.findings, report.advice) == ((), ())
    # Two rules of training have no dead letters; one stage has no Container Insights and no endpoints of ECR
    # (two) and Logs.
    assert report.acknowledged == {"dev": 2, "local-training": 6}.get(environment, 0)
