"""Commands of SSM, and the programs of hosts that need none."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from localcloud.ec2.desk import Desk
from localcloud.ec2.documents import DocumentError, find, keep, script_of
from localcloud.ec2.instance_metadata import InstanceMetadata
from localcloud.ec2.programs import Shutdown
from localcloud.sagemaker.store import Store

DOCUMENT: dict[str, Any] = {
    "parameters": {
        "Job": {"type": "String", "allowedPattern": "^[a-z]+$"},
        "Kind": {"type": "String", "default": "small", "allowedValues": ["small", "large"]},
    },
    "mainSteps": [
        {
            "name": "Do",
            "action": "aws:runShellScript",
            "inputs": {"timeoutSeconds": "60", "runCommand": ["echo {{ Job }} {{Kind}}", "true"]},
        }
    ],
}


def test_parameters_are_filled_in() -> None:
    assert script_of(DOCUMENT, {"Job": ["dogs"]}) == ("Do", "echo dogs small\ntrue\n", 60.0)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"Job": ["dogs; rm"]},
        {"Job": ["dogs\n"]},
        {"Job": ["a", "b"]},
        {"Job": ["a"], "Kind": ["huge"]},
        {"Job": ["a"], "Other": ["b"]},
    ],
)
def test_nothing_else_gets_into_a_script(given: dict[str, list[str]]) -> None:
    with pytest.raises(DocumentError) as raised:
        script_of(DOCUMENT, given)
    assert raised.value.code == "InvalidParameters"


@pytest.mark.parametrize(
    "steps", [[], [*DOCUMENT["mainSteps"]] * 2, [{"name": "Do", "action": "aws:runDocument"}]]
)
def test_documents_of_other_steps_are_refused(steps: list[dict[str, Any]]) -> None:
    with pytest.raises(DocumentError, match="documents of one step"):
        script_of({**DOCUMENT, "mainSteps": steps}, {"Job": ["dogs"]})


@pytest.mark.parametrize("given", [{"executionTimeout": ["soon"]}, {"workingDirectory": ["/tmp"]}])
def test_what_is_not_served_of_a_shell_script_is_refused(tmp_path: Path, given: dict[str, list[str]]) -> None:
    store = Store(tmp_path / "ssm.db")
    document = find(store, "AWS-RunShellScript", "us-east-1", "000000000000")
    assert script_of(document, {"commands": ["a", "b"], "executionTimeout": ["60"]})[1:] == ("a\nb\n", 60.0)
    with pytest.raises(DocumentError) as raised:
        script_of(document, {"commands": ["a"], **given})
    assert raised.value.code == "InvalidParameters"
    store.close()


def test_a_timeout_is_a_number() -> None:
    steps = [{**DOCUMENT["mainSteps"][0], "inputs": {"timeoutSeconds": "{{ Job }}", "runCommand": ["true"]}}]
    with pytest.raises(DocumentError, match="timeoutSeconds is 'dogs'"):
        script_of({**DOCUMENT, "mainSteps": steps}, {"Job": ["dogs"]})


WHERE = "arn:aws:ssm:us-east-1"


@pytest.mark.parametrize(
    "reference",
    [
        "other/Do",
        f"{WHERE}:000000000000:document/other/Do",
        f"{WHERE}:111111111111:document/Do",
        "arn:aws:ssm:us-west-2:000000000000:document/Do",
        f"{WHERE}::document/Do",
        f"{WHERE}:000000000000:document/AWS-RunShellScript",
        f"{WHERE}:000000000000:document/Do\n",
    ],
)
def test_a_document_is_the_one_that_iam_was_asked_about(tmp_path: Path, reference: str) -> None:
    store, here = Store(tmp_path / "ssm.db"), ("us-east-1", "000000000000")
    keep(store, "Do", DOCUMENT)
    assert find(store, "Do", *here) == find(store, f"{WHERE}:000000000000:document/Do", *here) == DOCUMENT
    assert find(store, f"{WHERE}::document/AWS-RunShellScript", *here)["mainSteps"]
    with pytest.raises(DocumentError, match="does not exist"):
        find(store, reference, *here)
    store.close()


def test_a_later_shutdown_takes_the_place_of_an_earlier_one() -> None:
    ended = threading.Event()
    shutdown = Shutdown(ended.set)
    said: list[str] = []

    def say(**message: Any) -> None:
        said.append(message["err"])

    assert shutdown.run(["-h", "+90"], say) == 0
    assert shutdown.run(["-h", "now"], say) == 0
    assert ended.wait(60)
    assert shutdown.run(["-h", "soon"], say) == 1
    assert "soon" in said[-1]
    ended.clear()
    others = set(threading.enumerate())
    shutdown.run(["-h", "+90"], say)
    (timer,) = set(threading.enumerate()) - others
    shutdown.run(["-c"], say)
    timer.join(60)
    assert not timer.is_alive()
    assert not ended.is_set()


def test_the_desk_answers_nobody_without_its_token() -> None:
    asked: list[str] = []

    def run(program: str, *_more: Any) -> int:
        asked.append(program)
        return 0

    desk = Desk("known", run=run, hear=lambda _message: None, user_data="")
    for token, answer in (("known", b'{"code": 0}\n'), ("other", b""), ("\u00e9", b"")):
        here, there = socket.socketpair()
        with here:
            request = {"token": token, "program": "dnf", "arguments": [], "stdin": ""}
            here.sendall(json.dumps(request, ensure_ascii=False).encode() + b"\n")
            desk._serve(there)
            assert here.recv(100) == answer
    assert asked == ["dnf"]


def test_metadata_take_a_token_that_lasts() -> None:
    metadata = InstanceMetadata(
        facts=lambda: {"instance-id": "i-1", "placement/region": "r", "_account": "1"},
        role="",
        credentials=None,
        tokens_required=True,
    )
    root = "/latest/meta-data/"
    assert metadata.get(f"{root}instance-id", {})[0] == 401
    assert metadata.token({})[0] == 400
    status, token = metadata.token({"x-aws-ec2-metadata-token-ttl-seconds": "60"})
    known = {"x-aws-ec2-metadata-token": token}
    assert status == 200
    assert metadata.get(f"{root}instance-id", known) == (200, "i-1")
    assert metadata.get(root, known) == (200, "instance-id\nplacement/")
    assert metadata.get(f"{root}spot/instance-action", known)[0] == 404
    assert metadata.get(f"{root}instance-id", {"x-aws-ec2-metadata-token": "other"})[0] == 401
