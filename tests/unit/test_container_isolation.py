"""What a container must not see of the cloud that runs it, and that nothing outlives it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from localcloud.containers.engine import ContainerSpec, Engine
from localcloud.containers.image import Image, ImageStore
from localcloud.context import RUN_ID_VARIABLE, Cloud
from localcloud.folder import StateFolder

DOCKERFILE = """
FROM python:3.11
WORKDIR /opt/program
COPY main.py .
COPY tool /usr/local/bin/modelyard-test-tool
ENTRYPOINT ["python3", "main.py"]
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    folder = StateFolder(tmp_path_factory.mktemp("state"))
    folder.create()
    folder.credentials_json.write_text('{"secret_access_key": "the administrator"}')
    folder.tls.mkdir()
    (folder.tls / "ca-key.pem").write_text("the authority's key")
    (folder.tls / "bundle.pem").write_text("certificates")
    (folder.ministack / "object").write_text("somebody's object")
    return Cloud(
        account="0" * 12,
        region="us-east-1",
        endpoint_url="https://localhost:1",
        ca_bundle=folder.tls / "bundle.pem",
        folder=folder,
        run_id="run-1",
    )


@pytest.fixture(scope="module")
def image(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Image:
    context = tmp_path_factory.mktemp("context")
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "main.py").write_text("import json, os, subprocess, sys; exec(os.environ['CODE'])")
    (context / "tool").write_text("#!/bin/sh\necho tool\n")
    (context / "tool").chmod(0o755)
    return ImageStore(cloud.folder.images).build(context)


@pytest.fixture(scope="module")
def engine(cloud: Cloud) -> Iterator[Engine]:
    made = Engine(cloud.folder.containers / "jobs", cloud)
    yield made
    made.close()


def run(engine: Engine, image: Image, cloud: Cloud, code: str, **environment: str) -> list[str]:
    container, lines = engine.create("test"), list[str]()
    variables = {**cloud.environment(None), **environment, "CODE": code}
    container.start(ContainerSpec(image=image, environment=variables), lines.extend)
    assert container.wait(180) == 0, lines
    container.remove()
    return lines


SEEN = """
state = os.environ['STATE']
found = [os.path.join(top, name) for top, _, names in os.walk(state) for name in names]
print(json.dumps(found)); print(open(os.environ['AWS_CA_BUNDLE']).read())
subprocess.run(['modelyard-test-tool'])
"""


def test_of_the_state_folder_only_the_containers_own_part_is_there(
    engine: Engine, image: Image, cloud: Cloud
) -> None:
    other = engine.create("other")
    (other.base / "secret").write_text("another job's data")
    listed, bundle, tool = run(engine, image, cloud, SEEN, STATE=str(cloud.folder.root))
    names = {Path(path).name for path in json.loads(listed)}
    assert "ca.pem" in names
    assert not names & {"credentials.json", "ca-key.pem", "object", "secret", "bundle.pem"}
    assert (bundle, tool) == ("certificates", "tool")
    other.remove()


@pytest.mark.parametrize(
    "attempt",
    [
        "subprocess.run(['umount', state])",
        "subprocess.run(['unshare', '-m', 'umount', state])",
        "subprocess.run(['unshare', '-U', '-r', '-m', 'umount', state])",
        "subprocess.run(['nsenter', '-t', '1', '-m', 'true'])",
        "os.chroot('/proc/1/root')",
        "state = f'/proc/{os.environ[\"OUTSIDE\"]}/root' + state",
    ],
)
def test_the_cover_cannot_be_taken_off(engine: Engine, image: Image, cloud: Cloud, attempt: str) -> None:
    code = (
        f"state = os.environ['STATE']\ntry:\n    {attempt}\nexcept OSError: pass\n"
        "print(os.path.exists(state + '/credentials.json'))"
    )
    lines = run(engine, image, cloud, code, STATE=str(cloud.folder.root), OUTSIDE=str(os.getpid()))
    assert lines[-1] == "False"


def test_a_machines_processes_are_not_the_containers_to_see(
    engine: Engine, image: Image, cloud: Cloud
) -> None:
    code = "print(sum(name.isdigit() for name in os.listdir('/proc')), os.getpid() < 10)"
    assert run(engine, image, cloud, code) == ["2 True"]


def test_a_process_without_environment_and_group_ends_with_its_container(
    engine: Engine, image: Image, cloud: Cloud
) -> None:
    mark = f"98765.{os.getpid()}"  # of these tests, and of no others on this machine
    code = f"subprocess.Popen(['env', '-i', 'setsid', 'sleep', '{mark}'])\nimport time; time.sleep(0.3)"
    run(engine, image, cloud, code)
    deadline = time.monotonic() + 60
    while any(mark in (process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_request_cannot_take_the_marks_off(engine: Engine, image: Image, cloud: Cloud) -> None:
    code = f"print(os.environ['{RUN_ID_VARIABLE}'])"
    assert run(engine, image, cloud, code, **{RUN_ID_VARIABLE: "other"}) == ["run-1"]


def test_the_images_files_cannot_be_changed_for_the_next_container(
    engine: Engine, image: Image, cloud: Cloud
) -> None:
    code = "\n".join(
        [
            "try:",
            "    open(os.environ['ROOT'] + '/usr/local/bin/modelyard-test-tool', 'a')",
            "except OSError as error:",
            "    print(error.strerror)",
        ]
    )
    assert run(engine, image, cloud, code, ROOT=str(image.root)) == ["Read-only file system"]


def test_a_network_outlives_the_first_that_joins_it(engine: Engine, image: Image, cloud: Cloud) -> None:
    with engine.network() as network:

        def joined(code: str) -> list[str]:
            container, lines = engine.create("peer"), list[str]()
            variables = {**cloud.environment(None), "CODE": "import socket; " + code}
            spec = ContainerSpec(
                image=image, environment=variables, isolate_network=True, network_of=network.pid
            )
            container.start(spec, lines.extend)
            assert container.wait(180) == 0, lines
            container.remove()
            return lines

        space = "print(os.readlink('/proc/self/ns/net'))"
        first, second = joined(space), joined(space)
        assert first == second
        assert first != [str(Path("/proc/self/ns/net").readlink())]
        # Its loopback is up.
        assert joined("socket.create_server(('127.0.0.1', 1)); print('up')") == ["up"]
    assert not psutil.pid_exists(network.pid)


def test_a_network_ends_with_the_engine(cloud: Cloud) -> None:
    engine = Engine(cloud.folder.containers / "short", cloud)
    network = engine.network()
    engine.close()
    deadline = time.monotonic() + 60
    while psutil.pid_exists(network.pid) and psutil.Process(network.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    network.close()


def test_a_socket_among_temporary_files_has_a_short_name(engine: Engine, image: Image, cloud: Cloud) -> None:
    """Python's multiprocessing makes such; the folder of a container may have a long path."""
    code = (
        "import socket, tempfile; path = tempfile.mkdtemp() + '/listener'; "
        "socket.socket(socket.AF_UNIX).bind(path); print(len(path) < 60, os.path.exists(path))"
    )
    assert run(engine, image, cloud, code) == ["True True"]
    # Each container has its own.
    assert run(engine, image, cloud, "import tempfile; print(os.listdir(tempfile.gettempdir()))") == ["[]"]
