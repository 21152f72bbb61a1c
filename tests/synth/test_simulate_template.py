"""`modelyard simulate scaling --template` reads what the stacks of each environment deploy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelyard_cli.simulate.prices import price_of
from modelyard_cli.simulate.template import read
from stacks.environments import environments


@pytest.mark.parametrize("name", sorted(environments()))
def test_policy_and_bounds_of_an_environment(synthesize: Callable[[str], Any], name: str) -> None:
    deployed = read(synthesize(name).folder, 0.0)
    scaling = environments()[name].serving.scaling
    policy = deployed.policy
    assert (policy.target, policy.out_cooldown, policy.in_cooldown) == (
        scaling.invocations_per_minute,
        scaling.scale_out_seconds,
        scaling.scale_in_seconds,
    )
    assert (deployed.bounds.minimum, deployed.bounds.maximum) == (
        scaling.min_instances,
        scaling.max_instances,
    )
    assert deployed.instance_type is not None
    assert price_of(deployed.instance_type).per_hour > 0
