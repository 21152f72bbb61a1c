"""Parts of an elastic job without processes: settings, layout, exit codes, what an agent makes of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from torch import distributed
from training_runtime.aws_hosts import NO_RENDEZVOUS

from training import rendezvous
from training.common.failure import UserError
from training.common.hosts import Hosts
from training.vision.checkpoints.store import StoreError
from training.vision.checkpoints.writer import ReplacedError
from training.vision.elastic import agent as agents
from training.vision.elastic import meeting
from training.vision.elastic.agent import Agent, interface_of, own_address, supervise
from training.vision.elastic.job import lay_out
from training.vision.elastic.output import ARCHIVE, OUTPUT, deliver, delivers
from training.vision.elastic.ranks import neighbours, ranks
from training.vision.elastic.settings import Settings
from training.vision.elastic.worker import LOST, REFUSED, STOPPED, code_of

REPO = Path(__file__).parents[3]
NEEDED = {"RENDEZVOUS_ENDPOINT": "rdzv.train.local:29400", "JOB_NAME": "dogs-1"}


def test_settings_come_from_the_environment():
    given = {
        "ATTEMPT": "3",
        "MIN_HOSTS": "2",
        "MAX_HOSTS": "4",
        "PROCESSES_PER_HOST": "8",
        "CHECKPOINT_URI": "s3://bucket/runs/dogs-1",
        "DATASET_URI": "s3://bucket/datasets/dogs.json",
        "OUTPUT_URI": "s3://bucket/models/dogs-1",
        "HYPERPARAMETERS": '{"epochs": 3}',
        "JOIN_SECONDS": "60",
        "RENDEZVOUS_SECONDS": "90",
        "DATASET_COPY": "1",
    }
    assert Settings.read(NEEDED | given) == Settings(
        rendezvous="rdzv.train.local:29400",
        job="dogs-1",
        attempt=3,
        min_hosts=2,
        max_hosts=4,
        processes=8,
        checkpoints="s3://bucket/runs/dogs-1",
        dataset="s3://bucket/datasets/dogs.json",
        copies=True,
        output="s3://bucket/models/dogs-1",
        hyperparameters={"epochs": 3},
        patience=60,
        absence=90,
    )


def test_what_is_not_given_has_a_default_and_empty_is_not_given():
    settings = Settings.read(NEEDED | {"MIN_HOSTS": "3", "OUTPUT_URI": "", "HYPERPARAMETERS": ""})
    assert settings == Settings(rendezvous="rdzv.train.local:29400", job="dogs-1", min_hosts=3, max_hosts=3)
    assert Settings.read(NEEDED | {"RENDEZVOUS_ENDPOINT": "10.0.0.7"}).rendezvous == "10.0.0.7:29400"


def test_attempts_do_not_meet():
    runs = {Settings.read(NEEDED | {"ATTEMPT": str(number)}).run for number in (1, 2)}
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"JOB_NAME": ""}, "variable JOB_NAME is missing"),
        ({"RENDEZVOUS_ENDPOINT": ""}, "variable RENDEZVOUS_ENDPOINT is missing"),
        ({"RENDEZVOUS_ENDPOINT": ":29400"}, "must be host:port"),
        ({"RENDEZVOUS_ENDPOINT": "host:port"}, "must be host:port"),
        ({"MIN_HOSTS": "0"}, "MIN_HOSTS must be a number from 1 on, got '0'"),
        ({"ATTEMPT": "-1"}, "ATTEMPT must be a number"),
        ({"DATASET_COPY": "yes"}, "DATASET_COPY must be 0 or 1, got 'yes'"),
        ({"MIN_HOSTS": "3", "MAX_HOSTS": "2"}, "MAX_HOSTS is 2, below MIN_HOSTS, 3"),
        ({"HYPERPARAMETERS": "{"}, "HYPERPARAMETERS is not JSON"),
        ({"HYPERPARAMETERS": "[1]"}, "must be a JSON object"),
    ],
)
def test_wrong_settings_are_refused(change, reason):
    with pytest.raises(UserError, match=reason):
        Settings.read(NEEDED | change)


def settings(**changes):
    return Settings(rendezvous="127.0.0.1:29400", job="job", **changes)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """What a job writes into it goes away again."""
    for name in ("CHECKPOINTS", OUTPUT, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"):
        monkeypatch.setenv(name, "")
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "lo")


def test_a_job_is_laid_out_as_sagemaker_does(container, trained):
    given = settings(
        hyperparameters={"epochs": 3, "backbone": "test_resnet"},
        dataset=str(trained.root / "processing" / "output"),
        checkpoints="s3://bucket/runs",
        output="s3://bucket/models",
    )
    for _ in range(2):  # a container may be started again on the same disk
        lay_out(given)
    path = container.root / "input" / "config" / "hyperparameters.json"
    assert json.loads(path.read_text()) == {"epochs": "3", "backbone": "test_resnet"}
    for name in ("train", "validation", "classes"):
        channel = container.root / "input" / "data" / name
        assert channel.resolve() == trained.output(name).resolve()
    assert (os.environ["CHECKPOINTS"], os.environ[OUTPUT]) == ("s3://bucket/runs", "s3://bucket/models")


def test_what_is_there_already_stays(container):
    container.hyperparameters(epochs=9)
    lay_out(settings())
    path = container.root / "input" / "config" / "hyperparameters.json"
    assert json.loads(path.read_text())["epochs"] == "9"
    assert not os.environ["CHECKPOINTS"]


def test_a_dataset_in_s3_is_read_where_it_is(container, monkeypatch):
    monkeypatch.delenv("DATASET_URI", raising=False)
    monkeypatch.setenv("DATASET_URI", "")
    lay_out(settings(dataset="s3://bucket/datasets/dogs/manifests/x.json"))
    assert os.environ["DATASET_URI"] == "s3://bucket/datasets/dogs/manifests/x.json"
    assert not list((container.root / "input" / "data").iterdir())


def test_a_dataset_that_is_not_there_is_refused(container, tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        lay_out(settings(dataset=str(tmp_path / "nothing")))


def test_the_model_is_delivered_also_a_second_time(container, monkeypatch, tmp_path):
    assert not delivers()
    monkeypatch.setenv(OUTPUT, f"{tmp_path}/out/")
    assert delivers()
    model = container.root / "model"
    for content in ("one", "two"):
        model.mkdir(parents=True, exist_ok=True)
        (model / "manifest.json").write_text(content)
        for below in ("", "last"):
            deliver(model, below, {"evaluation.json": {"top1": content}})
            with tarfile.open(tmp_path / "out" / below / ARCHIVE) as archive:
                assert archive.extractfile("manifest.json").read().decode() == content
            told = json.loads((tmp_path / "out" / below / "evaluation.json").read_text())
            assert told == {"top1": content}


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("unknown hyperparameter"), REFUSED),
        (caused(UserError("S3 does not answer"), StoreError("timeout")), 1),
        (ReplacedError("another run"), LOST),
        (RuntimeError("[/third_party/gloo/gloo/transport/tcp/pair.cc:537] Connection closed by peer"), LOST),
        (distributed.DistBackendError("NCCL error"), LOST),
        (distributed.DistNetworkError("the store is gone"), LOST),
        (RuntimeError("CUDA error: device-side assert triggered"), 1),
        (MemoryError(), 1),
        (KeyError("a defect"), 1),
    ],
)
def test_an_exception_says_what_to_do(error, code):
    assert code_of(error) == code
    assert len({LOST, REFUSED, STOPPED, 1, 0}) == 5


@pytest.mark.parametrize(
    ("codes", "left"),
    [
        ([LOST], 4),
        ([STOPPED], 4),
        ([LOST, STOPPED], 4),
        ([1], 3),
        ([-9], 3),
        ([LOST, 1], 3),
        ([-signal.SIGABRT], 3),
        ([1, REFUSED], 0),
    ],
)
def test_only_defects_use_up_restarts(monkeypatch, codes, left):
    """The agent takes one away for each restart."""
    failures = {rank: SimpleNamespace(exitcode=code) for rank, code in enumerate(codes)}
    result = agents.RunResult(state=agents.WorkerState.FAILED, failures=failures)
    monkeypatch.setattr(agents.LocalElasticAgent, "_monitor_workers", lambda *_: result)
    agent = Agent.__new__(Agent)
    agent._remaining_restarts = 3
    assert agent._monitor_workers(SimpleNamespace(group_world_size=1)) is result
    assert agent._remaining_restarts == left


@pytest.mark.parametrize(
    ("codes", "known", "left"),
    [
        # Still there when NCCL aborts, gone a little later.
        ([-signal.SIGABRT], ["ab", "ab", "a"], 4),
        ([-signal.SIGABRT, LOST], ["a"], 4),
        # All hosts stay: a defect on a GPU aborts its rank too.
        ([-signal.SIGABRT], ["ab"], 3),
        # Whose ranks are lost with this one's starts them again at once, and waits for this host.
        ([-signal.SIGABRT], ["ab", "a|b"], 3),
        ([-signal.SIGABRT], ["ab", "a||b"], 3),
        # A new host is none of those that were there.
        ([-signal.SIGABRT], ["ab", "a|c"], 4),
        # What else went wrong is a defect, whoever is gone.
        ([-signal.SIGABRT, -9], ["a"], 3),
    ],
)
def test_ranks_that_nccl_aborts_are_a_defect_unless_a_host_is_gone(monkeypatch, codes, known, left):
    """`known`: hosts in the round, those that wait for the next one, and those too many, as time goes on."""
    failures = {rank: SimpleNamespace(exitcode=code) for rank, code in enumerate(codes)}
    result = agents.RunResult(state=agents.WorkerState.FAILED, failures=failures)
    monkeypatch.setattr(agents.LocalElasticAgent, "_monitor_workers", lambda *_: result)
    monkeypatch.setattr(agents, "NOTICE_SECONDS", 0.5)
    agent = Agent.__new__(Agent)
    agent._remaining_restarts = 3
    agent._round = frozenset("ab")
    looks = iter(known)

    class Held:
        @property
        def state(self):
            there, waiting, spare = [*next(looks, known[-1]).split("|"), "", ""][:3]
            told = {"wait_list": set(waiting), "redundancy_list": set(spare)}
            return SimpleNamespace(participants=dict.fromkeys(there), **told)

    agent._rdzv_handler = SimpleNamespace(_state_holder=Held())
    assert agent._monitor_workers(SimpleNamespace(group_world_size=2)) is result
    assert agent._remaining_restarts == left


@pytest.mark.parametrize(("known", "state", "left"), [(2, "HEALTHY", 3), (1, "UNHEALTHY", 4)])
def test_a_round_that_lost_a_host_is_started_again(monkeypatch, known, state, left):
    """Although no rank has noticed: they are told, and killed when they do not hear it."""
    result = agents.RunResult(state=agents.WorkerState.HEALTHY)
    monkeypatch.setattr(agents.LocalElasticAgent, "_monitor_workers", lambda *_: result)
    agent = Agent.__new__(Agent)
    agent._remaining_restarts, told = 3, []
    held = SimpleNamespace(state=SimpleNamespace(participants=dict.fromkeys(range(known))))
    agent._rdzv_handler = SimpleNamespace(_state_holder=held)
    agent._pcontext = SimpleNamespace(close=lambda *given: told.append(given))
    found = agent._monitor_workers(SimpleNamespace(group_world_size=2))
    assert (found.state.name, agent._remaining_restarts) == (state, left)
    assert told == ([] if known == 2 else [(signal.SIGTERM, agents.SILENT_SECONDS)])


def test_what_ranks_fork_from_is_a_copy_of_the_agent_with_all_loaded():
    """Made before the job is laid out: ranks are told the rest. It ends with the agent, however that ends."""
    program = """
import multiprocessing, os, signal, threading
from multiprocessing import forkserver
from training.vision.elastic import preload

preload.begin()
server = forkserver._forkserver._forkserver_pid
threading.Thread(target=threading.Event().wait, daemon=True).start()
os.environ["CHECKPOINTS"] = "s3://bucket/runs"
preload.begin()
assert preload.changes() == {"CHECKPOINTS": "s3://bucket/runs"}
context = multiprocessing.get_context("forkserver")
told = context.SimpleQueue()
rank = context.Process(target=tell, args=(told,))
rank.start()
parent, loaded, locked = told.get()
assert (parent, loaded, locked) == (server, True, False), (parent, server, loaded, locked)
rank.join()
assert rank.exitcode == 0 and forkserver._forkserver._forkserver_pid == server
print(server, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    rank = """
import os, sys
from multiprocessing import forkserver

def tell(told):
    told.put((os.getppid(), "torch._dynamo" in sys.modules, forkserver._forkserver._lock.locked()))
"""
    environment = {name: value for name, value in os.environ.items() if name != "CHECKPOINTS"}
    ended = subprocess.run(
        [sys.executable, "-c", rank + program],
        check=False,
        env=environment,
        cwd=REPO,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    server, deadline = int(ended.stdout), time.monotonic() + 10
    while _runs(server):
        assert time.monotonic() < deadline, "the process that ranks fork from outlives its agent"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_rank_knows_its_place(monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (ranks(), neighbours()) == (None, 1)
    told = {"TORCHELASTIC_RUN_ID": "job/1", "WORLD_SIZE": "3", "RANK": "2", "LOCAL_WORLD_SIZE": "2"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert (ranks(), neighbours()) == (Hosts(("rank 0", "rank 1", "rank 2"), 2), 2)


def test_the_address_and_its_interface():
    assert own_address("127.0.0.1:29400") == "127.0.0.1"
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.7") is None
    with pytest.raises(UserError, match=r"no-such-host.invalid:29400 cannot be reached"):
        own_address("no-such-host.invalid:29400")


@pytest.mark.parametrize(
    ("named", "address"),
    [("127.2.0.9", "127.2.0.9"), ("127.0.1.1", "127.0.0.1"), ("10.0.0.7", "127.0.0.1")],
)
def test_containers_of_one_machine_have_addresses_of_their_own(monkeypatch, named, address):
    monkeypatch.setattr(agents.socket, "gethostbyname", lambda _name: named)
    assert own_address("127.0.0.1:29400") == address
    assert interface_of(address) == "lo"


def test_a_rendezvous_that_goes_as_a_host_comes_is_nobodys_fault(monkeypatch, container):
    def refuse(_parameters):
        raise agents.RendezvousConnectionError("refused")

    monkeypatch.setattr(agents.preload, "begin", lambda: None)
    monkeypatch.setattr(agents, "get_rendezvous_handler", refuse)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(SystemExit) as ended:
            supervise(replace(settings(), rendezvous=endpoint), print, [])
    assert ended.value.code == LOST
    assert f"the rendezvous at {endpoint} went" in (container.root / "output" / "failure").read_text()
    assert os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1"


def test_a_rendezvous_that_never_comes_is_nobodys_fault(container, capsys):
    """The code says so to the cluster, which counts such attempts apart."""
    nowhere = replace(settings(), rendezvous="no-such-host.invalid:29400", absence=1)
    with pytest.raises(SystemExit) as ended:
        supervise(nowhere, print, [])
    assert ended.value.code == LOST == NO_RENDEZVOUS
    reason = "there is no rendezvous at no-such-host.invalid:29400 after 1 s: "
    assert (container.root / "output" / "failure").read_text().startswith(reason)
    out = capsys.readouterr().out
    assert out.count("waits for the rendezvous no-such-host.invalid:29400, for 1 s at most: ") == 1


def test_a_rendezvous_that_comes_late_is_waited_for(capsys, monkeypatch):
    monkeypatch.setattr(meeting, "PAUSE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    waiting = threading.Thread(target=meeting.await_rendezvous, args=(f"127.0.0.1:{port}", 60))
    waiting.start()
    said = ""
    while "waits for the rendezvous" not in said:
        said += capsys.readouterr().out
    with socket.create_server(("127.0.0.1", port)):
        waiting.join(30)
    assert not waiting.is_alive()
    assert f"the rendezvous 127.0.0.1:{port} is there, after" in capsys.readouterr().out


def test_a_port_that_is_taken_is_refused():
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with pytest.raises(UserError, match=f"port {store.port} cannot be used"):
        rendezvous.main(["--port", str(store.port)])
