"""A request whose container dies: the caller hears of it, and of which endpoint."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.hosting.http import Answer, Unreachable
from localcloud.sagemaker.hosting.invoke import Invoker


class Server:
    """Answers once it has failed so often."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def request(self, *_: Any, **__: Any) -> Answer:
        if self.failures:
            self.failures -= 1
            raise Unreachable("gone")
        return Answer(200, {}, b"prediction")


def ask(server: Server, *, healthy: bool = True, looks: int = 0) -> Any:
    """`looks`: how often the instance is found just as it goes."""
    left = [looks]

    def acquire() -> Any:
        if not healthy or left[0] > 0:
            left[0] -= 1
            return None
        return server, None

    instance = SimpleNamespace(acquire=acquire, release=lambda: None, stream="s")
    variant: Any = SimpleNamespace(
        spec=SimpleNamespace(multi_model=False, name="v", config="c"),
        candidates=lambda: [instance],
        instances=[instance],
        capture=None,
        guarded=False,
        trial=False,
    )
    traffic: Any = SimpleNamespace(order=lambda: [SimpleNamespace(choose=lambda: variant)])
    cloud: Any = SimpleNamespace(region="us-east-1", account="000000000000")
    metrics: Any = SimpleNamespace(invoked=lambda *_, **__: None)
    return Invoker(cloud, metrics).invoke("endpoint", lambda: traffic, {"Body": b"row"})


@pytest.mark.parametrize("ask_it", [lambda: ask(Server(1)), lambda: ask(Server(0), healthy=False)])
def test_no_answer_is_an_error_of_the_model_with_status_0(ask_it: Any) -> None:
    with pytest.raises(ServiceError, match="could not get a response from the endpoint endpoint") as caught:
        ask_it()
    assert caught.value.code == "ModelError"
    assert caught.value.members["OriginalStatusCode"] == 0


def test_an_instance_that_goes_while_it_is_found_is_looked_for_once_more() -> None:
    assert ask(Server(0), looks=1)["Body"] == b"prediction"
