"""What the demo of training takes for the job's best model."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard_cli.demo.training import best_of
from modelyard_cli.train.jobs import Job


class Registry:
    """SageMaker, where a version's ARN says which model of its job it is."""

    def describe_model_package(self, *, ModelPackageName: str) -> dict[str, Any]:
        name = ModelPackageName.rpartition("/")[2]
        return {"ModelPackageArn": ModelPackageName, "CustomerMetadataProperties": {"model": name}}


def job(*models: str) -> Job:
    made = Job.__new__(Job)
    object.__setattr__(made, "document", {"models": [f"arn:group/{name}" for name in models]})
    return made


@pytest.mark.parametrize(
    ("registered", "found"),
    [
        ((), None),
        # The best is registered after the last, if that is another.
        (("last",), None),
        (("last", "best"), "arn:group/best"),
        # Where the last epoch was the best there is one version, and no other to wait for.
        (("best",), "arn:group/best"),
    ],
)
def test_the_best_is_waited_for_and_nothing_else(registered: tuple[str, ...], found: str | None) -> None:
    package = best_of(Registry(), job(*registered))
    assert (package and package["ModelPackageArn"]) == found
