"""Models of jobs that finished, as versions in the registry: what is asked for, once each, and by whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from training_runtime.attempt import Attempt, Step
from training_runtime.attempts import Cause
from training_runtime.aws_registry import SageMakerRegistry
from training_runtime.errors import RefusedError, RequestError
from training_runtime.job import State, cancel
from training_runtime.ports import Model, Outcome, Report
from training_runtime.registering import package
from training_runtime.steps import finish, perform

from tests.unit.training_jobs_world import World

BEST = Model(
    name="best", archive="model.tar.gz", metrics="evaluation.json", figures={"top1": "0.9700", "odd": "a|b"}
)
LAST = Model(name="last", archive="last/model.tar.gz", metrics="last/evaluation.json", figures={})


class Packages:
    """A registry that gives one version for each token."""

    def __init__(self) -> None:
        self.made: dict[str, Mapping[str, Any]] = {}
        self.asked = 0
        self.error: Exception | None = None

    def register(self, package: Mapping[str, Any]) -> str:
        self.asked += 1
        if self.error:
            raise self.error
        self.made.setdefault(package["ClientToken"], package)
        return f"dogs/{list(self.made).index(package['ClientToken']) + 1}"


def finished_world(**members: Any) -> tuple[World, Packages]:
    """A job whose trainer has just said that it finished."""
    world = World(model_groups=("cats", "dogs"), serving_image="registry/serving:1")
    packages = Packages()
    world.ports = replace(world.ports, registry=packages)
    world.submit(**members)
    world.until("running")
    world.jobs.reports["dogs-1"] = Report(attempt=1, step=90, outcome=Outcome.FINISHED, models=(LAST, BEST))
    return world, packages


def to_the_end(world: World, *, repeated: bool = False) -> list[Step]:
    steps = []
    while world.machines.inputs:
        (execution,) = world.machines.inputs
        steps.append(Step(world.machines.inputs[execution]["next"]))
        world.step(execution, repeated=repeated)
    return steps


@pytest.mark.parametrize("repeated", [False, True])
def test_the_best_and_the_last_are_registered_once(repeated: bool) -> None:
    world, packages = finished_world(model_group="dogs")
    assert to_the_end(world, repeated=repeated)[-2:] == [Step.FINISH, Step.REGISTER]
    assert world.job().state is State.COMPLETED
    assert world.job().models == ("dogs/1", "dogs/2")
    assert world.slots.read().free == 4
    last, best = packages.made.values()
    assert best["ModelPackageGroupName"] == "dogs"
    assert best["ModelApprovalStatus"] == "PendingManualApproval"
    (container,) = best["InferenceSpecification"]["Containers"]
    assert container == {
        "Image": "registry/serving:1",
        "ModelDataUrl": "s3://bucket/training/dogs-1/output/model.tar.gz",
    }
    (served,) = last["InferenceSpecification"]["Containers"]
    assert served["ModelDataUrl"] == "s3://bucket/training/dogs-1/output/last/model.tar.gz"
    metrics = best["ModelMetrics"]["ModelQuality"]["Statistics"]
    assert metrics["S3Uri"] == "s3://bucket/training/dogs-1/output/evaluation.json"
    told = best["CustomerMetadataProperties"]
    assert {name: told[name] for name in ("job", "model", "top1", "odd")} == {
        "job": "dogs-1/1",
        "model": "best",
        "top1": "0.9700",
        "odd": "a_b",
    }


def test_a_job_that_names_no_group_registers_nothing() -> None:
    world, packages = finished_world()
    assert Step.REGISTER not in to_the_end(world)
    assert (world.job().models, packages.asked) == ((), 0)


def test_only_groups_of_the_cluster_can_be_named() -> None:
    world = World(model_groups=("cats",), serving_image="x")
    with pytest.raises(RequestError, match="model_group is dogs; this cluster registers models in: cats"):
        world.submit(model_group="dogs")
    with pytest.raises(RequestError, match="registers models in: none"):
        World().submit(model_group="dogs")
    with pytest.raises(RequestError, match="it must be the name of a model package group"):
        world.submit(model_group="-")


def test_a_job_that_failed_registers_nothing() -> None:
    world, packages = finished_world(model_group="dogs")
    world.send({"cancel": "dogs-1"})
    world.jobs.reports.clear()
    to_the_end(world)
    assert world.job().state is State.CANCELLED
    assert packages.asked == 0


def test_a_job_that_is_cancelled_too_late_is_registered() -> None:
    """Its last step was trained before the order to stop arrived."""
    world, packages = finished_world(model_group="dogs")
    world.jobs.change("dogs-1", lambda job: cancel(job, world.now))
    at = Attempt(job="dogs-1", number=1).ending(Cause.FINISHED, "finished")
    assert finish(at, world.ports, world.settings).next is Step.REGISTER
    assert world.job().state is State.COMPLETED
    assert packages.asked == 0


@pytest.mark.parametrize("path", ["../x/model.tar.gz", "/model.tar.gz", "a/../../model.tar.gz", "model", ""])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    """The trainer's role may write its report: what it says is not believed further than its own folder."""
    world, _ = finished_world(model_group="dogs")
    for model in (replace(BEST, archive=path), replace(BEST, metrics=path)):
        with pytest.raises(RefusedError, match="is no path of a file below its output"):
            package(world.job(), model, world.settings)


def test_a_refusal_does_not_undo_the_job() -> None:
    world, packages = finished_world(model_group="dogs")
    packages.error = RefusedError("the model cannot be registered: AccessDenied")
    with pytest.raises(RefusedError):
        to_the_end(world)
    assert (world.job().state, world.job().models) == (State.COMPLETED, ())
    packages.error = None
    again = perform(
        Step.REGISTER, Attempt(job="dogs-1", number=1, next=Step.REGISTER), world.ports, world.settings
    )
    assert again.next is Step.OVER
    assert world.job().models == ("dogs/1", "dogs/2")


class Client:
    def __init__(self, error: str = "") -> None:
        self.error = error

    def create_model_package(self, **package: Any) -> dict[str, str]:
        if self.error:
            answer = {"Error": {"Code": self.error, "Message": "no"}}
            raise ClientError(answer, "CreateModelPackage")  # type: ignore[arg-type]
        return {"ModelPackageArn": f"arn/{package['ModelPackageGroupName']}"}


def test_what_sagemaker_refuses_for_good_is_told_from_what_may_pass() -> None:
    assert SageMakerRegistry(Client()).register({"ModelPackageGroupName": "dogs"}) == "arn/dogs"
    for refusal in ("AccessDeniedException", "ValidationException"):
        with pytest.raises(RefusedError, match="the model cannot be registered"):
            SageMakerRegistry(Client(refusal)).register({})
    with pytest.raises(ClientError):
        SageMakerRegistry(Client("ThrottlingException")).register({})
