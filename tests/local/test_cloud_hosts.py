"""Hosts of the local EC2: what runs on them, as whom, and how they end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from localcloud import lifecycle, processes
from localcloud.connect import connect
from localcloud.containers.processes import CONTAINER_VARIABLE
from localcloud.context import Cloud, Credentials
from tests.local.hosts_support import AGENT, Hosts
from tests.local.pipeline_support import Bench
from tests.local.support import Statements, code_of, noticed, notify, unique, until

PULL = [
    "ecr:GetAuthorizationToken",
    "ecr:BatchGetImage",
    "ecr:BatchCheckLayerAvailability",
    "ecr:GetDownloadUrlForLayer",
]
WORK = [*PULL, "logs:CreateLogStream", "logs:PutLogEvents"]
TOKEN = (
    "token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "
    "http://169.254.169.254/latest/api/token)"
)
ASK = 'curl -sf -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data'
NOTICE = "spot/instance-action"


@pytest.fixture(scope="module")
def hosts(cloud: Cloud, admin: Credentials) -> Hosts:
    return Hosts(cloud, admin, [*AGENT, *WORK])


@pytest.fixture(scope="module")
def host(hosts: Hosts) -> Iterator[str]:
    """One for the tests that leave it running."""
    name = hosts.ready(hosts.start())
    yield name
    hosts.client("ec2").terminate_instances(InstanceIds=[name])
    assert hosts.gone(name)


def processes_of(host: str) -> list[int]:
    """Of the host and its containers."""
    found = []
    for process in psutil.process_iter():
        try:
            if host in process.environ().get(CONTAINER_VARIABLE, ""):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def with_words(words: str) -> list[int]:
    """Processes that were started with these."""
    found = psutil.process_iter(["pid", "cmdline"])
    return [one.info["pid"] for one in found if words in " ".join(one.info["cmdline"] or ())]


def test_a_host_knows_what_it_is_and_acts_as_its_role(hosts: Hosts, host: str) -> None:
    done = hosts.ran(
        host,
        "cat /var/tmp/started",
        "curl -s -o /dev/null -w '%{http_code}\\n' http://169.254.169.254/latest/meta-data/instance-id",
        TOKEN,
        f"{ASK}/instance-id; echo; {ASK}/instance-life-cycle; echo",
        "aws sts get-caller-identity --query Arn --output text",
        f"{ASK}/{NOTICE} || echo nobody wants it back",
    )
    assert (done["Status"], done["ResponseCode"]) == ("Success", 0), done
    # Its user data have run, and metadata are not to be had without a token.
    said = done["StandardOutputContent"].splitlines()
    assert said[:4] == ["started", "401", host, "spot"]
    role = f"assumed-role/{hosts.role}/{host}"
    assert said[4].endswith(role)
    assert said[5] == "nobody wants it back"


def test_a_command_tells_how_it_ended(hosts: Hosts, host: str) -> None:
    done = hosts.ran(host, "echo words; echo more >&2", "exit 3")
    assert (done["Status"], done["ResponseCode"]) == ("Failed", 3)
    assert (done["StandardOutputContent"], done["StandardErrorContent"]) == ("words\n", "more\n")
    client = hosts.client("ssm")
    with pytest.raises(client.exceptions.InvalidParameters, match="does not match"):
        client.send_command(
            InstanceIds=[host], DocumentName=hosts.document, Parameters={"Script": ["$(rm -rf /)"]}
        )
    with pytest.raises(client.exceptions.InvalidDocument):
        client.send_command(InstanceIds=[host], DocumentName="nothing", Parameters={})
    for program in ("dnf install --assumeyes anything", "systemctl stop anything", "docker build ."):
        assert hosts.ran(host, program)["Status"] == "Failed"


def test_what_one_host_listens_on_no_other_sees(hosts: Hosts, host: str) -> None:
    other = hosts.ready(hosts.start())
    serve = "cd $TMPDIR; hostname > who; nohup python3 -m http.server 29400 > /dev/null 2>&1 < /dev/null &"
    ask = "curl -sf --retry 60 --retry-delay 1 --retry-connrefused http://localhost:29400/who"
    said = [hosts.ran(one, serve, ask)["StandardOutputContent"] for one in (host, other)]
    assert said == [hosts.ran(one, "hostname")["StandardOutputContent"] for one in (host, other)]
    hosts.client("ec2").terminate_instances(InstanceIds=[other])
    assert hosts.gone(other)
    assert processes_of(other) == []


def test_a_container_has_the_hosts_role_and_writes_its_log(
    cloud: Cloud, admin: Credentials, hosts: Hosts, host: str, bench: Bench
) -> None:
    logs, group = cloud.client("logs", admin), unique("/hosts/logs")
    logs.create_log_group(logGroupName=group)
    registry = bench.image.partition("/")[0]
    driver = f"--log-driver awslogs --log-opt awslogs-region={cloud.region} --log-opt awslogs-group={group}"
    program = (
        "import boto3, os, signal, sys, time\n"
        'print(boto3.client("sts").get_caller_identity()["Arn"], os.environ["GIVEN"], flush=True)\n'
        "def leave(*_): print('asked to end', flush=True); sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "print('ready', flush=True)\n"
        "time.sleep(300)\n"
    )
    run = f"docker run --rm --network host --env GIVEN=words {driver} --log-opt awslogs-stream=one --name one"
    assert "no basic auth" in hosts.ran(host, f"docker pull {bench.image}")["StandardErrorContent"]
    login = f"aws ecr get-login-password | docker login --username AWS --password-stdin {registry}"
    # A container's name becomes one of a folder of the cloud's.
    named = hosts.ran(host, login, f"docker run --network host --name ../../escaped {bench.image} true")
    assert (named["ResponseCode"], "Invalid container name" in named["StandardErrorContent"]) == (125, True)
    assert not list(cloud.folder.root.rglob("escaped*"))
    waiting = hosts.send(
        host,
        login,
        f"docker pull --quiet {bench.image}",
        f"cat > $TMPDIR/program.py <<'END'\n{program}END",
        f'{run} --entrypoint python {bench.image} -c "$(cat $TMPDIR/program.py)"',
    )

    def lines() -> list[str]:
        events = logs.filter_log_events(logGroupName=group)["events"]
        return [event["message"] for event in events]

    until(lambda: "ready" in lines(), lambda: (lines(), hosts.look(host, waiting)))
    assert lines()[0].endswith(f"assumed-role/{hosts.role}/{host} words")
    assert hosts.ran(host, "docker stop --time 60 one")["Status"] == "Success"
    until(lambda: hosts.look(host, waiting)["Status"] == "Failed", lambda: hosts.look(host, waiting))
    done = hosts.look(host, waiting)
    assert done["ResponseCode"] == 7
    assert lines()[-1] == "asked to end"
    assert "asked to end" in done["StandardOutputContent"]


def test_a_shutdown_terminates_and_nothing_is_left(hosts: Hosts, bench: Bench) -> None:
    host, mark = hosts.ready(hosts.start()), unique("detached")
    registry = bench.image.partition("/")[0]
    begun = hosts.ran(
        host,
        f"aws ecr get-login-password | docker login --username AWS --password-stdin {registry}",
        f"docker run --detach --rm --network host --name store --entrypoint python {bench.image} "
        f'-c "import time; time.sleep(600)  # {mark}"',
    )
    assert begun["Status"] == "Success", begun
    until(lambda: with_words(mark))
    # It leaves its session, and its command says nothing any more.
    command = hosts.send(
        host, "setsid sleep 600 < /dev/null > /dev/null 2>&1 &", "shutdown -h now", "sleep 600"
    )
    assert hosts.gone(host)
    assert processes_of(host) == []
    assert with_words(mark) == []
    assert hosts.look(host, command)["Status"] == "InProgress"
    client = hosts.client("ssm")
    with pytest.raises(client.exceptions.InvalidInstanceId):
        hosts.send(host, "true")


def test_spot_says_so_before_it_takes_a_host(cloud: Cloud, hosts: Hosts) -> None:
    host = hosts.ready(hosts.start())
    watching = hosts.send(
        host, TOKEN, f"until {ASK}/{NOTICE} > $TMPDIR/notice; do sleep 0.2; done", "cat $TMPDIR/notice"
    )
    with noticed(cloud.folder, {host: 3600}):
        until(lambda: hosts.look(host, watching)["Status"] == "Success", lambda: hosts.look(host, watching))
        assert json.loads(hosts.look(host, watching)["StandardOutputContent"])["action"] == "terminate"
        notify(cloud.folder, {host: 0})
        assert hosts.gone(host)
    assert processes_of(host) == []


def test_a_host_on_demand_is_stopped_and_starts_no_more(
    cloud: Cloud, admin: Credentials, hosts: Hosts, host: str
) -> None:
    others = Hosts(cloud, admin, AGENT, spot=False)
    client, other = others.client("ec2"), others.start()
    try:
        assert code_of(client.stop_instances, InstanceIds=[other, host])[0] == "UnsupportedOperation"
        assert code_of(client.reboot_instances, InstanceIds=[other])[0] == "UnsupportedOperation"
        (told,) = client.stop_instances(InstanceIds=[other])["StoppingInstances"]
        assert told["CurrentState"]["Name"] in ("stopping", "stopped")
        until(lambda: others.state(other) == "stopped", lambda: others.state(other))
        assert processes_of(other) == []
        assert code_of(client.start_instances, InstanceIds=[other])[0] == "UnsupportedOperation"
        assert others.state(other) == "stopped"
    finally:
        client.terminate_instances(InstanceIds=[other])
    assert others.gone(other)
    assert hosts.state(host) == "running"


def test_the_same_token_starts_one_host(hosts: Hosts) -> None:
    token = unique("token")
    first = hosts.start(ClientToken=token)
    assert hosts.start(ClientToken=token) == first
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        hosts.client("ec2").run_instances(
            LaunchTemplate={"LaunchTemplateId": hosts.template, "Version": "$Latest"},
            MinCount=1,
            MaxCount=1,
            ClientToken=token,
        )
    hosts.client("ec2").terminate_instances(InstanceIds=[first])
    assert hosts.gone(first)


def driver(hosts: Hosts, cloud: Cloud) -> Statements:
    """The least that starts, commands and ends a host."""
    where, everything = f"arn:aws:ec2:{cloud.region}:{cloud.account}", "*"
    template = f"{where}:launch-template/{hosts.template}"
    tag = {"StringEquals": {"aws:ResourceTag/fleet": "tests"}}
    only = {
        "ArnLike": {"ec2:LaunchTemplate": template},
        "Bool": {"ec2:IsLaunchTemplateResource": "true"},
    }
    return [
        {"Effect": "Allow", "Action": "ec2:RunInstances", "Resource": everything, "Condition": only},
        {
            "Effect": "Allow",
            "Action": "ec2:CreateTags",
            "Resource": everything,
            "Condition": {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
        },
        {
            "Effect": "Allow",
            "Action": "ssm:GetParameters",
            "Resource": f"arn:aws:ssm:{cloud.region}::parameter/aws/service/ecs/*",
        },
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": f"arn:aws:iam::{cloud.account}:role/{hosts.role}",
        },
        {"Effect": "Allow", "Action": "ec2:TerminateInstances", "Resource": everything, "Condition": tag},
        {
            "Effect": "Allow",
            "Action": "ssm:SendCommand",
            "Resource": f"arn:aws:ssm:{cloud.region}:{cloud.account}:document/{hosts.document}",
        },
        {
            "Effect": "Allow",
            "Action": "ssm:SendCommand",
            "Resource": f"{where}:instance/*",
            "Condition": {"StringEquals": {"ssm:resourceTag/fleet": "tests"}},
        },
    ]


def test_iam_decides_who_starts_commands_and_ends_hosts(
    cloud: Cloud, hosts: Hosts, host: str, actor: Callable[[Statements], Credentials]
) -> None:
    needed = driver(hosts, cloud)
    allowed = actor(needed)
    made = hosts.ready(hosts.start(allowed))
    hosts.send(made, "true", credentials=allowed)
    hosts.client("ec2", allowed).terminate_instances(InstanceIds=[made])
    assert hosts.gone(made)
    calls: list[tuple[int, Callable[[Credentials], Any], str]] = [
        (0, hosts.start, "ec2:RunInstances"),
        (1, hosts.start, "ec2:CreateTags"),
        (2, hosts.start, "ssm:GetParameters"),
        (3, hosts.start, "iam:PassRole"),
        (4, lambda who: hosts.client("ec2", who).terminate_instances(InstanceIds=[host]), "TerminateInst"),
        (5, lambda who: hosts.send(host, "true", credentials=who), "document/"),
        (6, lambda who: hosts.send(host, "true", credentials=who), "instance/"),
    ]
    for place, call, words in calls:
        with pytest.raises(ClientError, match=words):
            call(actor([one for number, one in enumerate(needed) if number != place]))
    # What the template does not say takes another grant, which the local cloud does not serve.
    with pytest.raises(ClientError, match="UnsupportedOperation"):
        hosts.start(InstanceType="p5.48xlarge")
    assert hosts.state(host) == "running"


def test_a_dry_run_asks_and_does_nothing(
    cloud: Cloud, hosts: Hosts, host: str, actor: Callable[[Statements], Credentials]
) -> None:
    def known() -> int:
        return len(hosts.client("ec2").describe_instances()["Reservations"])

    before = known()
    for statements, code in ((driver(hosts, cloud), "DryRunOperation"), ([], "UnauthorizedOperation")):
        who = actor(statements)
        with pytest.raises(ClientError, match=code):
            hosts.start(who, DryRun=True)
        with pytest.raises(ClientError, match=code):
            hosts.client("ec2", who).terminate_instances(InstanceIds=[host], DryRun=True)
    assert (known(), hosts.state(host)) == (before, "running")


def test_a_host_whose_role_may_not_is_unknown_to_ssm(
    cloud: Cloud, admin: Credentials, hosts: Hosts, audit: Callable[[], list[dict[str, Any]]]
) -> None:
    others = Hosts(cloud, admin, AGENT[1:])
    host = others.start()

    def refused() -> bool:
        return any(
            one["action"] == "ssm:UpdateInstanceInformation" and one["decision"] != "Allow" for one in audit()
        )

    until(refused, lambda: others.console(host))
    assert not others.known(host)
    with pytest.raises(ClientError, match="InvalidInstanceId"):
        others.send(host, "true")
    cloud.client("ec2", admin).terminate_instances(InstanceIds=[host])
    assert others.gone(host)


def test_a_killed_cloud_leaves_no_host(tmp_path: Path) -> None:
    root = tmp_path / "state"
    lifecycle.up(root)
    try:
        hosts = Hosts(*connect(root), AGENT)
        host = hosts.ready(hosts.start())
        hosts.send(host, "sleep 600")
        run = json.loads((root / "run.json").read_text())
        os.kill(run["pid"], signal.SIGKILL)
        until(lambda: not processes.of_run(run["run_id"]), lambda: processes.of_run(run["run_id"]))
        assert processes_of(host) == []
    finally:
        lifecycle.down(root)
