"""The scheduler, on random graphs with failures, conditions, limits and stops."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.pipelines.graph import CycleError, Graph, Status, build_graph, decide
from localcloud.sagemaker.pipelines.model import Branch, Definition, Step


def definition(*steps: Step) -> Definition:
    return Definition(parameters={}, steps={step.name: step for step in steps})


def step(name: str, *needs: str, branch: Branch | None = None) -> Step:
    return Step(name=name, type="Processing", arguments={}, depends_on=needs, branch=branch)


@dataclass
class Simulation:
    """Runs a graph as the executor does, with the order in which running steps end left to chance."""

    graph: Graph
    failing: frozenset[str] = frozenset()
    outcomes: dict[str, bool] = field(default_factory=dict)
    limit: int | None = None
    halt_after: int | None = None
    chance: random.Random = field(default_factory=random.Random)
    started: list[str] = field(default_factory=list)
    most_running: int = 0

    def run(self) -> dict[str, Status]:
        statuses = dict.fromkeys(self.graph.order, Status.PENDING)
        known: dict[str, bool] = {}
        ended = 0
        while {Status.PENDING, Status.RUNNING} & set(statuses.values()):
            halted = self.halt_after is not None and ended >= self.halt_after
            decision = decide(self.graph, statuses, known, limit=self.limit, halted=halted)
            for name in decision.start:
                assert statuses[name] is Status.PENDING, "a step starts once"
                assert all(statuses[need] is Status.SUCCEEDED for need in self.graph.needs[name])
                assert not halted
            self.started.extend(decision.start)
            statuses.update(dict.fromkeys(decision.start, Status.RUNNING))
            statuses.update(dict.fromkeys(decision.skip, Status.SKIPPED))
            running = [name for name, status in statuses.items() if status is Status.RUNNING]
            self.most_running = max(self.most_running, len(running))
            if not running:
                assert Status.PENDING not in statuses.values(), "nothing runs and something still waits"
                break
            name = self.chance.choice(running)
            statuses[name] = Status.FAILED if name in self.failing else Status.SUCCEEDED
            if name in self.outcomes and name not in self.failing:
                known[name] = self.outcomes[name]
            ended += 1
        return statuses


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random DAGs: each step may wait for earlier ones; the definition lists them shuffled."""
    count = draw(st.integers(1, 12))
    names = [f"s{n}" for n in range(count)]
    steps = [
        step(name, *draw(st.lists(st.sampled_from(names[:n]), unique=True, max_size=3)) if n else ())
        for n, name in enumerate(names)
    ]
    return build_graph(definition(*draw(st.permutations(steps))))


def descendants(graph: Graph, roots: frozenset[str]) -> set[str]:
    found: set[str] = set()
    for name in graph.order:
        if graph.needs[name] & (roots | found):
            found.add(name)
    return found


@given(graphs(), st.randoms(use_true_random=False), st.one_of(st.none(), st.integers(1, 3)))
def test_every_step_runs_exactly_once_after_its_dependencies(
    graph: Graph, chance: random.Random, limit: int | None
) -> None:
    simulation = Simulation(graph, limit=limit, chance=chance)
    assert set(simulation.run().values()) == {Status.SUCCEEDED}
    assert sorted(simulation.started) == sorted(graph.order)
    assert limit is None or simulation.most_running <= limit


@given(graphs(), st.data(), st.randoms(use_true_random=False))
def test_a_failure_stops_exactly_its_descendants(
    graph: Graph, data: st.DataObject, chance: random.Random
) -> None:
    failing = frozenset(data.draw(st.sets(st.sampled_from(graph.order))))
    statuses = Simulation(graph, failing=failing, chance=chance).run()
    lost = descendants(graph, failing)
    for name, status in statuses.items():
        expected = Status.SKIPPED if name in lost else Status.FAILED if name in failing else Status.SUCCEEDED
        assert status is expected


@given(graphs(), st.integers(0, 12), st.randoms(use_true_random=False))
def test_after_a_halt_nothing_starts_and_what_runs_ends(
    graph: Graph, halt_after: int, chance: random.Random
) -> None:
    statuses = Simulation(graph, halt_after=halt_after, chance=chance).run()
    assert set(statuses.values()) <= {Status.SUCCEEDED, Status.SKIPPED}
    if halt_after == 0:
        assert set(statuses.values()) == {Status.SKIPPED}


@given(st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_only_the_taken_branch_runs_nested_conditions_included(
    outer: bool, inner: bool, chance: random.Random
) -> None:
    graph = build_graph(
        definition(
            step("gate"),
            step("then", branch=Branch(condition="gate", outcome=True)),
            step("inner", branch=Branch(condition="gate", outcome=True)),
            step("deep", "then", branch=Branch(condition="inner", outcome=True)),
            step("shallow", branch=Branch(condition="inner", outcome=False)),
            step("else", branch=Branch(condition="gate", outcome=False)),
            step("outside", "then"),
            step("free"),
        )
    )
    simulation = Simulation(graph, outcomes={"gate": outer, "inner": inner}, chance=chance)
    statuses = simulation.run()
    expected = {"gate", "free"} | (
        {"then", "inner", "outside", "deep" if inner else "shallow"} if outer else {"else"}
    )
    assert set(simulation.started) == expected
    assert Status.FAILED not in statuses.values()


def test_references_and_branches_are_dependencies_too() -> None:
    reference = {"Get": "Steps.a.ProcessingJobName"}
    b = Step(name="b", type="Processing", arguments={"Environment": {"X": reference}})
    c = step("c", branch=Branch(condition="b", outcome=True))
    graph = build_graph(definition(c, b, step("a")))
    assert graph.order == ("a", "b", "c")
    assert graph.needs == {"a": frozenset(), "b": {"a"}, "c": {"b"}}


def test_a_cycle_is_named() -> None:
    with pytest.raises(CycleError, match="a -> c -> b -> a"):
        build_graph(definition(step("a", "c"), step("b", "a"), step("c", "b"), step("d", "a")))


def test_a_condition_that_waits_for_its_own_branch_is_a_cycle() -> None:
    with pytest.raises(CycleError):
        build_graph(
            definition(step("gate", "then"), step("then", branch=Branch(condition="gate", outcome=True)))
        )


def test_long_chains_need_no_recursion() -> None:
    count = 3000
    steps = [step(f"s{n}", *([f"s{n + 1}"] if n + 1 < count else [])) for n in range(count)]
    assert build_graph(definition(*steps)).order == tuple(f"s{n}" for n in reversed(range(count)))
