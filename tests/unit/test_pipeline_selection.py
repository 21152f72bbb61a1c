"""Which steps a selective execution runs and which it takes over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.pipelines.graph import Status, decide
from localcloud.sagemaker.pipelines.model import Branch, Definition, Step
from localcloud.sagemaker.pipelines.selection import SelectionError, select


def step(name: str, *needs: str, refers: str | None = None, branch: Branch | None = None) -> Step:
    arguments = {"X": {"Get": f"Steps.{refers}.ProcessingJobName"}} if refers else {}
    return Step(name=name, type="Processing", arguments=arguments, depends_on=needs, branch=branch)


def definition(*steps: Step) -> Definition:
    return Definition(parameters={}, steps={step.name: step for step in steps})


# Process -> Train -> Evaluate -> Gate(-> Register); Train and Evaluate read what Process wrote.
ABALONE = definition(
    step("Process"),
    step("Train", refers="Process"),
    step("Evaluate", "Train", refers="Process"),
    step("Gate", refers="Evaluate"),
    step("Register", refers="Train", branch=Branch(condition="Gate", outcome=True)),
)


def test_all_steps_without_a_selection() -> None:
    selection = select(ABALONE, None)
    assert selection.graph.order == ("Process", "Train", "Evaluate", "Gate", "Register")
    assert selection.reused == ()


def test_what_is_referred_to_is_taken_over_and_what_follows_does_not_run() -> None:
    selection = select(ABALONE, ["Train", "Evaluate"])
    assert selection.graph.order == ("Train", "Evaluate")
    assert selection.graph.needs == {"Train": frozenset(), "Evaluate": {"Train"}}
    assert selection.reused == ("Process",)


def test_a_dependency_without_data_needs_no_source() -> None:
    assert select(ABALONE, ["Evaluate"]).reused == ("Process",)


def test_a_nested_step_runs_without_its_condition() -> None:
    selection = select(ABALONE, ["Register"])
    assert selection.graph.branches == {}
    assert selection.graph.needs == {"Register": frozenset()}
    assert selection.reused == ("Train",)


def test_a_gap_is_refused() -> None:
    with pytest.raises(SelectionError, match="lacks Evaluate"):
        select(ABALONE, ["Train", "Gate"])


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(SelectionError, match="names Trian; the steps are: Process, Train"):
        select(ABALONE, ["Trian"])


@given(st.data())
def test_what_is_selected_runs_in_order_or_is_refused_for_a_gap(data: st.DataObject) -> None:
    names = [f"s{number}" for number in range(8)]
    steps = [
        step(name, *data.draw(st.lists(st.sampled_from(names[:n]), unique=True, max_size=3)) if n else ())
        for n, name in enumerate(names)
    ]
    whole = definition(*data.draw(st.permutations(steps)))
    chosen = data.draw(st.sets(st.sampled_from(names), min_size=1))
    try:
        graph = select(whole, chosen).graph
    except SelectionError as error:
        missing = str(error).split(" lacks ")[1].split(":")[0].split(", ")
        assert not chosen & set(missing)
        # With the gaps filled it is taken, and not before.
        chosen |= set(missing)
        graph = select(whole, chosen).graph
    assert set(graph.order) == chosen
    statuses = dict.fromkeys(graph.order, Status.PENDING)
    while started := decide(graph, statuses, {}).start:
        for name in started:
            needed = graph.needs[name]
            assert needed == frozenset(whole.steps[name].depends_on) & chosen
            assert all(statuses[need] is Status.SUCCEEDED for need in needed)
        statuses.update(dict.fromkeys(started, Status.SUCCEEDED))
    assert set(statuses.values()) == {Status.SUCCEEDED}
