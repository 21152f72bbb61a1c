"""Props refuse what AWS would refuse later, and say what to do."""

from __future__ import annotations

import dataclasses
import re

import pytest

from modelyard.functions import FunctionSize
from modelyard.inference import Concurrency, Release
from modelyard.pipeline import PipelineDefinition, StepCode
from modelyard.serving import DataCapture, Rollout, Scaling, ScheduledBounds, Variant
from modelyard.storage import Lifecycle, Retention


def _night(**members):
    known = {"name": "Night", "schedule": "cron(0 20 * * ? *)", "min_instances": 1, "max_instances": 2}
    return ScheduledBounds(**{**known, **members})


NIGHT = _night()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Retention(on_delete="destroy"), "also set data_may_be_deleted=True"),
        (lambda: Retention(on_delete="keep"), "'keep'; use 'retain' or 'destroy'"),
        (lambda: Lifecycle(noncurrent_days=0), "Lifecycle.noncurrent_days is 0"),
        (lambda: Lifecycle(expire_days={"pipelines/": 0}), "Lifecycle.expire_days['pipelines/'] is 0"),
        (lambda: Lifecycle(expire_days={"pipelines": 60}), "prefix 'pipelines' is not a folder"),
        (lambda: Variant(instance_type="m5.large"), "'m5.large' is not of the form ml.m5.large"),
        (lambda: Variant(initial_instances=0), "at least 1"),
        (lambda: Rollout(canary_percent=60), "canary_percent is 60; SageMaker takes 1 to 50"),
        (lambda: Rollout(bake_seconds=7200), "bake_seconds is 7200"),
        (lambda: Rollout(error_percent=0), "error_percent is 0; give more than 0"),
        (
            lambda: Variant(instance_type="ml.g5.xlarge", volume_gib=30),
            "volume_gib is 30, but ml.g5.xlarge has local storage of a fixed size",
        ),
        (lambda: Variant(volume_gib=0), "at least 1"),
        (lambda: Scaling(min_instances=0), "keeps at least 1"),
        (lambda: Scaling(min_instances=3, max_instances=2), "max_instances is 2, below min_instances 3"),
        (lambda: Scaling(invocations_per_minute=0), "invocations_per_minute is 0"),
        (lambda: Scaling(scale_in_seconds=-1), "must not be negative"),
        (lambda: Scaling(schedules=(NIGHT, NIGHT)), "names twice: Night, Night; give each its own"),
        (lambda: _night(schedule="0 20 * * *"), "'Night': '0 20 * * *' is no schedule; write cron("),
        (lambda: _night(timezone="+01:00"), "'+01:00' is no time zone such as Europe/Berlin"),
        (lambda: _night(min_instances=3), "3 to 2 instances"),
        (lambda: _night(name=" "), "name is empty"),
        (lambda: DataCapture(percent=0), "percent is 0; give 1 to 100, or no DataCapture"),
        (lambda: DataCapture(input=False, output=False), "neither input nor output"),
        (lambda: DataCapture(prefix="captures"), "prefix 'captures' is not a folder"),
        (lambda: DataCapture(csv_content_types=("text/csv; charset=utf-8",)), "without parameters"),
        (lambda: DataCapture(json_content_types=()), "give 1 to 10 content types"),
        (lambda: Concurrency(provisioned=101, reserved=100), "provisioned is 101, above reserved 100"),
        (lambda: Concurrency(reserved=0), "reserved is 0; give at least 1, or None"),
        (lambda: Release(strategy="Canary"), "strategy is 'Canary'; known: LambdaAllAtOnce, LambdaCanary10"),
        (lambda: Release(errors_per_minute=-1), "errors_per_minute is -1; give 0 or more"),
        (lambda: Release(faults_per_minute=-1), "faults_per_minute is -1; give 0 or more"),
        (lambda: Release(p99_milliseconds=0), "p99_milliseconds is 0; give at least 1"),
        (lambda: FunctionSize(timeout_seconds=901), "timeout_seconds is 901; Lambda takes 1 to 900"),
        (lambda: FunctionSize(memory_mib=64), "memory_mib is 64; Lambda takes 128 to 10240"),
    ],
)
def test_contradictions_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_deletion_takes_both_switches():
    assert Retention(on_delete="destroy", data_may_be_deleted=True).destroys
    assert not Retention(data_may_be_deleted=True).destroys
    assert not Retention().destroys


def test_provisioned_concurrency_alone_is_fine():
    assert Concurrency(provisioned=3).reserved is None


@pytest.mark.parametrize(
    "cls", [Retention, Lifecycle, Variant, Rollout, Scaling, DataCapture, Concurrency, Release, FunctionSize]
)
def test_props_are_frozen_and_have_defaults(cls):
    props = cls()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(props, dataclasses.fields(props)[0].name, None)
    with pytest.raises(TypeError):
        cls(1)


def test_a_definition_must_exist(tmp_path):
    with pytest.raises(ValueError, match=r"nightly\.json does not exist"):
        PipelineDefinition(path=tmp_path / "nightly.json")


def test_step_code_must_exist(tmp_path):
    with pytest.raises(ValueError, match="has no files"):
        StepCode(root=tmp_path, files=())
    with pytest.raises(ValueError, match=r"step\.py does not exist"):
        StepCode(root=tmp_path, files=("step.py",))
