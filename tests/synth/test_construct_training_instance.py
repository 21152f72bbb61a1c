"""One job on one host that ends, whatever happens."""

from __future__ import annotations

import base64
import importlib
import json
import os
import re
import shutil
import subprocess

import pytest

from modelyard.training import (
    InstanceSize,
    NetworkLayout,
    TrainingData,
    TrainingInstance,
    TrainingNetwork,
    instance_driver,
)
from modelyard.training.instance_document import PARAMETERS, document, fixed_values
from modelyard.training.props import ENDPOINTS, SSM_ENDPOINTS
from modelyard.training.runtime.aws_hosts import NO_RENDEZVOUS
from tests.synth.training_support import Built, flat

JOB = {
    "Job": "dogs-1",
    "Attempt": "1",
    "Dataset": "s3://bucket/datasets/dogs/manifests/1.json",
    "Checkpoints": "s3://bucket/checkpoints/dogs-1/",
    "Output": "s3://bucket/trained/dogs-1/",
    "Hyperparameters": base64.b64encode(b'{"epochs": 2, "note": "a $(b) \\"c\\" d"}').decode(),
    "Variables": base64.b64encode(b"JOB_TABLE=jobs\nPAID_NODE_SECONDS=60\n").decode(),
}


@pytest.fixture
def make(stack, image, data):
    network = TrainingNetwork(stack, "Network", layout=NetworkLayout(endpoints=(*ENDPOINTS, *SSM_ENDPOINTS)))

    def run(**settings):
        return TrainingInstance(
            stack, "Instance", network=network, image=image, data=TrainingData(bucket=data), **settings
        )

    return run


def _states(built):
    """The state machine's definition, as it reads once it is deployed."""
    return json.loads(flat(built.one("StepFunctions::StateMachine")["DefinitionString"]))["States"]


def test_a_shutdown_ends_the_host(stack, make):
    make(size=InstanceSize(max_hours=3))
    template = Built(stack).one("EC2::LaunchTemplate")["LaunchTemplateData"]
    assert template["InstanceInitiatedShutdownBehavior"] == "terminate"
    # Later than the state machine, which is to end it first.
    assert flat(template["UserData"]).splitlines()[:2] == ["#!/bin/bash", "shutdown -h +210"]


def test_the_host_is_closed_and_encrypted(stack, make):
    make()
    built = Built(stack)
    template = built.one("EC2::LaunchTemplate")["LaunchTemplateData"]
    (interface,) = template["NetworkInterfaces"]
    assert interface["AssociatePublicIpAddress"] is False
    assert "SecurityGroupIds" not in template, "EC2 refuses both"
    assert template["MetadataOptions"]["HttpTokens"] == "required"
    assert template["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    assert "KeyName" not in template
    assert "SecurityGroupIngress" not in built.one("EC2::SecurityGroup", "InstanceGroup")


@pytest.mark.parametrize("spot", [True, False])
def test_spot_or_not(stack, make, spot):
    make(size=InstanceSize(spot=spot))
    built = Built(stack)
    template = built.one("EC2::LaunchTemplate")["LaunchTemplateData"]
    assert template.get("InstanceMarketOptions", {}).get("MarketType") == ("spot" if spot else None)
    asked = [flat(resources) for _, resources, _ in built.rights("DriverRole")]
    assert any("spot-instances-request" in resources for resources in asked) == spot


def test_from_its_start_on_every_way_ends_the_host(stack, make):
    """No state after the start may fail, or end the execution, but through the one that ends the host."""
    make()
    states = _states(Built(stack))
    after, waiting = set(), [states["Start"]["Next"]]
    while waiting:
        name = waiting.pop()
        if name == "End" or name in after:
            continue
        after.add(name)
        state = states[name]
        assert "End" not in state
        assert state["Type"] not in ("Fail", "Succeed")
        if state["Type"] == "Task":
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
            assert {caught["Next"] for caught in state["Catch"]} == {"End"}
        following = [choice["Next"] for choice in state.get("Choices", [])]
        waiting += [*following, *([state["Next"]] if "Next" in state else [state["Default"]])]
    assert after == {"Send", "Pause", "Look", "LookAtHost", "Count", "GoesOn"}
    assert states["End"]["Resource"].endswith(":ec2:terminateInstances")


@pytest.mark.parametrize("hours", [1, 12, 47])
def test_the_time_is_a_bound_and_a_history_holds_it(stack, make, hours):
    make(size=InstanceSize(max_hours=hours))
    built = Built(stack)
    states = _states(built)
    bound = next(
        part["NumericLessThan"] for part in states["GoesOn"]["Choices"][0]["And"] if "NumericLessThan" in part
    )
    assert bound <= 1200, "an execution ends at 25,000 events"
    assert 0.95 * hours * 3600 <= bound * states["Pause"]["Seconds"] <= hours * 3600
    step = built.one("SSM::Document")["Content"]["mainSteps"][0]
    assert step["inputs"]["timeoutSeconds"] == str(hours * 3600)


def test_what_is_no_failure_on_the_cluster_is_none_on_a_single_host(stack, make):
    make()
    choices = _states(Built(stack))["Verdict"]["Choices"]
    (lost,) = ({one["NumericEquals"] for one in each["Or"]} for each in choices if each["Next"] == "Lost")
    assert lost == {143, NO_RENDEZVOUS}


def test_a_command_that_is_refused_for_good_is_no_lost_host(stack, make):
    make()
    states = _states(Built(stack))
    choices = states["Verdict"]["Choices"]
    by_path = {one["Variable"]: one["Next"] for one in choices if "IsPresent" in one}
    told = {path: (states[name]["Error"], states[name]["CausePath"]) for path, name in by_path.items()}
    assert told == {
        "$.refusal": ("CommandRefused", "$.refusal.Cause"),
        "$.error": ("HostEnded", "$.error.Cause"),
    }


def test_windows_has_no_names_for_exit_codes(monkeypatch):
    monkeypatch.delattr(os, "EX_TEMPFAIL", raising=False)
    importlib.reload(instance_driver)


def test_the_driver_may_start_and_end_its_own_hosts_only(stack, make):
    make()
    built = Built(stack)
    (started,) = [
        statement["Condition"]
        for actions, resources, statement in built.rights("DriverRole")
        if "ec2:RunInstances" in actions and "spot-instances-request" not in flat(resources[0])
    ]
    assert "InstanceTemplate" in flat(started["ArnLike"]["ec2:LaunchTemplate"])
    assert started["Bool"] == {"ec2:IsLaunchTemplateResource": "true"}
    tags = built.one("EC2::LaunchTemplate")["LaunchTemplateData"]["TagSpecifications"]
    mark = next(tag for tag in tags[0]["Tags"] if tag["Key"] == "modelyard:training-instance")
    assert tags[0]["ResourceType"] == "instance"
    for action, key in (
        ("ec2:TerminateInstances", "aws:ResourceTag/modelyard:training-instance"),
        ("ssm:SendCommand", "ssm:resourceTag/modelyard:training-instance"),
    ):
        conditions = [
            statement.get("Condition")
            for actions, resources, statement in built.rights("DriverRole")
            if action in actions and "instance/*" in flat(resources[0])
        ]
        assert conditions == [{"StringEquals": {key: mark["Value"]}}]
    passing = built.right("DriverRole", "iam:PassRole")
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    assert "HostRole" in flat(passing["Resource"])


def test_the_host_may_do_what_the_trainer_does(stack, make):
    make()
    built = Built(stack)
    assert {action for action in built.actions("HostRole") if action.startswith(("s3:", "ec2:", "iam:"))} == {
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
    }


def test_who_may_start_jobs(stack, make, role):
    make().grant_start(role)
    name = stack.resolve(role.role_name)["Ref"]
    assert Built(stack).actions(name) == {
        "states:DescribeExecution",
        "states:GetExecutionHistory",
        "states:ListExecutions",
        "states:StartExecution",
        "states:StopExecution",
    }


def test_who_may_read_its_log(stack, make, role):
    make().grant_read_log(role)
    (granted,) = Built(stack).rights(stack.resolve(role.role_name)["Ref"])
    assert granted[0] == ["logs:GetLogEvents"]
    assert "InstanceLogs" in flat(granted[1][0])


def _document():
    return document(
        fixed=fixed_values(
            image="registry/models:1",
            registry="registry",
            region="eu-west-1",
            log_group="group",
            gpu=True,
            processes=1,
            shared_memory=64,
        ),
        limit_seconds=60,
    )


def test_what_is_sent_is_what_the_document_takes(stack, make):
    make()
    built = Built(stack)
    sent = _states(built)["Send"]["Parameters"]["Parameters"]
    assert tuple(name.removesuffix(".$") for name in sent) == PARAMETERS
    content = built.one("SSM::Document")["Content"]
    assert tuple(content["parameters"]) == PARAMETERS
    script = "\n".join(flat(line) for line in content["mainSteps"][0]["inputs"]["runCommand"])
    assert set(re.findall(r"\{\{ ?(\w+) ?\}\}", script)) == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize(
    "text",
    ["$(reboot)", "a;b", "a b", "`a`", "'", '"', "a\nb", "", "s3://bucket/a;b", "s3://bucket/a(b)", "../x|y"],
)
def test_nothing_but_its_own_alphabet_gets_into_the_script(name, text):
    pattern = _document()["parameters"][name]["allowedPattern"]
    assert re.fullmatch(pattern, JOB[name])
    assert not re.fullmatch(pattern, text)


@pytest.mark.parametrize(
    ("status", "interrupted"), [(0, False), (7, False), (0, True), (143, True), (137, True)]
)
def test_the_script_runs_the_job_and_then_ends_the_host(tmp_path, status, interrupted):
    """Under bash, with programs that note how they were called."""
    script = "\n".join(_document()["mainSteps"][0]["inputs"]["runCommand"])
    for name, value in JOB.items():
        script = script.replace(f"{{{{{name}}}}}", value)
    tools, calls = tmp_path / "bin", tmp_path / "calls"
    tools.mkdir()
    note = f'printf "%s\\n" "$(basename "$0") $*" >> {calls}\n'
    stopped, rounds = tmp_path / "stopped", 90 if interrupted else 2
    fakes = {
        "aws": "",
        "shutdown": "",
        "sleep": "exec /bin/sleep 0.05\n",
        # Of the metadata service: the notice is there, or is not.
        "curl": f'case "$*" in *instance-action*) exit {0 if interrupted else 22};; esac\n',
        "docker": (
            f'case "$*" in\n  stop*) touch {stopped};;\n  *"--name trainer"*)\n'
            f'    for i in $(seq 100); do [ -e {stopped} ] && break; [ "$i" -gt {rounds} ] && '
            f"break; /bin/sleep 0.05; done\n    exit {status};;\nesac\n"
        ),
    }
    for name, body in fakes.items():
        (tools / name).write_text(f"#!/bin/bash\n{'' if name in ('sleep', 'curl') else note}{body}")
        (tools / name).chmod(0o755)
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "-c", script],
        env={"PATH": f"{tools}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # The driver knows by it that another host goes on.
    assert done.returncode == (143 if interrupted and status else status), done.stderr
    noted = calls.read_text()
    lines = noted.splitlines()
    assert lines[-1] == "shutdown -h +1"
    trainer = next(line for line in lines if "--name trainer" in line)
    assert "--runtime nvidia" in trainer
    assert '--env HYPERPARAMETERS={"epochs": 2, "note": "a $(b) \\"c\\" d"}' in trainer
    assert trainer.endswith("--entrypoint python registry/models:1 -m training.vision.launch")
    assert "RENDEZVOUS_ENDPOINT=localhost:29400" in trainer
    assert "--env JOB_TABLE=jobs --env PAID_NODE_SECONDS=60" in trainer
    assert any("-m training.vision.rendezvous --port 29400" in line for line in lines)
    assert ("docker stop --time 110 trainer" in lines) == interrupted


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"instance_type": "huge"}, "no instance type"),
        ({"max_hours": 48}, "give 1 to 47"),
        ({"volume_gib": 8}, "give 30 to"),
        ({"zone": 6}, "give 0 to 5"),
    ],
)
def test_bad_sizes_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        InstanceSize(**settings)


def test_each_zone_that_a_network_may_have_can_be_named():
    zones = [f"euw1-az{number}" for number in range(1, 7)]
    assert NetworkLayout(zones=zones).zone_count == 6
    assert [InstanceSize(zone=number).zone for number in range(6)] == list(range(6))


def test_a_zone_that_the_network_has_not_is_refused(make):
    with pytest.raises(ValueError, match="zone is 2, but the network has zones 0 to 1"):
        make(size=InstanceSize(zone=2))
