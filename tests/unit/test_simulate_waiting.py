"""Waits: the approximation against a queue simulated request by request."""

from __future__ import annotations

import heapq
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard_cli.simulate.waiting import Waiting, erlang_c, of_minute, quantile


def simulated(rate: float, servers: int, service: float, requests: int) -> list[float]:
    """Waits of requests that come at random, first come first served."""
    dice = random.Random(7)
    free = [0.0] * servers
    moment, waits = 0.0, []
    for _ in range(requests):
        moment += dice.expovariate(rate)
        begin = max(moment, heapq.heappop(free))
        heapq.heappush(free, begin + service)
        waits.append(begin - moment)
    return sorted(waits)


@pytest.mark.parametrize("servers", [1, 2, 8])
@pytest.mark.parametrize("busy", [0.5, 0.8, 0.95])
def test_the_99th_percentile_is_near(servers: int, busy: float) -> None:
    service = 0.1
    rate = busy * servers / service
    waits = simulated(rate, servers, service, 60_000)
    minute, backlog, lost = of_minute(rate * 60, servers=servers, service=service, backlog=0, patience=60)
    assert (backlog, lost) == (0.0, 0.0)
    expected = waits[int(0.99 * len(waits))]
    assert quantile([minute], 0.99) == pytest.approx(expected, rel=0.25, abs=0.3 * service)


def test_a_backlog_grows_and_goes() -> None:
    grows, backlog, lost = of_minute(900, servers=1, service=0.1, backlog=0, patience=60)
    assert (backlog, lost) == (300.0, 0.0)
    assert (grows.first, grows.last) == (0.0, 30.0)
    assert quantile([grows], 0.5) == pytest.approx(15, rel=0.01)
    goes, backlog, lost = of_minute(0, servers=1, service=0.1, backlog=300, patience=60)
    assert backlog == 0.0
    assert goes.beyond(10) == pytest.approx(2 / 3)


def test_patience_ends() -> None:
    waits, backlog, lost = of_minute(1800, servers=1, service=0.1, backlog=0, patience=60)
    assert (backlog, lost) == (600.0, 600.0)
    assert waits.last == 60.0
    assert quantile([waits, Waiting(requests=1800, first=60, last=60)], 0.99) == pytest.approx(60, rel=0.01)


@given(
    st.lists(st.floats(0, 5000), min_size=1, max_size=30),
    st.floats(0.001, 2),
    st.integers(1, 40),
    st.floats(1, 120),
)
@settings(deadline=None)
def test_requests_are_served_wait_or_are_lost(
    loads: list[float], service: float, servers: int, patience: float
) -> None:
    backlog, came, lost, served = 0.0, 0.0, 0.0, 0.0
    for load in loads:
        before = backlog
        waits, backlog, gone = of_minute(
            load, servers=servers, service=service, backlog=before, patience=patience
        )
        came, lost = came + load, lost + gone
        served += before + load - gone - backlog
        assert 0 <= backlog <= servers / service * patience * (1 + 1e-9)
        assert 0 <= waits.beyond(0.0) <= 1
        assert waits.beyond(patience * 2) <= waits.beyond(patience / 2)
        assert max(waits.first, waits.last) <= patience
    assert served == pytest.approx(came - lost - backlog, abs=1e-6)
    assert served <= len(loads) * servers / service * 60 * (1 + 1e-9)


@given(st.floats(1, 50_000), st.floats(0.001, 1), st.integers(1, 30))
@settings(deadline=None)
def test_more_servers_never_wait_longer(load: float, service: float, servers: int) -> None:
    def wait(count: int) -> float:
        return quantile([of_minute(load, servers=count, service=service, backlog=0, patience=60)[0]], 0.99)

    # Both sides of full use are approximations; between them the order may be off by what they are off.
    if load / 60 * service < 0.95 * servers or load / 60 * service > 1.2 * (servers + 1):
        assert wait(servers + 1) <= wait(servers) * 1.01 + 1e-6


def test_erlang() -> None:
    assert erlang_c(1, 0.5) == pytest.approx(0.5)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(3, 3.0) == 1.0
    assert quantile([], 0.99) == 0.0
    assert math.isinf(Waiting(requests=1).rate)
