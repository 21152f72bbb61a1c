"""What the server and its children see of the environment that it was started in."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud import tls
from localcloud.connect import shell_exports
from localcloud.context import RUN_ID_VARIABLE, Cloud, Credentials
from localcloud.environment import server_environment
from localcloud.folder import StateFolder
from localcloud.run import Refused, bind

FILES = tls.TlsFiles(Path("ca"), Path("cert"), Path("key"), Path("bundle"))
KEY = Credentials(access_key_id="AKIA", secret_access_key="se'cret")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(
        account="000000000000",
        region="us-east-1",
        endpoint_url="https://localhost:4566",
        ca_bundle=tmp_path / "bundle.pem",
        folder=StateFolder(tmp_path),
        run_id="run",
    )


def test_a_real_account_stays_outside(cloud: Cloud) -> None:
    inherited = {
        "AWS_PROFILE": "production",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_SESSION_TOKEN": "real",
        "LOCALSTACK_PERSISTENCE": "1",
        "SERVICES": "s3",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_TOKEN": "secret",
        "DATABASE_PASSWORD": "secret",
        "HTTPS_PROXY": "http://user:secret@proxy",
        "HOME": "/home/user",
        "PATH": "/usr/bin",
    }
    seen = server_environment(cloud, FILES, 4566, inherited)
    assert set(inherited) & set(seen) == {"HOME", "PATH"}
    assert seen["HOME"] == "/home/user"
    assert seen["PATH"].endswith("/usr/bin")


def test_no_docker_daemon_is_seen(cloud: Cloud) -> None:
    seen = server_environment(cloud, FILES, 4566, {"DOCKER_HOST": "tcp://daemon:2375"})
    socket = seen["DOCKER_HOST"].removeprefix("unix://")
    assert socket.startswith(str(cloud.folder.root))
    assert not Path(socket).exists()


def test_no_proxy_is_asked_for_this_machine(cloud: Cloud) -> None:
    seen = server_environment(cloud, FILES, 4566, {"NO_PROXY": "internal", "HTTPS_PROXY": "http://proxy"})
    assert seen["NO_PROXY"] == seen["no_proxy"] == "*"
    assert "HTTPS_PROXY" not in seen


def test_children_carry_the_mark_and_clients_do_not(cloud: Cloud) -> None:
    assert cloud.environment(None)[RUN_ID_VARIABLE] == "run"
    client = Cloud(
        account=cloud.account,
        region=cloud.region,
        endpoint_url=cloud.endpoint_url,
        ca_bundle=cloud.ca_bundle,
        folder=cloud.folder,
    )
    assert RUN_ID_VARIABLE not in client.environment(KEY)
    assert RUN_ID_VARIABLE not in shell_exports(client, KEY)


def test_a_child_without_credentials_finds_none_elsewhere(cloud: Cloud) -> None:
    seen = cloud.environment(None)
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & seen.keys()
    assert seen["AWS_SHARED_CREDENTIALS_FILE"] == seen["AWS_CONFIG_FILE"] == "/dev/null"
    assert seen["AWS_EC2_METADATA_DISABLED"] == "true"


def test_exports_survive_the_shell(cloud: Cloud) -> None:
    assert "export AWS_SECRET_ACCESS_KEY='se'\"'\"'cret'\n" in shell_exports(cloud, KEY)
    assert "secret" not in repr(KEY)


def test_a_port_that_is_not_permitted_or_taken_is_one_line() -> None:
    listener, port = bind(0, None)
    listener.listen()
    try:
        with pytest.raises(Refused, match=f"Port {port} of 127.0.0.1 is in use"):
            bind(port, None)
        # The last run's port is only a wish.
        other, another = bind(0, port)
        other.close()
        assert another != port
    finally:
        listener.close()
