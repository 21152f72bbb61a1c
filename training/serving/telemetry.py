"""What the server says of its work: lines of JSON in the log, and counters as Prometheus reads them.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import accumulate, count

from training.serving.http import Request

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# What names a request to its caller, the first that was sent. The first is the caller's own word, which
# SageMaker hands through; the second may be SageMaker's.
ID_HEADERS = (b"x-amzn-sagemaker-custom-attributes", b"x-amzn-requestid")
MAX_SHOWN = 200
MAX_HEAD_BYTES = 8192
HEAD_SECONDS = 5
LOOPBACK = "127.0.0.1"
# A random number for each process and a count: a hundred times cheaper than a random number each.
_PROCESS, _NUMBERS = uuid.uuid4().hex[:20], count()


def log(event: str, **members: object) -> None:
    """One line of JSON in the container's log."""
    sys.stderr.write(json.dumps({"event": event, **members}) + "\n")


def request_id(request: Request) -> str:
    """The identifier that was sent with a request, or a new one: printable ASCII, at most MAX_SHOWN long."""
    found: dict[bytes, bytes] = {name: value for name, value in request.headers if name in ID_HEADERS}
    for name in ID_HEADERS if found else ():
        sent = found.get(name, b"").decode("latin-1")[:MAX_SHOWN]
        if shown := "".join(character for character in sent if " " <= character <= "~").strip():
            return shown
    return f"{_PROCESS}-{next(_NUMBERS):012x}"


class Metrics:
    """Requests by route and status, and their latency by route.

    gauges: called when the metrics are read -> name of a metric to its value; a name that ends in `_total` is
    a counter.
    """

    def __init__(self, gauges: Callable[[], Mapping[str, float]]) -> None:
        self._gauges = gauges
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def count(self, route: str, status: int, seconds: float) -> None:
        self._requests[route, status] += 1
        buckets = self._buckets.get(route)
        if buckets is None:
            buckets = self._buckets[route] = [0] * (len(BUCKETS_S) + 1)
        buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds

    def text(self) -> str:
        lines = ["# TYPE serving_requests_total counter"]
        for (route, status), number in sorted(self._requests.items()):
            lines.append(f'serving_requests_total{{route="{route}",status="{status}"}} {number}')
        lines.append("# TYPE serving_errors_total counter")
        errors: Counter[str] = Counter()
        for (route, status), number in self._requests.items():
            errors[route] += number * (status >= 500)
        lines += [
            f'serving_errors_total{{route="{route}"}} {number}' for route, number in sorted(errors.items())
        ]
        lines.append("# TYPE serving_request_seconds histogram")
        for route, buckets in sorted(self._buckets.items()):
            for bound, number in zip((*BUCKETS_S, "+Inf"), accumulate(buckets), strict=True):
                lines.append(f'serving_request_seconds_bucket{{route="{route}",le="{bound}"}} {number}')
            lines.append(f'serving_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}')
            lines.append(f'serving_request_seconds_count{{route="{route}"}} {sum(buckets)}')
        for name, value in self._gauges().items():
            lines.append(f"# TYPE serving_{name} {'counter' if name.endswith('_total') else 'gauge'}")
            lines.append(f"serving_{name} {value}")
        return "\n".join(lines) + "\n"


async def serve_metrics(metrics: Metrics, port: int) -> asyncio.Server:
    """Answer GET /metrics on the container's own loopback address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                known = head.startswith((b"GET /metrics ", b"GET /metrics?"))
                body = metrics.text().encode() if known else b"only GET /metrics is served here\n"
                status = b"200 OK" if known else b"404 Not Found"
                kind = b"text/plain; version=0.0.4; charset=utf-8"
                writer.write(
                    b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                    % (status, kind, len(body), body)
                )
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or does not speak HTTP; nothing depends on it
        finally:
            writer.close()

    return await asyncio.start_server(answer, LOOPBACK, port, limit=MAX_HEAD_BYTES)
