"""Executions of steps that need nothing but the store: conditions, failures, caching records, restarts."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.context import Cloud
from localcloud.folder import StateFolder
from localcloud.sagemaker.pipelines import step_run
from localcloud.sagemaker.pipelines.caching import CacheHit, cache_key, find_hit, forget_pipeline, remember
from localcloud.sagemaker.pipelines.executor import PipelineExecutor
from localcloud.sagemaker.pipelines.failures import StepFailure, StepStopped
from localcloud.sagemaker.pipelines.model import Step
from localcloud.sagemaker.pipelines.records import EXECUTION, STEP, save_definition
from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult, StopSignal
from localcloud.sagemaker.store import Store

PIPELINE_ARN = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p"
ARN = f"{PIPELINE_ARN}/execution/abcdefghijkl"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "sagemaker.db")
    yield store
    store.close()


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(
        account="000000000000",
        region="us-east-1",
        endpoint_url="https://localhost:1",
        ca_bundle=tmp_path / "ca.pem",
        folder=StateFolder(tmp_path),
    )


def condition(
    name: str, left: Any, right: Any, *, then: Any = (), otherwise: Any = (), **more: Any
) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "Equals", "LeftValue": left, "RightValue": right}],
            "IfSteps": list(then),
            "ElseSteps": list(otherwise),
        },
        **more,
    }


def fail(name: str, message: Any, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}, **more}


def create_execution(
    store: Store, *steps: dict[str, Any], status: str = "Executing", limit: int | None = None
) -> None:
    text = json.dumps(
        {
            "Version": "2020-12-01",
            "Parameters": [{"Name": "Rate", "Type": "Float", "DefaultValue": 2.5}],
            "Steps": list(steps),
        }
    )
    record: dict[str, Any] = {
        "PipelineArn": PIPELINE_ARN,
        "PipelineExecutionArn": ARN,
        "PipelineExecutionStatus": status,
        "CreationTime": 1.0,
        "_PipelineName": "p",
        "_RoleArn": "arn:aws:iam::000000000000:role/none",
        "_Definition": save_definition(store, text),
        "_Parameters": {"Rate": 2.5},
    }
    if limit is not None:
        record["ParallelismConfiguration"] = {"MaxParallelExecutionSteps": limit}
    store.create(EXECUTION, ARN, record)


@pytest.fixture
def executor(cloud: Cloud, store: Store) -> Iterator[PipelineExecutor]:
    executor = PipelineExecutor(cloud, store)
    yield executor
    executor.close()


def wait(store: Store) -> dict[str, Any]:
    return store.wait(
        EXECUTION, ARN, lambda record: record["PipelineExecutionStatus"] not in ("Executing", "Stopping"), 60
    )


def run(
    executor: PipelineExecutor, store: Store, *steps: dict[str, Any], limit: int | None = None
) -> dict[str, Any]:
    create_execution(store, *steps, limit=limit)
    executor.start(ARN)
    return wait(store)


def listed(store: Store) -> dict[str, dict[str, Any]]:
    return {record["StepName"]: record for record in store.query(STEP, prefix="abcdefghijkl/")}


def test_conditions_decide_and_unlisted_steps_never_ran(executor: PipelineExecutor, store: Store) -> None:
    record = run(
        executor,
        store,
        condition(
            "Gate", {"Get": "Parameters.Rate"}, 2.5, then=[condition("In", 1, 1)], otherwise=[fail("F", "x")]
        ),
        condition("After", {"Get": "Steps.Gate.Outcome"}, True, DependsOn=["In"]),
    )
    assert record["PipelineExecutionStatus"] == "Succeeded"
    assert "FailureReason" not in record
    steps = listed(store)
    assert list(steps) == ["Gate", "In", "After"]
    assert steps["After"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    assert steps["Gate"]["EndTime"] >= steps["Gate"]["StartTime"]


def test_a_fail_step_says_why_and_ends_the_execution(executor: PipelineExecutor, store: Store) -> None:
    message = {
        "Std:Join": {"On": " ", "Values": ["rate", {"Get": "Parameters.Rate"}, {"Get": "Steps.Gate.Outcome"}]}
    }
    record = run(
        executor,
        store,
        condition("Gate", 1, 2, otherwise=[fail("Stop", message, DisplayName="Too bad", Description="why")]),
    )
    assert record["PipelineExecutionStatus"] == "Failed"
    assert record["FailureReason"] == "Step failure: One or multiple steps failed."
    stop = listed(store)["Stop"]
    assert stop["StepStatus"] == "Failed"
    assert stop["FailureReason"] == "rate 2.5 false"
    assert stop["Metadata"] == {"Fail": {"ErrorMessage": "rate 2.5 false"}}
    assert (stop["StepDisplayName"], stop["StepDescription"]) == ("Too bad", "why")


def test_a_fail_step_without_message_has_no_reason(executor: PipelineExecutor, store: Store) -> None:
    run(executor, store, {"Name": "Stop", "Type": "Fail", "Arguments": {}})
    assert "FailureReason" not in listed(store)["Stop"]
    assert listed(store)["Stop"]["Metadata"] == {"Fail": {"ErrorMessage": ""}}


def test_after_a_fail_step_nothing_starts(executor: PipelineExecutor, store: Store) -> None:
    run(executor, store, fail("Stop", "now"), condition("Later", 1, 1), limit=1)
    assert list(listed(store)) == ["Stop"]


def test_a_failed_step_stops_what_depends_on_it_and_nothing_else(
    executor: PipelineExecutor, store: Store
) -> None:
    record = run(
        executor,
        store,
        condition("Broken", "text", 1),
        condition("Lost", {"Get": "Steps.Broken.Outcome"}, True),
        condition("Free", 1, 1),
        condition("Goes on", 1, 1) | {"Name": "GoesOn", "DependsOn": ["Free"]},
    )
    assert record["PipelineExecutionStatus"] == "Failed"
    steps = listed(store)
    assert set(steps) == {"Broken", "Free", "GoesOn"}
    assert "'Broken'" in steps["Broken"]["FailureReason"]
    assert "'text'" in steps["Broken"]["FailureReason"]
    assert steps["GoesOn"]["StepStatus"] == "Succeeded"


def test_a_role_that_cannot_be_assumed_fails_the_step(executor: PipelineExecutor, store: Store) -> None:
    arguments = {"ExecutionRoleArn": "r", "PrimaryContainer": {"Image": "i"}}
    run(executor, store, {"Name": "Model", "Type": "Model", "Arguments": arguments})
    reason = listed(store)["Model"]["FailureReason"]
    assert reason.startswith("ClientError: Failed to invoke sagemaker:CreateModel. Error Details: ")
    assert "role/none" in reason


def test_many_steps_in_parallel_each_run_once(executor: PipelineExecutor, store: Store) -> None:
    names = [f"s{n}" for n in range(60)]
    run(executor, store, *(condition(name, 1, 1) for name in names), limit=8)
    assert sorted(listed(store)) == sorted(names)


def test_a_stop_lets_nothing_more_start(executor: PipelineExecutor, store: Store) -> None:
    create_execution(
        store, condition("First", 1, 1), fail("Never", "x", DependsOn=["First"]), status="Stopping"
    )
    with store.transaction():  # the first step waits for the store until the stop has been given
        executor.start(ARN)
        executor.stop(ARN)
        for thread in threading.enumerate():
            if thread.name == "stop-abcdefghijkl":
                thread.join(60)
    assert wait(store)["PipelineExecutionStatus"] == "Stopped"
    assert {name: step["StepStatus"] for name, step in listed(store).items()} == {"First": "Succeeded"}


@pytest.mark.parametrize(("timed_out", "status"), [(True, "Failed"), (False, "Stopped")])
def test_a_time_limit_that_is_hit_while_stopping_fails_the_execution(
    executor: PipelineExecutor,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    timed_out: bool,
    status: str,
) -> None:
    started = threading.Event()

    def work(context: StepContext) -> StepResult:
        started.set()
        with pytest.raises(StepStopped):
            context.stop.pause(60)
        raise StepFailure("ClientError: too late", timed_out=timed_out)

    monkeypatch.setattr(step_run, "RUNNERS", {"Fail": work})
    create_execution(store, fail("Work", "x"))
    executor.start(ARN)
    assert started.wait(60)
    executor.stop(ARN)
    assert wait(store)["PipelineExecutionStatus"] == status


def test_a_stop_signal_runs_each_action_once_and_late_ones_at_once() -> None:
    signal, heard = StopSignal(), list[str]()
    signal.on_stop("early", lambda: heard.append("early"))
    signal.on_stop("gone", lambda: heard.append("gone"))
    signal.forget("gone")
    assert not signal.given
    signal.give()
    signal.on_stop("late", lambda: heard.append("late"))
    assert heard == ["early", "late"]
    with pytest.raises(StepStopped):
        signal.pause(60)


def test_what_a_dead_cloud_left_running_is_ended(cloud: Cloud, store: Store) -> None:
    create_execution(store, condition("Gate", 1, 1))
    store.create(STEP, "abcdefghijkl/Gate", {"StepName": "Gate", "StepStatus": "Executing", "StartTime": 1.0})
    PipelineExecutor(cloud, store).close()
    record = store.get(EXECUTION, ARN)
    assert record["PipelineExecutionStatus"] == "Failed"
    assert "local cloud was stopped" in record["FailureReason"]
    step = listed(store)["Gate"]
    assert step["StepStatus"] == "Failed"
    assert step["EndTime"] > 1.0


def test_what_was_being_stopped_then_is_stopped(cloud: Cloud, store: Store) -> None:
    create_execution(store, condition("Gate", 1, 1), status="Stopping")
    PipelineExecutor(cloud, store).close()
    record = store.get(EXECUTION, ARN)
    assert record["PipelineExecutionStatus"] == "Stopped"
    assert "FailureReason" not in record


def processing(name: str = "Prep") -> Step:
    return Step(name=name, type="Processing", arguments={}, cached=True)


def test_the_cache_key_counts_what_counts() -> None:
    base = {"AppSpecification": {"ImageUri": "i"}, "Environment": {"A": "1"}, "RoleArn": "r"}
    key = cache_key(PIPELINE_ARN, processing(), base)
    assert key == cache_key(
        PIPELINE_ARN, processing(), {**base, "RoleArn": "other", "ProcessingResources": {}}
    )
    others = [
        cache_key(PIPELINE_ARN, processing(), {**base, "Environment": {"A": "2"}}),
        cache_key(PIPELINE_ARN, processing(), {**base, "ProcessingInputs": []}),
        cache_key(PIPELINE_ARN, processing("Other"), base),
        cache_key(PIPELINE_ARN + "2", processing(), base),
    ]
    assert len({key, *others}) == 5
    assert cache_key(PIPELINE_ARN, Step(name="G", type="Condition", arguments={}), base) is None


def test_a_result_is_found_while_it_is_young(store: Store) -> None:
    first = CacheHit(execution_arn="e1", metadata={"ProcessingJob": {"Arn": "a"}}, properties={"X": 1})
    remember(store, "k", first, pipeline_arn=PIPELINE_ARN, now=1000.0)
    assert find_hit(store, "k", now=1060.0, max_age=60) == first
    assert find_hit(store, "k", now=1061.0, max_age=60) is None
    assert find_hit(store, "k", now=1e9, max_age=None) == first
    assert find_hit(store, "other", now=1000.0, max_age=None) is None


def test_the_newest_result_counts_and_goes_with_its_pipeline(store: Store) -> None:
    for number in (1, 2):
        made = CacheHit(execution_arn=f"e{number}", metadata={}, properties={})
        remember(store, "k", made, pipeline_arn=PIPELINE_ARN, now=float(number))
    found = find_hit(store, "k", now=2.0, max_age=0)
    assert found is not None
    assert found.execution_arn == "e2"
    forget_pipeline(store, PIPELINE_ARN + "2")
    assert find_hit(store, "k", now=2.0, max_age=None) is not None
    forget_pipeline(store, PIPELINE_ARN)
    assert find_hit(store, "k", now=2.0, max_age=None) is None
