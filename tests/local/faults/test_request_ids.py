"""A request is found by its id in the logs of all who had it in hand."""

from __future__ import annotations

import pytest

from tests.local.faults.app import App

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]


def test_the_id_that_a_caller_is_answered_stands_in_both_logs(app: App) -> None:
    request_id = app.refused()
    app.wait(lambda: bool(app.lines("serving", "EndpointLogs", request_id)))
    (by_server,) = app.lines("serving", "EndpointLogs", request_id)
    assert (by_server["id"], by_server["route"], by_server["status"]) == (request_id, "invoke", 400)
    app.wait(lambda: len(app.lines("inference", "InferenceFunctionLogs", request_id)) == 2)
    by_function = app.lines("inference", "InferenceFunctionLogs", request_id)
    assert {(line["request_id"], line["code"]) for line in by_function} == {(request_id, "invalid_instances")}
