"""The environments as data: complete, frozen, and chosen by name only."""

from __future__ import annotations

import dataclasses
import json

import pytest

from stacks.environments import EnvironmentSelectionError, Placement, choose, environments


def test_the_stages_in_order_of_promotion():
    assert list(environments()) == ["local", "local-training", "dev", "staging", "prod"]
    assert all(stage.name == name for name, stage in environments().items())


def test_environments_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        environments()["prod"].name = "test"


def test_cdks_own_context_is_not_ours_to_judge():
    context = {
        "@aws-cdk/core:checkSecretUsage": True,
        "@aws-cdk-containers/ecs-service-extensions:enableDefaultLogDriver": True,
        "aws:cdk:enable-path-metadata": True,
        "aws-cdk:enableDiffNoFail": True,
        # Written by `cdk acknowledge`, `cdk cli-telemetry`, `cdk migrate`.
        "acknowledged-issue-numbers": [1],
        "cli-telemetry": False,
        "cdk-migrate": True,
        # Look-ups cached in cdk.context.json.
        "availability-zones:account=111122223333:region=eu-west-1": ["eu-west-1a"],
        "vpc-provider:account=111122223333:filter.isDefault=true:region=eu-west-1": {},
    }
    assert choose(context | {"env": "dev"}).name == "dev"


@pytest.mark.parametrize("context", [{}, {"env": ""}, {"env": None}])
def test_there_is_no_default(context):
    with pytest.raises(EnvironmentSelectionError, match="one of: local, local-training, dev, staging, prod"):
        choose(context)


@pytest.mark.parametrize("name", ["Prod", "prod ", "test", 1])
def test_unknown_names_list_the_known_ones(name):
    with pytest.raises(EnvironmentSelectionError, match="known: local, local-training, dev, staging, prod"):
        choose({"env": name})


def test_unknown_keys_list_the_known_ones():
    with pytest.raises(EnvironmentSelectionError, match="unknown context key acount, regoin; known: env"):
        choose({"env": "dev", "regoin": "eu-west-1", "acount": "1"})


@pytest.mark.parametrize("key", ["modelyard:x", "env:name", "cli-telemetry2", "vpc", "@modelyard/x"])
def test_a_colon_makes_no_key_cdks(key):
    with pytest.raises(EnvironmentSelectionError, match=f"unknown context key {key}; known: env"):
        choose({"env": "dev", key: "1"})


def test_a_pinned_account_is_what_the_cdk_cli_insists_on(new_app):
    from app import compose

    prod = environments()["prod"]
    placement = dataclasses.replace(prod.placement, account="111122223333", region="eu-west-1")
    app = new_app()
    compose(app, dataclasses.replace(prod, placement=placement))
    stacks = app.synth().stacks
    assert {stack.environment.name for stack in stacks} == {"aws://111122223333/eu-west-1"}


def test_a_region_alone_is_refused():
    with pytest.raises(ValueError, match="set account with it"):
        Placement(region="eu-west-1")


def test_the_local_stage_fits_no_account_of_aws(assembly):
    manifest = json.loads((assembly.folder / "manifest.json").read_text())
    places = {
        artifact["environment"]
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    }
    account = "000000000000" if assembly.environment == "local" else "unknown-account"
    assert places == {f"aws://{account}/unknown-region"}


def test_no_two_stages_share_a_name():
    prefixes = [stage.placement.name_prefix for stage in environments().values()]
    assert len(set(prefixes)) == len(prefixes)
