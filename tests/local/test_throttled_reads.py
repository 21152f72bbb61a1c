"""Two ranks train from S3, and S3 is throttled for one of them: the other waits, or hears why it ends."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from torch import distributed

from tests.local.gang_support import REPO
from training.vision.elastic.worker import LOST

pytestmark = [pytest.mark.torch, pytest.mark.timeout(300)]
SIZE, SHARDS = 1000, 4
# What a rank does in each step: it takes an image, and meets the others.
PROGRAM = """
import sys
from datetime import timedelta
from pathlib import Path
import torch
from torch import distributed
from torch.distributed.distributed_c10d import _set_pg_timeout
from training.vision import remote
from training.vision.elastic import ranks, worker

silence, wait, size, shards = map(float, sys.argv[1:])
remote.WAIT_SECONDS = wait

def trainer(_arguments):
    rank = ranks.ranks().rank
    addresses = [f"s3://bucket/rank{rank}-{shard}.tar" for shard in range(int(shards))]
    objects = remote.Objects(addresses, remote.Boto())
    entries = [
        remote.Distant(shard=Path("x.tar"), name="x", label="x", key="x", offset=0, size=int(size),
                       address=address, length=int(size), objects=objects)
        for address in addresses
    ]
    with ranks.joined("cpu"), remote.Ahead(entries, 1) as ahead:
        distributed.barrier()
        # Only now: on a machine that is busy ranks import PyTorch further apart than this.
        _set_pg_timeout(timedelta(seconds=silence))
        for place in range(len(entries)):
            with ahead.awaited():
                image = ahead.read(place)
            total = torch.tensor([len(image)])
            distributed.all_reduce(total)
            assert int(total) == 2 * size
    print("trained", flush=True)

worker.work(trainer, [], {})
"""


class S3(http.server.ThreadingHTTPServer):
    """The server, which counts what it refuses."""

    throttled = 0.0
    until: float | None = None
    refusals = 0

    def throttles(self) -> bool:
        now = time.monotonic()
        if self.until is None:
            self.until = now + self.throttled
        self.refusals += now < self.until
        return now < self.until


class Answers(http.server.BaseHTTPRequestHandler):
    """S3 that is throttled for the first rank, for `throttled` seconds from its first request on."""

    server: S3

    def do_GET(self) -> None:
        if "rank0-" in self.path and self.server.throttles():
            self._say(503, b"<Error><Code>SlowDown</Code></Error>")
        else:
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
            assert found
            self._say(206, bytes(int(found[2]) - int(found[1]) + 1))

    def _say(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def train() -> Iterator[Callable[..., list[tuple[int, str]]]]:
    """Exit codes and logs of both ranks, with S3 throttled for so many seconds."""
    with S3(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def run(*, throttled: float, silence: float, wait: float) -> list[tuple[int, str]]:
            server.throttled = throttled
            # Held here, so that no port is given back before it is used.
            store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
            told = {
                "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}",
                "AWS_REGION": "eu-west-1",
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "TORCHELASTIC_RUN_ID": "job/1",
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
            }
            arguments = [str(number) for number in (silence, wait, SIZE, SHARDS)]
            ranks = [
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, *arguments],
                    cwd=REPO,
                    env=os.environ | told | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                for rank in range(2)
            ]
            try:
                logs = [rank.communicate(timeout=240)[0] for rank in ranks]
            finally:
                for rank in ranks:
                    rank.kill()
            assert server.refusals
            return [(rank.returncode, log) for rank, log in zip(ranks, logs, strict=True)]

        yield run
        server.shutdown()
        thread.join()


def test_while_s3_is_throttled_for_one_the_other_waits(train: Callable[..., list[tuple[int, str]]]) -> None:
    found = train(throttled=8, silence=200, wait=150)
    assert [code for code, _ in found] == [0, 0], found
    assert all("trained" in log for _, log in found)


def test_the_one_that_cannot_read_ends_first_and_says_why(
    train: Callable[..., list[tuple[int, str]]],
) -> None:
    """Not the other one, by its patience, with no word of S3; the client alone would try for minutes."""
    (code, log), (other_code, other) = train(throttled=600, silence=40, wait=5)
    assert (code, other_code) == (1, LOST), log + other
    assert "s3://bucket/rank0-0.tar cannot be read: S3 has not given a batch within 5 s" in log
    assert "another rank is gone" in other
    assert "Timed out" not in other
