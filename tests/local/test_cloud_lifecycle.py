"""Start, stop, and what a killed server leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from localcloud import lifecycle, processes
from localcloud.connect import NotRunning, connect
from localcloud.context import RUN_ID_VARIABLE
from tests.local.support import unique


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    lifecycle.down(folder)


def orphan_of(root: Path) -> subprocess.Popen[bytes]:
    """A process that looks as if the server had started it."""
    run = json.loads((root / "run.json").read_text())
    environment = {**os.environ, RUN_ID_VARIABLE: run["run_id"]}
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment)


def ended(pid: int) -> None:
    """Wait until a process is gone."""
    with suppress(psutil.NoSuchProcess):
        gone, alive = psutil.wait_procs([psutil.Process(pid)], timeout=180)
        assert (len(gone), alive) == (1, [])


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def waited_for_a_processor(pid: int) -> float:
    """Seconds for which threads of a process could run and others did; 0 where the kernel does not tell.

    https://docs.kernel.org/scheduler/sched-stats.html
    """
    waited = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            waited += int(file.read_text().split()[1])
    return waited / 1e9


def test_ready_in_three_seconds_and_300_megabytes(root: Path) -> None:
    started = time.monotonic()
    record = lifecycle.up(root)
    took = time.monotonic() - started
    # The bound is for an idle machine of two cores; tests share them.
    assert took - waited_for_a_processor(record["pid"]) < 10
    report = lifecycle.status(root)
    assert report["running"]
    assert report["memory_bytes"] < 300e6


def test_state_survives_a_clean_stop_and_so_does_the_port(root: Path) -> None:
    first = lifecycle.up(root)
    cloud, admin = connect(root)
    s3 = cloud.client("s3", admin)
    s3.create_bucket(Bucket="kept-bucket")
    s3.put_object(Bucket="kept-bucket", Key="kept/key", Body=b"kept")
    table = {
        "TableName": "kept",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    cloud.client("dynamodb", admin).create_table(**table)
    assert lifecycle.down(root) == {"was_running": True, "ended": 0, "state_kept": True}
    with pytest.raises(NotRunning, match="modelyard up"):
        connect(root)
    second = lifecycle.up(root)
    assert second["endpoint_url"] == first["endpoint_url"]
    assert second["credentials"] == first["credentials"]
    assert not second["state_discarded"]
    cloud, admin = connect(root)
    body = cloud.client("s3", admin).get_object(Bucket="kept-bucket", Key="kept/key")["Body"].read()
    assert body == b"kept"
    assert cloud.client("dynamodb", admin).list_tables()["TableNames"] == ["kept"]


def test_second_up_says_where_the_first_one_runs(root: Path) -> None:
    record = lifecycle.up(root)
    with pytest.raises(lifecycle.Refused) as refusal:
        lifecycle.up(root)
    assert record["endpoint_url"] in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert lifecycle.status(root)["pid"] == record["pid"]


def test_port_in_use_is_one_line(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(lifecycle.Refused) as refusal:
            lifecycle.up(root, port=port)
    assert str(refusal.value).startswith(f"Port {port} of 127.0.0.1 is in use")
    assert "\n" not in str(refusal.value)
    assert not lifecycle.status(root)["running"]


def with_bucket(root: Path) -> str:
    """A stopped cloud that has a bucket; its endpoint's URL."""
    url: str = lifecycle.up(root)["endpoint_url"]
    cloud, admin = connect(root)
    cloud.client("s3", admin).create_bucket(Bucket="worth-keeping")
    lifecycle.down(root)
    return url


def buckets(root: Path) -> list[str]:
    cloud, admin = connect(root)
    return [bucket["Name"] for bucket in cloud.client("s3", admin).list_buckets()["Buckets"]]


def server(root: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "localcloud.server", "--state", str(root), *more]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # As a terminal starts it, also where these tests run in the background of a shell.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one thread here
    )


def test_a_refused_start_costs_nothing(root: Path) -> None:
    with_bucket(root)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(lifecycle.Refused):
        lifecycle.up(root, port=taken.getsockname()[1])
    assert lifecycle.down(root)["state_kept"]
    assert not lifecycle.up(root)["state_discarded"]
    assert buckets(root) == ["worth-keeping"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_start_costs_nothing(root: Path, number: signal.Signals) -> None:
    with_bucket(root)
    with closing(sqlite3.connect(root / "sagemaker.db", isolation_level=None)) as database:
        # No server gets past the opening of this database: none serves, however late the signal comes.
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        for _attempt in range(2):
            starting = server(root)
            deadline = time.monotonic() + 180
            while not (root / "run.json").exists():
                assert time.monotonic() < deadline
                time.sleep(0.005)
            starting.send_signal(number)
            starting.wait(timeout=180)
    assert lifecycle.down(root)["state_kept"]
    assert not lifecycle.up(root)["state_discarded"]
    assert buckets(root) == ["worth-keeping"]


def test_a_failed_start_costs_nothing(root: Path) -> None:
    with_bucket(root)
    database = root / "sagemaker.db"
    kept = {path: path.read_bytes() for path in root.glob("sagemaker.db*")}
    database.write_bytes(b"not a database" * 1000)
    with pytest.raises(lifecycle.Refused, match="failed to start"):
        lifecycle.up(root)
    for path, content in kept.items():
        path.write_bytes(content)
    assert not lifecycle.up(root)["state_discarded"]
    assert buckets(root) == ["worth-keeping"]


def test_a_folder_keeps_its_region(root: Path) -> None:
    lifecycle.up(root, region="eu-central-1")
    lifecycle.down(root)
    with pytest.raises(lifecycle.Refused, match="lie in eu-central-1, not in us-west-2") as refusal:
        lifecycle.up(root, region="us-west-2")
    assert "\n" not in str(refusal.value)
    assert server(root, "--region", "us-west-2").wait(timeout=180) == 1
    assert lifecycle.up(root)["region"] == "eu-central-1"


def test_of_two_starts_at_once_one_wins_and_keeps_its_log(root: Path) -> None:
    code = "import sys; from pathlib import Path; from localcloud import lifecycle\n"
    code += "try: lifecycle.up(Path(sys.argv[1]))\nexcept lifecycle.Refused as e: sys.exit(str(e))"
    command = [sys.executable, "-c", code, str(root)]
    starts = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [start.communicate(timeout=180)[1] for start in starts]
    assert sorted(start.returncode for start in starts) == [0, 1]
    assert sum("already running" in error for error in errors) == 1
    assert lifecycle.status(root)["running"]
    pid = lifecycle.status(root)["pid"]
    assert Path(f"/proc/{pid}/fd/2").readlink() == root.resolve() / "logs" / "server.log"


def test_the_users_environment_stays_outside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-a-real-account")
    monkeypatch.setenv("HF_TOKEN", "of-a-real-hub")
    record = lifecycle.up(root)
    given = Path(f"/proc/{record['pid']}/environ").read_bytes()
    assert b"PATH=" in given
    assert b"of-a-real" not in given


def test_listens_on_loopback_only(root: Path) -> None:
    record = lifecycle.up(root)
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(record["pid"]).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_secrets_are_the_owners_alone(root: Path) -> None:
    lifecycle.up(root)
    for name in ("cloud.json", "env", "credentials.json", "run.json", "tls/ca-key.pem", "tls/server-key.pem"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_sigterm_and_sigint_are_clean(root: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        record = lifecycle.up(root)
        assert not record["state_discarded"]
        orphan = orphan_of(root)
        os.kill(record["pid"], number)
        assert orphan.wait(timeout=180) == -signal.SIGTERM
        ended(record["pid"])
        assert not (root / "run.json").exists()
        assert not (root / "cloud.json").exists()


def test_a_stack_operation_that_hangs_does_not_hold_up_the_stop(root: Path) -> None:
    lifecycle.up(root)
    cloud, admin = connect(root)
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    template = {
        "Resources": {
            "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust}},
            "Function": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                    "Runtime": "python3.11",
                    "Handler": "index.handler",
                    "Timeout": 600,
                    "Code": {"ZipFile": "import time\ndef handler(event, context):\n    time.sleep(600)\n"},
                },
            },
            "Never": {
                "Type": "Custom::Never",
                "Properties": {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}},
            },
        }
    }
    cloudformation = cloud.client("cloudformation", admin)
    cloudformation.create_stack(
        StackName="hangs", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"]
    )
    run = json.loads((root / "run.json").read_text())["run_id"]
    deadline = time.monotonic() + 180
    while not (workers := processes.of_run(run)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    started = time.monotonic()
    assert lifecycle.down(root)["state_kept"]
    # The function goes on for ten minutes, and jobs that a stop waits for get two.
    assert time.monotonic() - started < 60
    assert not any(lives(worker) for worker in workers)
    lifecycle.up(root)
    cloud, admin = connect(root)
    stack = cloud.client("cloudformation", admin).describe_stacks(StackName="hangs")["Stacks"][0]
    assert stack["StackStatus"] == "ROLLBACK_FAILED"
    assert "stopped" in stack["StackStatusReason"]


def test_next_up_ends_what_a_killed_server_left(root: Path) -> None:
    record = lifecycle.up(root)
    cloud, admin = connect(root)
    cloud.client("s3", admin).create_bucket(Bucket="lost-bucket")
    orphan = orphan_of(root)
    os.kill(record["pid"], signal.SIGKILL)
    ended(record["pid"])
    assert orphan.poll() is None
    assert not lifecycle.status(root)["running"]
    again = lifecycle.up(root)
    assert again["state_discarded"]
    assert orphan.wait(timeout=180) == -signal.SIGTERM
    cloud, admin = connect(root)
    assert cloud.client("s3", admin).list_buckets()["Buckets"] == []


def test_down_after_a_kill_cleans_up(root: Path) -> None:
    record = lifecycle.up(root)
    orphan = orphan_of(root)
    os.kill(record["pid"], signal.SIGKILL)
    ended(record["pid"])
    result = lifecycle.down(root)
    assert result == {"was_running": False, "ended": 1, "state_kept": False}
    assert orphan.wait(timeout=180) == -signal.SIGTERM


def test_a_reused_number_is_not_ours(root: Path, tmp_path: Path) -> None:
    """The killed server's number now belongs to a stranger: nobody may touch it."""
    record = lifecycle.up(root)
    run = json.loads((root / "run.json").read_text())
    os.kill(record["pid"], signal.SIGKILL)
    ended(record["pid"])
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        (root / "run.json").write_text(json.dumps({**run, "pid": stranger.pid}))
        lifecycle.up(root)
        lifecycle.down(root)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_of_another_run_is_left_alone() -> None:
    # This machine may have other runs of these tests.
    another = unique("another-run")
    environment = {**os.environ, RUN_ID_VARIABLE: another}
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment)
    try:
        assert processes.end_run(unique("this-run")) == 0
        assert other.poll() is None
        assert [process.pid for process in processes.of_run(another)] == [other.pid]
        assert processes.end_run(another) == 1
        assert other.wait(timeout=180) == -signal.SIGTERM
    finally:
        if other.poll() is None:
            other.kill()


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print(1, flush=True); time.sleep(600)"
    )
    run = unique("stubborn-run")
    environment = {**os.environ, RUN_ID_VARIABLE: run}
    stubborn = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
    assert stubborn.stdout is not None
    with stubborn.stdout as output:
        output.readline()
        assert processes.end_run(run) == 1
    assert stubborn.wait(timeout=180) == -signal.SIGKILL
