"""A request whose container dies: tried again where nothing has seen it, or where another may answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.hosting import invoke
from localcloud.sagemaker.hosting.http import Answer, Unreachable


class Server:
    """Answers once it has failed in these ways."""

    def __init__(self, *failures: type[OSError]) -> None:
        self.failures = list(failures)

    def request(self, *_: Any, **__: Any) -> Answer:
        if self.failures:
            raise Unreachable("gone") from self.failures.pop(0)()
        return Answer(200, {}, b"prediction")


def ask(server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = [0.0]
    monkeypatch.setattr(invoke.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(invoke.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    instance = SimpleNamespace(acquire=lambda: (server, None), release=lambda: None, stream="s")
    variant: Any = SimpleNamespace(
        spec=SimpleNamespace(multi_model=False, name="v"),
        candidates=lambda: [instance],
        instances=[instance],
        capture=None,
        guarded=False,
    )
    traffic: Any = SimpleNamespace(order=lambda: [SimpleNamespace(choose=lambda: variant)])
    cloud: Any = SimpleNamespace(region="us-east-1", account="000000000000")
    metrics: Any = SimpleNamespace(invoked=lambda *_, **__: None)
    return invoke.Invoker(cloud, metrics).invoke("endpoint", lambda: traffic, {"Body": b"row"})


def test_a_container_that_is_not_known_to_be_dead_yet_costs_no_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(ConnectionResetError, *[ConnectionRefusedError] * 50)
    assert ask(server, monkeypatch)["Body"] == b"prediction"


def test_it_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceError, match="did not answer"):
        ask(Server(*[ConnectionRefusedError] * 1000), monkeypatch)


def test_a_request_that_ends_each_container_ends_three_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(Server(*[ConnectionResetError] * 2), monkeypatch)["Body"] == b"prediction"
    with pytest.raises(ServiceError, match="did not answer"):
        ask(Server(*[ConnectionResetError] * 3), monkeypatch)
