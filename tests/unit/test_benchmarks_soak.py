"""What the soak makes of its samples and answers."""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import soak
from benchmarks.growth import Sample, courses, trend
from benchmarks.soak_chart import draw
from benchmarks.soak_sampler import CLIENT, Moment, Sampler, look
from benchmarks.soak_timeline import timeline
from benchmarks.traffic import Answer, Traffic, percentile

TIMES = [2.0 * number for number in range(120)]


def test_noise_is_no_growth() -> None:
    chance = random.Random(3)
    found = trend(TIMES, [100 + chance.gauss(0, 2) for _ in TIMES], bound=3.0)
    assert found.low < 0 < found.high
    assert found.holds


def test_a_leak_below_the_noise_is_found_and_its_size_is_right() -> None:
    chance = random.Random(3)
    leak = [100 + at / TIMES[-1] * 6 + chance.gauss(0, 2) for at in TIMES]
    found = trend(TIMES, leak, bound=3.0)
    assert not found.holds
    assert found.low < 6 < found.high
    assert abs(found.growth - 6) < 1.5


def test_growth_that_is_not_ruled_out_does_not_hold() -> None:
    """The line stays below the bound; what is known does not."""
    chance = random.Random(3)
    found = trend(TIMES, [100 + chance.gauss(0, 10) for _ in TIMES], bound=3.0)
    assert found.low < found.growth < 3.0 < found.high
    assert not found.holds


def test_what_comes_and_goes_does_not_hide_what_stays() -> None:
    """Handles of connections: their mean tells too little of a leak, their floor tells it."""
    chance = random.Random(5)
    borrowed = [100.0 + max(0, round(chance.gauss(5, 15))) for _ in TIMES]
    leaked = [value + round(at / TIMES[-1] * 8) for at, value in zip(TIMES, borrowed, strict=True)]
    assert not trend(TIMES, borrowed, bound=5.0).holds
    assert trend(TIMES, borrowed, bound=5.0, figure=min).holds
    assert not trend(TIMES, leaked, bound=5.0, figure=min).holds


def test_handles_are_judged_by_their_floor_and_memory_by_its_mean() -> None:
    chance = random.Random(5)
    samples = [
        Sample(
            at=at,
            pid=1,
            role=soak.CLOUD,
            rss_mb=200 + chance.gauss(0, 1),
            handles=100 + max(0, round(chance.gauss(5, 15))),
            threads=40 + max(0, round(chance.gauss(1, 8))),
        )
        for at in TIMES
    ]
    found = soak._trends(soak.CLOUD, samples, TIMES[-1])
    assert found["handles"].holds
    assert found["threads"].holds
    assert abs(found["rss_mb"].first - 200) < 1


def test_growth_of_a_part_is_told_of_the_whole() -> None:
    half = [at for at in TIMES if at >= TIMES[-1] / 2]
    found = trend(half, [at / 10 for at in half], bound=3.0, span=TIMES[-1])
    assert found.growth == pytest.approx(TIMES[-1] / 10)


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="sample for longer"):
        trend([0.0, 1.0], [1.0, 1.0], bound=1.0)


def sample(at: float, pid: int, role: str = "server", rss_mb: float = 10.0, **members: Any) -> Sample:
    members = {"handles": 5, "threads": 2} | members
    return Sample(at=at, pid=pid, role=role, rss_mb=rss_mb, **members)


def test_a_process_counts_from_its_own_first_steady_sample() -> None:
    samples = [sample(at, 1) for at in range(100)]
    samples += [sample(at, 2) for at in range(40, 100)]  # scale-out started it
    samples += [sample(at, 3) for at in range(30)]  # and this one went with the warm-up
    (first, second) = courses(samples, warm_up=20, least=25)["server"]
    assert [(each[0].pid, each[0].at, each[-1].at) for each in (first, second)] == [(1, 20, 99), (2, 60, 99)]
    assert [each[0].pid for each in courses(samples, warm_up=20, least=50)["server"]] == [1]


@pytest.mark.parametrize("role", [soak.SERVERS, soak.INFERENCE, soak.DEPLOYER])
def test_the_cloud_counts_while_it_has_the_same_processes(role: str) -> None:
    """It has handles of each instance and each environment, which is no leak; what grows meanwhile is one."""
    instances = [sample(at, 1, soak.SERVERS) for at in range(300)]
    instances += [sample(at, 2, role) for at in range(100, 300)]
    changes = soak.changes_of_processes(instances)
    assert changes == [100, 100 + soak.SETTLE_S]

    def judged(leaked: float) -> dict[str, Any]:
        cloud = [
            sample(at, 9, soak.CLOUD, handles=100 + 40 * (at >= 100) + round(at * leaked))
            for at in range(300)
        ]
        (course,) = courses(cloud + instances, warm_up=50, least=80, changes={soak.CLOUD: changes})[
            soak.CLOUD
        ]
        assert (course[0].at, course[-1].at) == (120, 299)
        return soak._trends(soak.CLOUD, course, 250)

    assert judged(0)["handles"].holds
    assert not judged(0.1)["handles"].holds


def test_a_trial_changes_nothing_for_the_cloud() -> None:
    samples = [sample(at, 1, soak.SERVERS) for at in range(30)]
    samples += [sample(at, 2, soak.TRIAL) for at in range(10, 20)]
    assert soak.changes_of_processes(samples) == []


def test_the_share_of_the_requests_within_a_time() -> None:
    answers = [Answer(at=0.0, seconds=number / 100, status=200) for number in range(100)]
    assert (percentile(answers, 0.5), percentile(answers, 0.99), percentile(answers, 1.0)) == (
        0.5,
        0.99,
        0.99,
    )


def turns(traffic: Traffic) -> Counter[float]:
    """How often each turn of a timetable of 200 a second was taken."""
    return Counter(round((answer.at - traffic._began) * 200, 3) for answer in list(traffic.answers))


class FakeCaller:
    def ask(self, at: float | None = None) -> Answer:
        return Answer(at=at or 0.0, seconds=0.0, status=503, code="not_ready")


def test_traffic_keeps_its_timetable() -> None:
    caller: Any = FakeCaller()
    with Traffic(caller, callers=2, per_second=200.0) as traffic:
        # One caller may be late with its turn when the other has ended several.
        while not set(range(1, 21)) <= turns(traffic).keys():
            time.sleep(0.01)
    for turn, count in turns(traffic).items():
        assert turn == pytest.approx(round(turn), abs=2e-4)
        assert count == 1
    assert len(traffic.failed) == len(traffic.answers)


def figures(
    *, status: int = 200, leak: tuple[str, str, float] | None = None, late: bool = False, **members: Any
) -> dict[str, Any]:
    """Of four minutes with a process of each role; `leak`: role, measure and what it grows by a second."""
    samples = []
    for number, role in enumerate(soak.JUDGED):
        role_of_leak, measure, speed = leak or ("", "", 0.0)
        for at in TIMES:
            steady = {"rss_mb": 100.0, "handles": 50, "threads": 20}
            if role == role_of_leak:
                steady[measure] += speed * at
            samples.append(sample(at, number, role, **steady))
    if late:
        samples += [sample(at, 99, soak.SERVERS, rss_mb=200.0) for at in TIMES if at >= 60]
    answers = [Answer(at=at, seconds=0.01, status=200, model="m", version=1) for at in TIMES]
    answers.append(Answer(at=0, seconds=0.02, status=status, code="" if status == 200 else "not_ready"))
    machine = [Moment(at=at, load=2.0, steal_s=at / 100) for at in TIMES]
    run = soak.Run(
        run="2026-01-01T00:00:00+00:00",
        minutes=4.0,
        capacity=(100.0, 90.0),
        answers=answers,
        samples=[each for each in samples if each.role not in members.get("without", ())],
        machine=machine,
        decisions=Counter({"approved": 3}),
        problems=members.get("problems", []),
    )
    return soak.summary(run)


def test_a_soak_without_failure_and_growth_holds() -> None:
    found = figures()
    assert found["holds"]
    assert (found["failed"], found["asked_per_second"]) == ({}, 70.0)
    assert (found["capacity_per_second"], found["capacity_after_per_second"]) == (100.0, 90.0)


def test_one_failed_request_or_a_problem_does_not() -> None:
    failed = figures(status=503)
    assert (failed["holds"], failed["failed"]) == (False, {"503 not_ready": 1})
    assert not figures(problems=["a canary did not end"])["holds"]


@pytest.mark.parametrize(
    ("role", "measure"), [(role, measure) for role, found in soak.JUDGED.items() for measure in found]
)
def test_a_leak_in_any_process_does_not_hold(role: str, measure: str) -> None:
    found = figures(leak=(role, measure, 0.1))
    assert not found["holds"]
    assert not found["growth"][role][0][measure]["holds"]


def test_connections_of_the_inference_function_may_come() -> None:
    assert figures(leak=(soak.INFERENCE, "handles", 0.1))["holds"]


def test_an_instance_that_scale_out_started_is_no_growth() -> None:
    found = figures(late=True)
    assert found["holds"]
    assert [each["from_s"] for each in found["growth"][soak.SERVERS]] == [60.0, 120.0]
    assert [entry["instances"] for entry in found["timeline"]] == [1] * 6 + [2] * 18


@pytest.mark.parametrize("role", sorted(soak.NEEDED))
def test_what_was_not_seen_is_not_shown(role: str) -> None:
    found = figures(without=(role,))
    assert (found["holds"], found["growth_not_shown"]) == (False, [role])
    assert figures(without=(soak.TRIAL,))["holds"]


def test_every_ten_seconds_is_told_of() -> None:
    entry = figures()["timeline"][3]
    assert (entry["at"], entry["requests"], entry["p50_ms"], entry["p99_ms"]) == (30.0, 5, 10.0, 10.0)
    assert (entry["load"], entry["steal_s"]) == (2.0, 0.1)
    assert entry["processes"][soak.CLOUD] == {"rss_mb": 100.0, "handles": 50.0, "threads": 20.0}


def test_cpu_is_of_the_time_between_samples() -> None:
    samples = [sample(at, pid, "server", cpu_s=50 * pid + at / 4) for pid in (1, 2) for at in (0, 4, 8, 12)]
    first, second = timeline(20.0, [], samples, [])
    assert (first["cpu_s"], second["cpu_s"]) == ({"server": 4.0}, {"server": 2.0})
    assert (first["p50_ms"], first["load"]) == (None, None)


def test_the_picture_is_drawn_from_the_figures_beside_it(tmp_path: Path) -> None:
    found = figures(late=True)
    (tmp_path / "soak.json").write_text(json.dumps(found))
    picture = draw(tmp_path / "soak.json")
    assert picture == tmp_path / "soak.svg"
    text = picture.read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert f"run {found['run']}" in text
    assert all(word in text for word in ("instances", "load average", "s stolen", "ms p99"))


WAITS = "import sys; print('ready', flush=True); sys.stdin.read()"
SERVER_LIKE = f"""
import os, subprocess, sys
trial = subprocess.Popen([sys.executable, "-c", "{WAITS}", "training.serving.trial"])
zombie = subprocess.Popen(["true"])
os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
print("ready", flush=True)
sys.stdin.read()
"""
SETS_UP = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
CLOUD_LIKE = f"""
import os, subprocess, sys
function = os.environ | {{"AWS_LAMBDA_FUNCTION_NAME": "f-1"}}
subprocess.Popen([sys.executable, "-c", "{WAITS}"], env=function)
server = os.environ | {{"SAGEMAKER_BIND_TO_PORT": "1"}}
subprocess.run([sys.executable, *sys.argv[1:]], env=server)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Popen[bytes]]:
    """As a cloud starts them: what sets a container up, a server, its trial, a zombie, and a function."""
    launcher = tmp_path / "containers" / "launcher.py"
    launcher.parent.mkdir()
    launcher.write_text(SETS_UP)
    command = [sys.executable, "-c", CLOUD_LIKE, str(launcher), SERVER_LIKE]
    with Popen(command, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _each in ("server", "trial", "function"):
            assert process.stdout.readline() == b"ready\n"
        yield process
        process.stdin.close()


def test_processes_have_the_roles_that_they_play(tree: Popen[bytes]) -> None:
    found = look(tree.pid, os.getpid(), {"f-1": soak.DEPLOYER}, 1.0)
    assert Counter(each.role for each in found) == {
        soak.CLOUD: 1, CLIENT: 1, soak.SERVERS: 1, soak.TRIAL: 1, soak.DEPLOYER: 1,
    }  # fmt: skip
    assert all(each.rss_mb > 1 and each.handles >= 3 and each.threads >= 1 for each in found)


def test_a_connection_is_a_handle_of_who_opened_it_and_a_dead_one_of_who_forgot_it() -> None:
    def handles() -> int:
        (found,) = (each for each in look(os.getpid(), 0, {}, 1.0) if each.role == soak.CLOUD)
        return found.handles

    with socket.create_server(("127.0.0.1", 0)) as server:
        before = handles()
        clients = [socket.create_connection(server.getsockname()) for _ in range(3)]
        taken = [server.accept()[0] for _ in clients]
        assert handles() == before + 3  # both ends are this process's: those that opened count
        for client in clients:
            client.close()
        assert handles() == before + 3  # forgotten by who took them
        for connection in taken:
            connection.close()
        assert handles() == before


def test_the_sampler_looks_from_its_first_moment_to_its_last(tree: Popen[bytes]) -> None:
    began = time.monotonic()
    with Sampler(tree.pid, {"f-1": soak.DEPLOYER}) as sampler:
        time.sleep(3.0)
    samples, moments = sampler.read(began)
    assert len(moments) >= 1
    assert all(0 <= each.at < 30 and each.load >= 0 for each in moments)
    assert {each.role for each in samples} >= {soak.CLOUD, soak.SERVERS, soak.DEPLOYER, CLIENT}
