"""Containers get their role's credentials by asking, so they outlive a session."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from localcloud.aws.errors import RoleNotAssumable
from localcloud.aws.sessions import RoleSession
from localcloud.containers.credentials import CredentialServer
from localcloud.containers.engine import ContainerSpec, Engine
from localcloud.containers.image import ImageStore
from localcloud.context import Credentials

URI, TOKEN = "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"
ASK_TWICE = """
import boto3, os, time
assert "AWS_ACCESS_KEY_ID" not in os.environ
credentials = boto3.Session().get_credentials()
first = credentials.get_frozen_credentials()
time.sleep(4.5)
second = credentials.get_frozen_credentials()
print(first.access_key, second.access_key, second.secret_key, second.token)
"""


@pytest.fixture
def server() -> Iterator[CredentialServer]:
    made = CredentialServer()
    yield made
    made.close()


def session(lasts: timedelta) -> RoleSession:
    """A session whose keys are numbered."""
    numbers = count(1)

    def assume() -> Credentials:
        return Credentials(
            access_key_id=f"ASIA{next(numbers)}",
            secret_access_key="secret",
            session_token="token",
            expiration=datetime.now(UTC) + lasts,
        )

    return RoleSession(assume)


def ask(uri: str, token: str) -> tuple[int, dict[str, str]]:
    request = urllib.request.Request(uri, headers={"Authorization": token})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.parametrize(("minutes", "keys"), [(60, ["ASIA1", "ASIA1"]), (29, ["ASIA1", "ASIA2"])])
def test_a_session_is_kept_until_near_its_end(minutes: int, keys: list[str]) -> None:
    role = session(timedelta(minutes=minutes))
    assert [role().access_key_id, role().access_key_id] == keys


def test_each_container_gets_its_own_with_its_own_token(server: CredentialServer) -> None:
    one = server.offer("one", session(timedelta(hours=1)))
    other = server.offer("other", session(timedelta(hours=1)))
    assert one[URI].startswith("http://127.0.0.1:")
    status, found = ask(one[URI], one[TOKEN])
    assert status == 200
    assert found["AccessKeyId"] == "ASIA1"
    assert datetime.fromisoformat(found["Expiration"]) > datetime.now(UTC)
    for uri, token in ((one[URI], other[TOKEN]), (one[URI], ""), (one[URI] + "x", one[TOKEN])):
        status, found = ask(uri, token)
        assert status == 401
        assert "AccessKeyId" not in found
    server.withdraw("one")
    assert ask(one[URI], one[TOKEN])[0] == 401
    assert ask(other[URI], other[TOKEN])[0] == 200


def test_a_role_that_is_gone_is_told(server: CredentialServer) -> None:
    def gone() -> Credentials:
        raise RoleNotAssumable("arn:aws:iam::1:role/gone", "sagemaker.amazonaws.com")

    offer = server.offer("c", gone)
    status, found = ask(offer[URI], offer[TOKEN])
    assert status == 400
    assert "role/gone" in found["message"]


def test_a_container_works_on_after_its_session_ended(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text('FROM python:3.11\nCOPY main.py /opt/p/\nENTRYPOINT ["python"]\n')
    (context / "main.py").write_text(ASK_TWICE)
    image = ImageStore(tmp_path / "images").build(context)
    engine = Engine(tmp_path / "containers")
    lines: list[str] = []
    try:
        container = engine.create("test")
        spec = ContainerSpec(
            image=image, arguments=["/opt/p/main.py"], credentials=session(timedelta(seconds=4))
        )
        container.start(spec, lines.extend)
        assert container.wait(180) == 0, lines
        assert not engine.credentials._offers
    finally:
        engine.close()
    first, second, *rest = lines[-1].split()
    assert first != second
    assert rest == ["secret", "token"]
