"""One deployment for all chapters of the loop; they run in the order of their files' names."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest

from localcloud import lifecycle
from localcloud.connect import client_environment, connect
from modelyard_cli.demo import phases
from tests.local.loop.grants import Names, live_grants
from tests.local.loop.story import Story


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("loop")
    state = folder / "state"
    lifecycle.up(state)
    try:
        environment = client_environment(*connect(state))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(phases, "BUILD", folder)
            patch.setattr(phases, "ASSEMBLY", folder / "cdk.out")
            data = phases.prepare_data()
            phases.synthesize()
            phases.bootstrap(environment, print)
            outputs = phases.deploy(environment, print)
            administrator = boto3.Session()
            _be_refused_at_once(administrator)
            names = Names(administrator)
            story = Story(
                environment=environment,
                outputs=outputs,
                administrator=administrator,
                scientist=phases.acting_as("DataScientist", environment, outputs),
                approver=phases.acting_as("ModelApprover", environment, outputs),
                data=data,
                folder=folder,
                names=names,
                grants=live_grants(administrator, names),
            )
        yield story
    finally:
        lifecycle.down(state)


def _be_refused_at_once(session: boto3.Session) -> None:
    """The function behind pipelines repeats what is denied, since permissions take a while on AWS."""
    functions = session.client("lambda")
    for page in functions.get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            variables = function.get("Environment", {}).get("Variables", {})
            if "DENIED_SECONDS" in variables:
                functions.update_function_configuration(
                    FunctionName=function["FunctionName"],
                    Environment={"Variables": variables | {"DENIED_SECONDS": "0"}},
                )


@pytest.fixture(autouse=True)
def _surroundings(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the demo's code takes from its process, only while a chapter runs."""
    for name, value in story.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(phases, "BUILD", story.folder)
    monkeypatch.setattr(phases, "ASSEMBLY", story.folder / "cdk.out")
