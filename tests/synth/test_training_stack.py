"""The stack of an environment that trains on hosts of its own."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import aws_cdk as cdk
import pytest
from cdk_nag import AwsSolutionsChecks
from syrupy.extensions.json import JSONSnapshotExtension

from modelyard.training import Collection, InstanceSize, Pool, TrainerSize
from modelyard_cli.check.run import check
from stacks.alarm_topic import AlarmTopic
from stacks.data_stack import DataStack
from stacks.environments import environments
from stacks.stage_stack import StageStack
from stacks.training_settings import PreparedDataset, TrainingSettings
from stacks.training_stack import TrainingStack

_HASH = re.compile(r"[0-9a-f]{64}")
SETTINGS = {
    # Everything that the section can ask for.
    "prod": TrainingSettings(
        datasets=(PreparedDataset(name="dogs"), PreparedDataset(name="cats", image_size=160)),
        collection=Collection(),
        instance=InstanceSize(max_hours=6),
    ),
    # As little as it can.
    "dev": TrainingSettings(
        pools=(Pool(name="cpu", market="spot", instance_types=("c7i.xlarge",), max_hosts=2),),
        size=TrainerSize(gpus=0, memory_mib=6144, shared_memory_mib=1024),
        insights="disabled",
    ),
}


@pytest.fixture(scope="module", params=SETTINGS)
def built(request, tmp_path_factory):
    """The stack's name of its stage, and the folder where it is synthesized, with cdk-nag."""
    stage = request.param
    folder = tmp_path_factory.mktemp(f"training-{stage}")
    context = json.loads((Path(__file__).parents[2] / "cdk.json").read_text())["context"]
    app = cdk.App(context=context, outdir=str(folder), builtin_cloud_formation_validation=False)
    environment = replace(environments()[stage], training=SETTINGS[stage])
    data = DataStack(app, "Data", environment=environment).data
    alarms = StageStack(app, "Alarms", environment=environment, description="alarms")
    topic = AlarmTopic(alarms, "Topic", environment=environment)
    TrainingStack(app, "Training", environment=environment, data=data, alarm_topic=topic)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    return stage, folder


def _template(built):
    stage, folder = built
    return json.loads((folder / "Training.template.json").read_text()), f"modelyard-{stage}-training"


def test_who_asks_for_it_has_one(synthesize):
    """Without one a stage is quick to synthesize and to deploy; `local-training` is `local` but for it."""
    assert [name for name, stage in environments().items() if stage.training is None] == [
        "local",
        "staging",
        "prod",
    ]
    local, trains = environments()["local"], environments()["local-training"]
    same = replace(trains, name=local.name, placement=local.placement, training=None)
    assert same == local
    manifest = json.loads((synthesize("local-training").folder / "manifest.json").read_text())
    assert "Training" in manifest["artifacts"]
    manifest = json.loads((synthesize("local").folder / "manifest.json").read_text())
    assert "Training" not in manifest["artifacts"]


def test_nothing_waits_where_nothing_runs():
    """Jobs of each stage fit its hosts, and a stage that is left alone has none of them."""
    for stage in environments().values():
        if stage.training:
            assert len({pool.max_hosts for pool in stage.training.pools}) == 1
            assert [pool.market for pool in stage.training.pools][-1] == "on-demand"
            assert stage.training.pools[0].market == "spot"
            assert stage.training.host_price_usd > 0


def test_a_stage_without_the_section_has_no_such_stack(new_app):
    app, environment = new_app(), environments()["local"]
    data = DataStack(app, "Data", environment=environment).data
    with pytest.raises(ValueError, match="environment local has no section training"):
        TrainingStack(app, "Training", environment=environment, data=data)


def test_the_rendezvous_is_not_replaced_with_the_trainer(built):
    """All jobs would start again with each change of the trainer: its image is another one."""
    template, _ = _template(built)
    images = {
        container["Name"]: json.dumps(container["Image"])
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::ECS::TaskDefinition"
        for container in resource["Properties"]["ContainerDefinitions"]
    }
    assert images["rendezvous"] not in {image for name, image in images.items() if name != "rendezvous"}


def test_cdk_nag_has_nothing_to_say(built):
    _, folder = built
    report = json.loads((folder / "validation-report.json").read_text())
    assert [violation for plugin in report["pluginReports"] for violation in plugin["violations"]] == []


def test_modelyard_check_finds_nothing(built):
    """But for what is accepted: two rules without dead letters, and that Container Insights is off."""
    stage, folder = built
    report = check([folder], cfn_lint=True)
    assert (report.findings, report.advice) == ((), ())
    assert report.acknowledged == (2 if stage == "prod" else 3)


def test_the_on_call_page_has_each_alarm_and_no_other(built):
    """Those that scale workers call nobody."""
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    rows = page.partition("| Training's alarm |")[2].partition("\n\n")[0].splitlines()[2:]
    patterns = [row.split("`")[1].replace("...", "*") for row in rows]
    template, _ = _template(built)
    alarms = {
        name[:-8]: alarm["Properties"]
        for name, alarm in template["Resources"].items()
        if alarm["Type"] == "AWS::CloudWatch::Alarm" and "Scaling" not in name
    }
    assert all(any(fnmatchcase(name, pattern) for pattern in patterns) for name in alarms)
    named = [pattern for pattern in patterns if not pattern.startswith("Dataset") or built[0] == "prod"]
    assert all(any(fnmatchcase(name, pattern) for name in alarms) for pattern in named)
    assert all(alarm["AlarmActions"] and alarm["OKActions"] for alarm in alarms.values())


def test_what_jobs_prune_is_soon_gone(built):
    _, folder = built
    resources = json.loads((folder / "Data.template.json").read_text())["Resources"].values()
    buckets = [one["Properties"] for one in resources if one["Type"] == "AWS::S3::Bucket"]
    rules = [rule for bucket in buckets for rule in bucket["LifecycleConfiguration"]["Rules"]]
    (rule,) = (rule for rule in rules if rule.get("Prefix") == "training-jobs/")
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    # Models of jobs lie there too: what is not deleted stays.
    assert "ExpirationInDays" not in rule


def test_template(built, snapshot):
    template, _ = _template(built)
    text = _HASH.sub("HASH", json.dumps(template))
    assert json.loads(text) == snapshot(extension_class=JSONSnapshotExtension)


def test_acknowledgements(built, snapshot):
    """Every rule that is not kept, where, and why."""
    _, folder = built
    metadata = json.loads((folder / "Training.metadata.json").read_text())
    lines = {
        f"{where}: {rule}: {reason}"
        for where, entries in metadata.items()
        for entry in entries
        if entry["type"] == "aws:cdk:acknowledged-rules"
        for rule, reason in entry["data"].items()
    }
    assert lines
    assert sorted(lines) == snapshot


def test_roles_end_at_what_they_are_for(built):
    template, _ = _template(built)
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        assert "ManagedPolicyArns" not in properties
        if resource["Type"] != "AWS::IAM::Policy":
            continue
        for statement in properties["PolicyDocument"]["Statement"]:
            assert "*" not in json.dumps(statement["Action"])
            if "iam:PassRole" in json.dumps(statement["Action"]):
                service = statement["Condition"]["StringEquals"]["iam:PassedToService"]
                assert service in ("ec2.amazonaws.com", "ecs-tasks.amazonaws.com")


def test_what_holds_no_data_goes_with_the_stack(built):
    template, _ = _template(built)
    kept = {
        resource["Type"]
        for resource in template["Resources"].values()
        if resource.get("DeletionPolicy", "Delete") != "Delete"
    }
    stage, _ = built
    assert kept == ({"AWS::DynamoDB::Table", "AWS::KMS::Key"} if stage == "prod" else set())


def test_services_on_providers_wait_for_them(built):
    template, _ = _template(built)
    resources = template["Resources"]
    (providers,) = [
        name
        for name, one in resources.items()
        if one["Type"] == "AWS::ECS::ClusterCapacityProviderAssociations"
    ]
    waiting = [
        one
        for one in resources.values()
        if one["Type"] == "AWS::ECS::Service" and "CapacityProviderStrategy" in one["Properties"]
    ]
    assert len(waiting) == (2 if built[0] == "prod" else 0)
    assert all(providers in one["DependsOn"] for one in waiting)


def test_ssm_has_endpoints_where_a_host_needs_them(built):
    template, _ = _template(built)
    services = json.dumps(
        [
            one["Properties"]["ServiceName"]
            for one in template["Resources"].values()
            if one["Type"] == "AWS::EC2::VPCEndpoint"
        ]
    )
    assert ("ssmmessages" in services) == (built[0] == "prod")


def test_what_a_person_needs_is_told(built):
    template, _ = _template(built)
    told = set(template["Outputs"])
    always = {
        "JobsQueueUrl",
        "JobsTableName",
        "ClusterName",
        "TrainerLogGroup",
        "TrainerTaskDefinition",
        "TrainerSecurityGroup",
        "TrainingSubnets",
        "CapacityProviders",
    }
    more = {"Queue0Url", "Queue1Url", "LedgerTableName", "InstanceDriverArn", "InstanceLogGroup"}
    assert told == (always | more if built[0] == "prod" else always)


def test_a_dataset_twice_is_refused():
    with pytest.raises(ValueError, match="have a name twice: dogs, dogs"):
        TrainingSettings(datasets=(PreparedDataset(name="dogs"), PreparedDataset(name="dogs")))
