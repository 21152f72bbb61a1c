"""Our shortcuts answer what MiniStack's own look-ups answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ministack.core import iam_evaluator
from ministack.services import dynamodb, iam, s3, sts

from localcloud.aws import shortcuts

ACCOUNT = "000000000000"
KEYS = [
    "a",
    "a/b/c.txt",
    "a//b",
    "../a",
    "x.tmp",
    ".ministack-keys/a",
    "ü +%.txt",
    "a/b",
    "folder",
    "d/" + "n" * 300,
]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Callable[..., Any], ...]]:
    """MiniStack's look-ups; ours stand in their places until the test ends."""
    look_ups = s3._key_disk_path, iam_evaluator.request_caller_arn, dynamodb.parse_partiql_statement
    monkeypatch.setattr(s3, "_key_disk_path", look_ups[0])
    monkeypatch.setattr(iam_evaluator, "request_caller_arn", look_ups[1])
    monkeypatch.setattr(dynamodb, "parse_partiql_statement", look_ups[2])
    shortcuts.apply()
    yield look_ups
    sts._sessions.clear()
    iam._access_keys.clear()


@pytest.mark.parametrize("key", KEYS)
def test_a_key_s_file(tmp_path: Path, own: tuple[Callable[..., Any], ...], key: str) -> None:
    (tmp_path / "folder").mkdir()
    for _ in ("before it is written", "after"):
        path = s3._key_disk_path(str(tmp_path), key)
        assert path == own[0](str(tmp_path), key)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("content")


def test_who_calls(own: tuple[Callable[..., Any], ...]) -> None:
    session = {
        "SecretAccessKey": "s",
        "PrincipalType": "AssumedRole",
        "AccountId": ACCOUNT,
        "UserId": "AROA:s",
    }
    sts._sessions["ASIAROLE"] = {**session, "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s"}
    iam._access_keys["AKIAUSER"] = {"UserName": "u", "SecretAccessKey": "s", "Status": "Active"}
    iam._access_keys["AKIAOFF"] = {"UserName": "u", "SecretAccessKey": "s", "Status": "Inactive"}

    def header(key: str) -> dict[str, str]:
        return {"authorization": f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s3/aws4_request, Sig"}

    for key, arn in {
        "ASIAROLE": f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s",
        "AKIAUSER": f"arn:aws:iam::{ACCOUNT}:user/u",
        "AKIAOFF": f"arn:aws:iam::{ACCOUNT}:root",
        "AKIANOBODY": f"arn:aws:iam::{ACCOUNT}:root",
    }.items():
        assert iam_evaluator.request_caller_arn(header(key), {}) == own[1](header(key), {}) == arn
    assert iam_evaluator.request_caller_arn({}) == own[1]({}) == f"arn:aws:iam::{ACCOUNT}:root"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("INSERT INTO \"a.b\" VALUE {'id': ?, 'of': ?}", 2),
        ("INSERT INTO \"a.b\" VALUE {'id': ?, 'of': ?}", 1),
        ("INSERT INTO \"a.b\" VALUE {'id': ?, 'of': ?}", 3),
        ("INSERT INTO t VALUE {'id': ?, 'id': ?}", 2),
        ("INSERT INTO t VALUE {'id': '?', 'of': ?}", 1),
        ("INSERT INTO t VALUE {'id': {'of': ?}}", 1),
        ("INSERT INTO t VALUE {'id': '0'}", 0),
        ("INSERT INTO t VALUE ?", 1),
        ("INSERT INTO t VALUE {'id': ?} -- ?", 1),
        ("UPDATE t SET x = ? WHERE id = ?", 2),
        ("SELECT * FROM t WHERE id = ?", 1),
        ("INSERT INTO t VALUES {'id': ?}", 1),
    ],
)
def test_what_a_statement_says(own: tuple[Callable[..., Any], ...], text: str, count: int) -> None:
    def said(parse: Callable[..., Any], value: str) -> Any:
        try:
            return parse(text, [{"S": f"{value}-{number}"} for number in range(count)])
        except ValueError as error:
            return str(error)

    for value in ("first", "second"):  # once read, and once known
        assert said(dynamodb.parse_partiql_statement, value) == said(own[2], value)
