"""A SageMaker without a cloud: its store is real, IAM is a stand-in that notes what it is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from localcloud.aws.errors import AccessDenied, RoleNotFound
from localcloud.aws.identity import Caller
from localcloud.aws.service import Request, Response
from localcloud.context import Cloud
from localcloud.folder import StateFolder
from localcloud.sagemaker import authorization, protocol, service
from localcloud.sagemaker.service import SageMaker
from localcloud.sagemaker.store import Store

ARN = "arn:aws:sagemaker:us-east-1:000000000000:"
CALLER = Caller(
    access_key_id="k", arn="arn:aws:iam::000000000000:user/u", account="000000000000", region="us-east-1"
)


class Iam:
    """Stands for the evaluator: notes what is asked, denies what it is told to deny."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.denied: set[str] = set()
        self.roles: set[str] = set()

    def require(self, caller: Caller, action: str, resource: str, conditions: dict[str, Any]) -> None:
        self.asked.append((action, resource, conditions))
        if action in self.denied:
            raise AccessDenied(
                f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource}"
            )

    def require_pass_role(self, caller: Caller, role_arn: str, service: str) -> None:
        self.require(caller, "iam:PassRole", role_arn, {"iam:PassedToService": service})
        if role_arn not in self.roles:
            raise RoleNotFound(role_arn)

    def role_trusts(self, role_arn: str, service: str, source_arn: str | None = None) -> bool:
        assert service == "sagemaker.amazonaws.com"
        return role_arn in self.roles


@pytest.fixture(name="iam")
def iam_fixture(monkeypatch: pytest.MonkeyPatch) -> Iam:
    made = Iam()
    monkeypatch.setattr(authorization, "identity", made)
    return made


@pytest.fixture(name="sagemaker")
def sagemaker_fixture(tmp_path: Path, iam: Iam) -> Iterator[SageMaker]:
    service.load_operations()
    cloud = Cloud(
        account="000000000000",
        region="us-east-1",
        endpoint_url="https://localhost:1",
        ca_bundle=tmp_path / "ca.pem",
        folder=StateFolder(tmp_path),
    )
    store = Store(tmp_path / "sagemaker.db")
    nothing = cast(Any, None)
    yield SageMaker(cloud=cloud, store=store, jobs=nothing, tuning=nothing, hosting=nothing, executor=nothing)
    store.close()


def post(sagemaker: SageMaker, target: str, body: Any) -> tuple[int, dict[str, Any]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = send(sagemaker, "/", {"x-amz-target": target}, content)
    assert answer.headers["Content-Type"] == "application/x-amz-json-1.1"
    return answer.status, json.loads(answer.body or b"{}")


def send(
    sagemaker: SageMaker, path: str, headers: dict[str, str], body: bytes, method: str = "POST"
) -> Response:
    request = Request(method=method, path=path, headers=headers, body=body, query={}, caller=CALLER)
    return protocol.handle(sagemaker, request)


def call(sagemaker: SageMaker, operation: str, **request: Any) -> dict[str, Any]:
    status, answer = post(sagemaker, f"SageMaker.{operation}", request)
    assert status == 200, answer
    return answer
