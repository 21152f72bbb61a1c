"""Executions of random definitions on the real threads, with failures, limits, stops and retries."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.context import Cloud
from localcloud.folder import StateFolder
from localcloud.sagemaker.pipelines import step_run
from localcloud.sagemaker.pipelines.executor import PipelineExecutor
from localcloud.sagemaker.pipelines.failures import StepFailure, StepStopped
from localcloud.sagemaker.pipelines.records import EXECUTION, STEP, save_definition
from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult
from localcloud.sagemaker.store import Store

PIPELINE_ARN = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p"
ARN = f"{PIPELINE_ARN}/execution/abcdefghijkl"
ARGUMENTS: dict[str, Any] = {"RoleArn": "arn:aws:iam::000000000000:role/r"}


@dataclass
class Plan:
    """Steps with what each waits for, those that fail, and after how many starts somebody stops it all."""

    needs: dict[str, list[str]]
    failing: frozenset[str]
    limit: int | None
    stop_after: int | None


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    needs = {
        name: draw(st.lists(st.sampled_from(names[:number]), unique=True, max_size=3)) if number else []
        for number, name in enumerate(names)
    }
    return Plan(
        needs=dict(draw(st.permutations(list(needs.items())))),
        failing=frozenset(draw(st.sets(st.sampled_from(names), max_size=2))),
        limit=draw(st.one_of(st.none(), st.integers(1, 3))),
        stop_after=draw(st.one_of(st.none(), st.none(), st.integers(1, 8))),
    )


@dataclass
class Stage:
    """Plays every step, and notes who ran when."""

    plan: Plan
    stop: Callable[[], None]
    chance: random.Random
    lock: threading.Lock = field(default_factory=threading.Lock)
    events: list[tuple[str, str]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    def __call__(self, context: StepContext) -> StepResult:
        name = context.step.name
        with self.lock:
            self.events.append(("start", name))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            started = sum(event == "start" for event, _ in self.events)
            pause = self.chance.random() / 500
        if started == self.plan.stop_after:
            self.stop()
        time.sleep(pause)
        with self.lock:
            self.events.append(("end", name))
            self.running -= 1
        if context.stop.given:
            raise StepStopped
        if name in self.plan.failing:
            raise StepFailure("ClientError: planned")
        return StepResult(properties={"Name": name})


@contextmanager
def executor(folder: Path) -> Iterator[tuple[PipelineExecutor, Store]]:
    store = Store(Path(":memory:"))
    cloud = Cloud(
        account="000000000000",
        region="us-east-1",
        endpoint_url="https://localhost:1",
        ca_bundle=folder / "ca.pem",
        folder=StateFolder(folder),
    )
    made = PipelineExecutor(cloud, store)
    try:
        yield made, store
    finally:
        made.close()
        store.close()


def create(store: Store, plan: Plan) -> None:
    steps = [
        {"Name": name, "Type": "Processing", "Arguments": ARGUMENTS, "DependsOn": needs}
        for name, needs in plan.needs.items()
    ]
    record: dict[str, Any] = {
        "PipelineArn": PIPELINE_ARN,
        "PipelineExecutionArn": ARN,
        "PipelineExecutionStatus": "Executing",
        "CreationTime": 1.0,
        "_PipelineName": "p",
        "_RoleArn": ARGUMENTS["RoleArn"],
        "_Definition": save_definition(store, json.dumps({"Version": "2020-12-01", "Steps": steps})),
        "_Parameters": {},
    }
    if plan.limit is not None:
        record["ParallelismConfiguration"] = {"MaxParallelExecutionSteps": plan.limit}
    store.create(EXECUTION, ARN, record)


def ended(store: Store) -> str:
    status: str = store.wait(
        EXECUTION, ARN, lambda record: record["PipelineExecutionStatus"] not in ("Executing", "Stopping"), 20
    )["PipelineExecutionStatus"]
    return status


def lost(plan: Plan) -> set[str]:
    """What waits, directly or not, for a step that fails."""
    found: set[str] = set()
    for _ in plan.needs:
        found |= {name for name, needs in plan.needs.items() if set(needs) & (plan.failing | found)}
    return found


@given(plans(), st.integers(0, 999).map(random.Random))
@settings(max_examples=60, deadline=None)
def test_any_execution_runs_in_order_and_ends_right(plan: Plan, chance: random.Random) -> None:
    folder = Path("/nonexistent")
    with executor(folder) as (made, store):
        stage = Stage(plan, lambda: made.stop(ARN), chance)
        original, step_run.RUNNERS = step_run.RUNNERS, {"Processing": stage}  # type: ignore[misc]
        try:
            create(store, plan)
            made.start(ARN)
            status = ended(store)
        finally:
            step_run.RUNNERS = original  # type: ignore[misc]
        statuses = {record["StepName"]: record["StepStatus"] for record in store.query(STEP)}

    started = [name for event, name in stage.events if event == "start"]
    assert len(started) == len(set(started)), "a step runs once"
    for place, (event, name) in enumerate(stage.events):
        over = {before for kind, before in stage.events[:place] if kind == "end"}
        assert event == "end" or set(plan.needs[name]) <= over - plan.failing
    assert plan.limit is None or stage.most_running <= plan.limit
    assert set(statuses) == set(started), "what never ran is not listed"
    assert set(statuses.values()) <= {"Succeeded", "Failed", "Stopped"}
    if plan.stop_after is not None and plan.stop_after <= len(started):
        # The stop may come after the last step's end.
        assert status in ("Stopped", "Failed" if "Failed" in statuses.values() else "Succeeded")
        return
    assert set(started) == set(plan.needs) - lost(plan), "all that can run runs"
    assert status == ("Failed" if plan.failing & set(started) else "Succeeded")


@given(plans(), st.integers(0, 999).map(random.Random))
@settings(max_examples=30, deadline=None)
def test_a_retry_runs_what_has_not_succeeded_and_nothing_else(plan: Plan, chance: random.Random) -> None:
    plan.stop_after = None
    with executor(Path("/nonexistent")) as (made, store):
        first = Stage(plan, lambda: None, chance)
        second = Stage(Plan(plan.needs, frozenset(), plan.limit, None), lambda: None, chance)
        original = step_run.RUNNERS
        try:
            step_run.RUNNERS = {"Processing": first}  # type: ignore[misc]
            create(store, plan)
            made.start(ARN)
            ended(store)
            done = {r["StepName"] for r in store.query(STEP) if r["StepStatus"] == "Succeeded"}
            for record in store.query(STEP):
                if record["StepName"] not in done:
                    store.delete(STEP, f"abcdefghijkl/{record['StepName']}")
            store.update(EXECUTION, ARN, lambda record: record.update(PipelineExecutionStatus="Executing"))
            step_run.RUNNERS = {"Processing": second}  # type: ignore[misc]
            made.start(ARN)
            assert ended(store) == "Succeeded"
        finally:
            step_run.RUNNERS = original  # type: ignore[misc]
    again = {name for event, name in second.events if event == "start"}
    assert again == set(plan.needs) - done
