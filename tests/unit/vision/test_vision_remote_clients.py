"""Ranges of objects in S3, read by either client from a server that refuses, lacks or throttles."""

from __future__ import annotations

import http.server
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from training.common.failure import UserError
from training.vision import remote
from training.vision.checkpoints.store import StoreError


class Answers(http.server.BaseHTTPRequestHandler):
    """S3 as far as sizes and ranges go, over plain HTTP; the server's `refusals` come first, and
    so many `times` for each range."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        part = self.headers.get("Range", "")
        if self.server.refused[part] < self.server.times:
            self.server.refused[part] += 1
            self.say(503, b"<Error><Code>SlowDown</Code></Error>")
            return
        if self.server.refusals:
            self.say(self.server.refusals.pop(), b"<Error><Code>SlowDown</Code></Error>")
            return
        data = self.server.objects.get(self.path.partition("?")[0])
        if data is None:
            self.say(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", part)
        if not found:
            self.say(200, data)
            return
        start, end = int(found[1]), min(int(found[2]), len(data) - 1)
        self.server.asked.append((start, end))
        self.say(206, data[start : end + 1], **{"Content-Range": f"bytes {start}-{end}/{len(data)}"})

    def say(self, status, data, **headers):
        self.send_response(status)
        told = {"Content-Length": str(len(data)), "ETag": '"e"', "Last-Modified": STAMP} | headers
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


STAMP = "Sun, 22 Nov 2026 00:00:00 GMT"


@pytest.fixture
def server(monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as found:
        found.objects = {"/bucket/a.tar": np.random.default_rng(7).bytes(5000)}
        found.refusals, found.asked = [], []
        found.times, found.refused = 0, Counter()
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        for name, value in {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{found.server_port}",
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)
        yield found
        found.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", [remote.Connector, lambda _: remote.Boto()], ids=["connector", "boto"])
def test_ranges_are_read_by_either_client(server, kind):
    """Also while S3 is throttled; what it lacks is one line."""
    address, missing = "s3://bucket/a.tar", "s3://bucket/gone.tar"
    objects = remote.Objects([], kind([address, missing]))
    server.refusals = [503, 503]
    assert objects.read(address, 1000, 500) == server.objects["/bucket/a.tar"][1000:1500]
    assert objects.read(address, 0, 10) == server.objects["/bucket/a.tar"][:10]
    assert server.asked == [(1000, 1499), (0, 9)]
    with pytest.raises(UserError, match=r"^s3://bucket/gone.tar cannot be read: ") as refused:
        objects.read(missing, 0, 10)
    assert isinstance(refused.value.__cause__, StoreError)  # the job is tried again
    with pytest.raises(UserError, match=r"^s3://bucket/a.tar has 5000 bytes, its index names 5100 or more$"):
        objects.read(address, 4900, 200)


def test_readers_that_are_all_refused_go_on(server, monkeypatch):
    """boto3 has a hundred repetitions for a client, whose readers are refused at the same time."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))
    server.times = 15
    objects = remote.Objects([], remote.Boto())
    with ThreadPoolExecutor(remote.READERS) as pool:
        found = list(pool.map(lambda at: objects.read("s3://bucket/a.tar", at, 10), range(remote.READERS)))
    assert found == [server.objects["/bucket/a.tar"][at : at + 10] for at in range(remote.READERS)]
    assert sum(server.refused.values()) == remote.READERS * server.times > 100


def test_s3_that_stays_throttled_is_one_line(server, monkeypatch):
    monkeypatch.setattr(remote, "ATTEMPTS", 2)
    server.refusals = [503] * 50
    with pytest.raises(UserError, match=r"^s3://bucket/a.tar cannot be read: ") as refused:
        remote.Objects([], remote.Boto()).read("s3://bucket/a.tar", 0, 10)
    assert "\n" not in str(refused.value)


def test_with_certificates_of_its_own_the_connector_is_not_used(monkeypatch):
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    assert remote.usable()
    monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/own.pem")
    assert not remote.usable()
