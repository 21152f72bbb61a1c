"""Containers as processes: real ones, without a cloud."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from localcloud.containers import engine as engine_module
from localcloud.containers.engine import Container, ContainerRefusedError, ContainerSpec, Engine
from localcloud.containers.image import Image, ImageStore
from localcloud.containers.output import MAX_LINE
from localcloud.containers.paths import Paths
from localcloud.containers.processes import signal_group

DOCKERFILE = """
FROM python:3.11
WORKDIR /opt/program
COPY main.py .
COPY tool /usr/local/bin/modelyard-test-tool
ENV HOME_OF_CODE=/opt/program DATA=/opt/ml/data
ENTRYPOINT ["python3", "main.py"]
CMD ["default"]
"""
MAIN = "import sys, os; exec(os.environ.get('CODE', 'print(sys.argv[1:])'))"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    context = tmp_path_factory.mktemp("context")
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "main.py").write_text(MAIN)
    (context / "tool").write_text("#!/bin/sh\necho tool $1\n")
    (context / "tool").chmod(0o755)
    return ImageStore(tmp_path_factory.mktemp("images")).build(context)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = Engine(tmp_path_factory.mktemp("containers"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """As on a machine without namespaces."""
    made = Engine(tmp_path_factory.mktemp("plain"))
    made.__dict__["isolates"] = False
    yield made
    made.close()


def run(engine: Engine, image: Image, code: str = "", **spec: object) -> tuple[int, list[str]]:
    container, lines = start(engine, image, code, **spec)
    result = container.wait(180)
    assert result is not None
    container.remove()
    return result, lines


def start(engine: Engine, image: Image, code: str = "", **spec: object) -> tuple[Container, list[str]]:
    container, lines = engine.create("test"), list[str]()
    environment = {"CODE": code} if code else {}
    container.start(ContainerSpec(image=image, environment=environment, **spec), lines.extend)  # type: ignore[arg-type]
    return container, lines


def test_entrypoint_command_and_what_replaces_them(engine: Engine, image: Image) -> None:
    assert run(engine, image) == (0, ["['default']"])
    assert run(engine, image, arguments=["train", "-x"]) == (0, ["['train', '-x']"])
    assert run(engine, image, entrypoint=["modelyard-test-tool"], arguments=["7"]) == (0, ["tool 7"])
    code, lines = run(engine, image, entrypoint=["no-such-program"])
    assert code == 127
    assert "no-such-program" in lines[0]


def test_the_image_lies_where_it_says(engine: Engine, image: Image) -> None:
    code = (
        "import pathlib; print(os.getcwd(), os.environ['HOME_OF_CODE'],"
        "pathlib.Path('/opt/program/main.py').exists(),"
        "os.environ['SAGEMAKER_BASE_DIR'], pathlib.Path('/opt/ml').is_dir())"
    )
    assert run(engine, image, code) == (0, ["/opt/program /opt/program True /opt/ml True"])


def test_changes_stay_in_the_container(engine: Engine, image: Image) -> None:
    assert run(engine, image, "open('/opt/program/made','w'); open('/opt/ml/made','w')")[0] == 0
    assert (
        run(engine, image, "print(os.listdir('/opt/program'), os.listdir('/opt/ml'))")[1][0].count("made")
        == 0
    )
    assert not Path("/opt/ml/made").exists()


def test_without_namespaces_paths_are_rewritten(plain: Engine, image: Image) -> None:
    code, lines = run(
        plain, image, "print(os.environ['HOME_OF_CODE']); print(os.environ['DATA'], os.getcwd())"
    )
    assert code == 0
    assert lines[0] == str(image.root / "opt/program")
    assert lines[1].split()[0].endswith("/ml/data")
    assert lines[1].split()[1] == str(image.root / "opt/program")


def test_without_namespaces_what_needs_them_is_refused(plain: Engine, image: Image) -> None:
    container = plain.create("test")
    script = container.outside("/opt/ml/code/main.py")
    script.parent.mkdir()
    script.write_text("open('/opt/ml/model/x')")
    spec = ContainerSpec(image=image, entrypoint=["python", "/opt/ml/code/main.py"])
    with pytest.raises(ContainerRefusedError, match=r"main\.py hard-codes /opt/ml"):
        container.start(spec, lambda _: None)
    script.write_text("import os; base = os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml')")
    container.start(spec, lambda _: None)
    assert container.wait(180) == 0
    with pytest.raises(ContainerRefusedError, match="EnableNetworkIsolation"):
        plain.create("test").start(ContainerSpec(image=image, isolate_network=True), lambda _: None)


@pytest.mark.parametrize("path", ["/etc/passwd", "/opt/ml/../../etc", "/opt/mlx", "relative"])
def test_paths_of_requests_stay_below_opt_ml(engine: Engine, path: str) -> None:
    with pytest.raises(ContainerRefusedError, match="must lie below /opt/ml"):
        engine.create("test").outside(path)


def test_output_comes_line_by_line(engine: Engine, image: Image) -> None:
    code = f"sys.stderr.write('err\\n'); print('a\\n\\nb'); sys.stdout.write('x' * {MAX_LINE + 5} + '\\nend')"
    _, lines = run(engine, image, code)
    assert lines[:4] == ["err", "a", "", "b"]
    assert [len(line) for line in lines[4:]] == [MAX_LINE, 5, 3]


def test_a_failing_sink_does_not_stop_the_process(engine: Engine, image: Image) -> None:
    def fail(_: list[str]) -> None:
        raise RuntimeError("full")

    container = engine.create("test")
    container.start(ContainerSpec(image=image, environment={"CODE": "print('x' * 1000000)"}), fail)
    assert container.wait(180) == 0


def test_nothing_of_the_machine_s_environment_leaks(
    engine: Engine, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    monkeypatch.setenv("AWS_PROFILE", "real")
    _, lines = run(
        engine, image, "print(sorted(n for n in os.environ if n.startswith('AWS')), os.environ['HOME'])"
    )
    assert lines[0].startswith("[] ")
    assert not lines[0].endswith(os.environ.get("HOME", "/nowhere"))


def test_stop_is_sigterm_then_sigkill(engine: Engine, image: Image) -> None:
    polite = "import signal,time; signal.signal(15, lambda *_: sys.exit(3)); print('up'); time.sleep(600)"
    container, lines = start(engine, image, polite)
    _until(lambda: "up" in lines)
    assert container.stop(60) == 3
    deaf = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
    container, lines = start(engine, image, deaf)
    _until(lambda: "up" in lines)
    began = time.monotonic()
    assert container.stop(0.2) == 137
    assert time.monotonic() - began < 30


def test_stop_without_grace_is_sigkill_alone(
    engine: Engine, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a host is lost: a program that obeys SIGTERM fast enough would end otherwise."""
    sent: list[int] = []

    def send(group: int, number: signal.Signals) -> bool:
        sent.append(number)
        return signal_group(group, number)

    monkeypatch.setattr(engine_module, "signal_group", send)
    container, lines = start(engine, image, "import time; print('up'); time.sleep(60)")
    _until(lambda: "up" in lines)
    assert container.stop(0) == 137
    assert set(sent) == {signal.SIGKILL}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """As on a machine that gives mounts and no process namespace."""
    made = Engine(tmp_path_factory.mktemp("shared"))
    made.__dict__.update(isolates=True, separates_processes=False)
    yield made
    made.close()


@pytest.mark.parametrize("machine", ["plain", "shared"])
def test_no_process_outlives_its_container(
    machine: str, image: Image, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(machine)
    code = (
        "import subprocess; a = subprocess.Popen(['sleep', '99']);"
        "b = subprocess.Popen(['sleep', '99'], start_new_session=True); print(a.pid, b.pid)"
    )
    result, lines = run(engine, image, code)
    assert result == 0
    _until(lambda: not any(_alive(int(pid)) for pid in lines[0].split()))


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(condition: object) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_close_stops_everything_and_starts_nothing(tmp_path: Path, image: Image) -> None:
    made = Engine(tmp_path)
    container, lines = start(made, image, "import time; print('up'); time.sleep(600)")
    _until(lambda: lines)
    made.close(grace=60)
    assert container.wait(0) == 143
    with pytest.raises((ContainerRefusedError, RuntimeError)):
        start(made, image)


def test_search_path_puts_the_interpreter_before_the_machine(image: Image, tmp_path: Path) -> None:
    entries = Paths(image, tmp_path, bound=True).search_path().split(":")
    assert entries[0] == str(image.root / "usr/local/bin")
    assert entries[1] == str(Path(engine_module.sys.executable).parent)
