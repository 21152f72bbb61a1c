"""How a capacity provider strategy divides tasks.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CapacityProviderStrategyItem.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.ecs.errors import invalid

_MOST_WEIGHT, _MOST_BASE, _MOST_ITEMS = 1000, 100_000, 20


def check(strategy: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a strategy that AWS refuses."""
    if len(strategy) > _MOST_ITEMS:
        raise invalid(f"A capacity provider strategy has at most {_MOST_ITEMS} items.")
    names = [item["capacityProvider"] for item in strategy]
    if len(set(names)) != len(names):
        raise invalid("A capacity provider strategy cannot contain duplicate capacity providers.")
    if sum(1 for item in strategy if item.get("base", 0) > 0) > 1:
        raise invalid("Only one capacity provider in a strategy can have a base defined.")
    for item in strategy:
        if not 0 <= item.get("base", 0) <= _MOST_BASE or not 0 <= item.get("weight", 0) <= _MOST_WEIGHT:
            raise invalid(f"Base is from 0 to {_MOST_BASE}, weight from 0 to {_MOST_WEIGHT}.")
    if len(strategy) > 1 and not any(item.get("weight", 0) for item in strategy):
        raise invalid("At least one capacity provider in a strategy must have a weight greater than 0.")
    fargate = {name.startswith("FARGATE") and name in ("FARGATE", "FARGATE_SPOT") for name in names}
    if len(fargate) > 1:
        raise invalid(
            "A capacity provider strategy cannot contain a mix of Auto Scaling group and Fargate ones."
        )


def divide(strategy: Sequence[Mapping[str, Any]], count: int, running: Mapping[str, int]) -> list[str]:
    """The provider of each of `count` further tasks.

    Args:
        strategy: at least one item.
        count: of new tasks.
        running: tasks of the same service that each provider has already; empty for RunTask.

    Example:
        >>> spot = {"capacityProvider": "spot", "weight": 3}
        >>> steady = {"capacityProvider": "steady", "base": 1}
        >>> divide([spot, steady], 3, {})
        ['steady', 'spot', 'spot']
    """
    having, chosen = Counter(running), []
    bases = {item["capacityProvider"]: item.get("base", 0) for item in strategy}
    weights = {item["capacityProvider"]: item.get("weight", 0) for item in strategy}
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    for _ in range(count):
        below = [name for name, base in bases.items() if having[name] < base]
        weighted = [name for name, weight in weights.items() if weight]

        def behind(name: str) -> float:
            return float(having[name] - bases[name]) / float(weights[name])

        name = below[0] if below else min(weighted, key=behind)
        having[name] += 1
        chosen.append(name)
    return chosen
