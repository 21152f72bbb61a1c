"""The section with GPUs that the docs show: it is a stage that deploys."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import aws_cdk as cdk
import pytest

from app import compose
from modelyard_cli.check.run import check
from stacks.environments import environments
from stacks.training_settings import TrainingSettings

REPO = Path(__file__).parents[2]
PAGE = REPO / "docs" / "training.md"


@pytest.fixture(scope="module")
def section() -> TrainingSettings:
    """As the page has it."""
    text = PAGE.read_text(encoding="utf-8").partition("\n## A stage with GPUs\n")[2].partition("\n## ")[0]
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(snippet, str(PAGE), "exec"), names)
    found = names["training"]
    assert isinstance(found, TrainingSettings)
    return found


@pytest.fixture(scope="module")
def folder(section, tmp_path_factory) -> Path:
    """Stage prod with it, synthesized as `cdk synth` does, with cdk-nag."""
    folder = tmp_path_factory.mktemp("gpu")
    context = json.loads((REPO / "cdk.json").read_text())["context"]
    app = cdk.App(context=context, outdir=str(folder), builtin_cloud_formation_validation=False)
    compose(app, replace(environments()["prod"], training=section))
    app.synth()
    return folder


def test_it_is_found_in_order(folder):
    report = json.loads((folder / "validation-report.json").read_text())
    assert [violation for plugin in report["pluginReports"] for violation in plugin["violations"]] == []
    found = check([folder], cfn_lint=True)
    assert (found.findings, found.advice) == ((), ())


def test_hosts_have_gpus_and_trainers_get_them(section, folder):
    (path,) = folder.rglob("*Training.template.json")
    resources = list(json.loads(path.read_text())["Resources"].values())

    def of(kind):
        return [one["Properties"] for one in resources if one["Type"] == kind]

    launched = [one["LaunchTemplateData"] for one in of("AWS::EC2::LaunchTemplate")]
    assert launched
    assert all("/gpu/" in one["ImageId"] for one in launched)
    groups = of("AWS::AutoScaling::AutoScalingGroup")
    types = {
        override["InstanceType"]
        for group in groups
        for override in group["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
    }
    assert types == {kind for pool in section.pools for kind in pool.instance_types}
    assert {kind.partition(".")[0] for kind in types} == {"g5", "g6"}
    gpus = [
        need
        for task in of("AWS::ECS::TaskDefinition")
        for container in task["ContainerDefinitions"]
        for need in container.get("ResourceRequirements", [])
    ]
    assert gpus == [{"Type": "GPU", "Value": "1"}]


def test_its_price_bounds_every_host(section):
    """What the page's table says of the dearest type."""
    rows = re.findall(r"^\| `([a-z0-9.]+)` \| [^|]* \| ([0-9.]+) \|", PAGE.read_text(), re.MULTILINE)
    prices = {kind: float(price) for kind, price in rows}
    used = {kind for pool in section.pools for kind in pool.instance_types}
    assert set(prices) == used
    assert section.host_price_usd == max(prices.values())
