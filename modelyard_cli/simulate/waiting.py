"""How long requests wait: a queue with Poisson arrivals, equal service times and several servers (M/D/c).

Within a minute the waiting time exceeds t with probability C * exp(-2 (c/s - a) t), where C is Erlang's
probability of waiting for exponential service times (a arrivals a second, c servers, service time s). Equal
service times halve the mean wait of that queue in heavy traffic, hence the factor 2: an approximation, which
a test holds against a simulation request by request. A minute with more load than it can serve, or with a
backlog from before, counts as a fluid: the wait is the backlog by the rate at which it is served.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The waits of the requests of one minute.

    Args:
        requests: how many.
        chance: that a request waits at all for a free server.
        rate: of the exponential tail, per second.
        first, last: seconds that the backlog takes at the beginning and at the end of the minute.
    """

    requests: float
    chance: float = 0.0
    rate: float = math.inf
    first: float = 0.0
    last: float = 0.0

    def beyond(self, seconds: float) -> float:
        """Share of requests that wait longer than this."""
        low, high = sorted((self.first, self.last))
        if high > 0:
            if seconds < low:
                return 1.0
            return (high - seconds) / (high - low) if seconds < high else 0.0
        return 0.0 if math.isinf(self.rate) else self.chance * math.exp(-self.rate * seconds)


def of_minute(
    requests: float, *, servers: float, service: float, backlog: float, patience: float
) -> tuple[Waiting, float, float]:
    """One minute of the queue.

    Args:
        servers: requests that can be served at once, on average over the minute.
        service: seconds of one request.
        backlog: requests that wait when the minute begins.
        patience: seconds after which a waiting request is given up.

    Returns:
        the waits, the backlog when the minute ends, and how many requests were given up.
    """
    served = servers / service * 60
    left = max(0.0, backlog + requests - served)
    most = servers / service * patience
    lost = max(0.0, left - most)
    left -= lost
    if left == 0 and backlog == 0:
        return _steady(requests, servers, service), 0.0, 0.0
    # A share of the minute without backlog waits little; it counts as part of the decline to nothing.
    speed = servers / service
    if speed <= 0:
        return Waiting(requests=requests, first=patience, last=patience), left, lost
    waits = Waiting(requests=requests, first=min(patience, backlog / speed), last=min(patience, left / speed))
    return waits, left, lost


def _steady(requests: float, servers: float, service: float) -> Waiting:
    arrivals, count = requests / 60, max(1, math.floor(servers + 1e-9))
    spare = servers / service - arrivals
    if requests == 0 or spare <= 0:
        return Waiting(requests=requests, chance=float(requests > 0), rate=1 / (60 + service))
    return Waiting(requests=requests, chance=erlang_c(count, arrivals * service), rate=2 * spare)


def erlang_c(servers: int, load: float) -> float:
    """Probability that a request has to wait, of an M/M/c queue with `load` Erlang.

    Example:
        >>> round(erlang_c(2, 1.0), 4)
        0.3333
    """
    if load >= servers:
        return 1.0
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def quantile(minutes: Iterable[Waiting], share: float) -> float:
    """The wait in seconds that a share of all requests does not exceed."""
    busy = [minute for minute in minutes if minute.requests > 0]
    allowed = (1 - share) * math.fsum(minute.requests for minute in busy)
    # Most minutes are alike in form: their tails in one list of numbers make long traces quick.
    fluid = [minute for minute in busy if max(minute.first, minute.last) > 0]
    tails = [
        (minute.requests * minute.chance, minute.rate)
        for minute in busy
        if max(minute.first, minute.last) <= 0 and minute.chance > 0 and not math.isinf(minute.rate)
    ]

    def exceeding(seconds: float) -> float:
        waiting = sum(minute.requests * minute.beyond(seconds) for minute in fluid)
        return waiting + sum(weight * math.exp(-rate * seconds) for weight, rate in tails)

    if not busy or exceeding(0.0) <= allowed:
        return 0.0
    low, high = 0.0, 0.001
    while exceeding(high) > allowed:
        low, high = high, high * 2
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if exceeding(middle) > allowed else (low, middle)
    return high
