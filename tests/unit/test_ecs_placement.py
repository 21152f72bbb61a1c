"""Where tasks go: instances, strategies of capacity providers, sizes of instance types."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.ecs import query_language, strategy
from localcloud.ecs.instance_types import UNKNOWN, Resources, resources_of
from localcloud.ecs.placement import Demand, Host, choose
from localcloud.sagemaker.errors import ServiceError

SMALL = Demand(cpu=256, memory=512, group="g")


def host(
    name: str, *taken: Demand, cpu: int = 1024, memory: int = 2048, gpus: int = 0, zone: str = "a"
) -> Host:
    return Host(arn=name, zone=zone, offered=Resources(cpu=cpu, memory=memory, gpus=gpus), taken=taken)


@pytest.mark.parametrize(
    ("demand", "reason"),
    [
        (Demand(cpu=1025, memory=1), "RESOURCE:CPU"),
        (Demand(cpu=1, memory=2049), "RESOURCE:MEMORY"),
        (Demand(cpu=1, memory=1, gpus=1), "RESOURCE:GPU"),
        (Demand(cpu=1024, memory=2048), None),
    ],
)
def test_what_does_not_fit_is_named(demand: Demand, reason: str | None) -> None:
    found, reasons = choose([host("x")], demand)
    assert (found is None) == (reason is not None)
    assert reasons == ({"x": reason} if reason else {})


def test_ports_and_groups_keep_tasks_apart() -> None:
    port = Demand(cpu=1, memory=1, ports=frozenset({80}))
    assert choose([host("x", port)], port)[1] == {"x": "RESOURCE:PORTS"}
    apart = replace(SMALL, distinct=True)
    refused = choose([host("x", SMALL)], apart)[1]
    assert refused == {"x": "DistinctInstance placement constraint unsatisfied."}
    other = choose([host("x", SMALL)], replace(apart, group="other"))[0]
    assert other is not None


def test_strategies_of_placement() -> None:
    hosts = [host("full", SMALL, SMALL), host("some", SMALL), host("empty", zone="b")]

    def chosen(*items: dict[str, Any]) -> str:
        found, _ = choose(hosts, SMALL, items)
        assert found is not None
        return found.arn

    assert chosen() == "empty"
    assert chosen({"type": "binpack", "field": "memory"}) == "full"
    assert chosen({"type": "spread", "field": "instanceId"}) == "empty"
    assert chosen({"type": "spread", "field": "attribute:ecs.availability-zone"}) == "empty"
    zones = {"type": "spread", "field": "attribute:ecs.availability-zone"}
    assert choose([*hosts, host("b", SMALL, SMALL, SMALL, zone="b")], SMALL, [zones])[0] is not None


FACTS = {"ec2InstanceId": "i-1", "attribute:ecs.instance-type": "g5.xlarge", "runningTasksCount": "0"}


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        ("ec2InstanceId == i-1", True),
        ("ec2InstanceId==i-2", False),
        ("ec2InstanceId != i-1", False),
        ("ec2InstanceId in ['i-1', i-2]", True),
        ("ec2InstanceId !in [i-1]", False),
        ("attribute:ecs.instance-type =~ g5.*", True),
        ("attribute:ecs.instance-type !~ g5.*", False),
        ("not attribute:ecs.instance-type =~ g5.*", False),
        ("attribute:stage exists", False),
        ("attribute:stage == prod", False),
        ("attribute:stage != prod", True),
        ("runningTasksCount equals 0 and ec2InstanceId == i-1", True),
        ("runningTasksCount == 0 && ec2InstanceId == i-2", False),
    ],
)
def test_expressions(expression: str, meant: bool) -> None:
    assert query_language.parse(expression)(FACTS) == meant


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "x == 1",
        "(ec2InstanceId == a)",
        "ec2InstanceId == a or ec2InstanceId == b",
        "ec2InstanceId in a",
        "agentVersion =~ (",
    ],
)
def test_expressions_that_are_refused(expression: str) -> None:
    with pytest.raises(ServiceError):
        query_language.parse(expression)


def test_member_of_keeps_tasks_away() -> None:
    demand = replace(SMALL, expressions=("ec2InstanceId == i-2",))
    first, second = (replace(host(name), facts={"ec2InstanceId": name}) for name in ("i-1", "i-2"))
    assert choose([first, second], demand)[0] == second
    assert choose([first], demand)[1] == {"i-1": "MemberOf placement constraint unsatisfied."}


@given(st.lists(st.tuples(st.integers(1, 600), st.integers(1, 1200)), max_size=12))
def test_no_instance_is_overbooked(sizes: list[tuple[int, int]]) -> None:
    hosts = [host("x"), host("y", cpu=2048)]
    for cpu, memory in sizes:
        demand = Demand(cpu=cpu, memory=memory)
        found, reasons = choose(hosts, demand)
        if found is None:
            assert reasons.keys() == {"x", "y"}
            continue
        hosts = [replace(each, taken=(*each.taken, demand)) if each == found else each for each in hosts]
    assert all(each.cpu >= 0 and each.memory >= 0 for each in hosts)


def item(name: str, **members: int) -> dict[str, Any]:
    return {"capacityProvider": name, **members}


def test_bases_come_first_then_weights() -> None:
    items = [item("spot", weight=3), item("steady", base=2, weight=1)]
    assert strategy.divide(items, 2, {}) == ["steady", "steady"]
    assert Counter(strategy.divide(items, 10, {})) == {"steady": 4, "spot": 6}
    assert strategy.divide(items, 1, {"steady": 2}) == ["spot"]
    assert strategy.divide([item("only")], 2, {}) == ["only", "only"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 10)), min_size=1, max_size=4), st.integers(0, 40))
def test_a_strategy_keeps_its_weights(parts: list[tuple[int, int]], count: int) -> None:
    items = [item(str(index), weight=weight) for index, (_, weight) in enumerate(parts)]
    items[0]["base"] = parts[0][0]
    found = Counter(strategy.divide(items, count, {}))
    assert found.total() == count
    assert found["0"] >= min(count, parts[0][0])
    rest, total = count - min(count, parts[0][0]), sum(weight for _, weight in parts)
    for index, (_, weight) in enumerate(parts):
        expected = rest * weight / total + (min(count, parts[0][0]) if index == 0 else 0)
        assert abs(found[str(index)] - expected) <= weight + 1


@pytest.mark.parametrize(
    "items",
    [
        [item("a"), item("a")],
        [item("a", base=1), item("b", base=1, weight=1)],
        [item("a", weight=0), item("b", weight=0)],
        [item("a", weight=1001)],
        [item("FARGATE", weight=1), item("a", weight=1)],
        [item(str(number), weight=1) for number in range(21)],
    ],
)
def test_strategies_that_aws_refuses(items: list[dict[str, Any]]) -> None:
    with pytest.raises(ServiceError):
        strategy.check(items)


def test_instance_types() -> None:
    assert resources_of("c5.large") == Resources(cpu=2048, memory=3850)
    assert resources_of("m7i.4xlarge").cpu == 16 * 1024
    assert resources_of("g5.12xlarge").gpus == 4
    assert resources_of("t3.medium").memory == 3850
    # A definition that asks for all of the nominal memory fits no instance, on AWS either.
    assert resources_of("r5.xlarge").memory < 32 * 1024
    assert resources_of("x2gd.metal") == resources_of("") == UNKNOWN
