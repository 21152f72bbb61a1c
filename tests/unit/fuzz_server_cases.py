"""Requests to the model server: whole, changed, broken, cut, many at once, endless, slow and large."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.unit.fuzz_server import Case
from tests.unit.fuzz_server_bodies import KEPT, NAMES, Served, bodies, right

BIG = 6 * 1024 * 1024
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "post", "QUERY"]
TYPES = [
    "application/json",
    "application/jsonlines",
    "application/x-jsonlines",
    "application/jsonl",
    "text/csv",
    "text/libsvm",
    "text/x-libsvm",
    "image/jpeg",
    "image/png",
    "application/x-image",
    "text/plain",
    "*/*",
    "application/octet-stream",
    "application/x-npy",
    "application/x-recordio-protobuf",
    "application/xml",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "Text/CSV; charset=utf-16",
    "",
]
PATHS = [
    "/ping",
    "/invocations",
    "/execution-parameters",
    "/models",
    "/models/",
    "/",
    "*",
    "//",
    "/ping/../models",
    "/PING",
    "/metrics",
    "/modelsa/invoke",
    "http://example.com/ping",
    "http://[::1]:99999/ping",
    "ping",
    "/\0",
    "/" + "x" * 70_000,
]
QUERIES = [
    "",
    "",
    "",
    "?limit=1",
    "?limit=-1",
    "?limit=" + "9" * 5000,
    "?next_page_token=YQ==",
    "?next_page_token=%ff",
    "?next_page_token=" + "A" * 5000,
    "?" + "a=1&" * 1100,
    "?limit=\u0661",
    "?%00=%00",
    "?",
    "??",
]
HEADERS = [
    b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Upgrade: h2c",
    b"X: " + b"y" * 5000,
    b"X-Amzn-RequestId: \xff\x00bad",
    b"X-Amzn-RequestId: " + b"r" * 4000,
    b"Range: bytes=0-",
    b"Cookie: a=b",
    b"X-Amzn-SageMaker-Target-Model: ../../x",
    b"Content-Encoding: gzip",
    b"Accept-Encoding: br",
    b"Host: y",
    b"X-Amzn-SageMaker-Custom-Attributes: a\tb",
    b"Transfer-Encoding: identity",
    b": empty",
    b"Bad Header: x",
    b" folded",
    b"Content-Length: 0",
    b"TE: trailers",
    b"X-Forwarded-For: ::::",
    b"Content-Type: text/csv",
]


def requests(models: list[Served], *, close: bool = True) -> st.SearchStrategy[tuple[bytes, bool]]:
    """One whole request as bytes, and whether it asks for a head only."""

    def whole(
        method: str,
        path: str,
        query: str,
        kinds: tuple[str, str],
        body: bytes,
        chunked: bool,
        extra: list[bytes],
    ) -> tuple[bytes, bool]:
        head = [f"{method} {path}{query} HTTP/1.1".encode(), b"Host: x"]
        head += [f"Content-Type: {kinds[0]}".encode(), f"Accept: {kinds[1]}".encode()]
        head += extra
        head += [b"Connection: close"] if close else []
        if chunked:
            middle = len(body) // 2
            parts = [part for part in (body[:middle], body[middle:]) if part]
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
            head.append(b"Transfer-Encoding: chunked")
        else:
            head.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join(head) + b"\r\n\r\n" + body, method == "HEAD"

    names = st.sampled_from([*KEPT, *NAMES])
    paths = st.one_of(
        st.just("/invocations"),
        st.just("/models"),
        names.map(lambda name: f"/models/{name}/invoke"),
        names.map(lambda name: f"/models/{name}"),
        st.sampled_from(PATHS),
        st.text(max_size=12).map(lambda text: "/" + text),
    )
    method = st.sampled_from(["POST"] * 6 + METHODS)
    kinds = st.tuples(st.sampled_from(TYPES), st.sampled_from(TYPES) | st.text(max_size=8))
    extra = st.lists(st.sampled_from(HEADERS), max_size=2) | st.just([])
    queries = st.sampled_from(QUERIES)
    return st.builds(whole, method, paths, queries, kinds, bodies(models), st.booleans(), extra)


def likely(models: list[Served]) -> st.SearchStrategy[Case]:
    """What callers and SageMaker send, most of it right: a type with its body, a load, an unload, a list."""
    accepts = st.sampled_from(
        ["", "*/*", "application/json", "application/jsonlines", "text/csv", "text/libsvm"]
    )
    path = "/opt/ml/models"
    loads = {name: json.dumps({"model_name": name, "url": f"{path}/{name}/model"}).encode() for name in KEPT}

    def send(method: str, target: str, body: bytes, kind: str, accept: str) -> Case:
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
        head += (f"Accept: {accept}\r\n" if accept else "") + f"Content-Length: {len(body)}\r\n\r\n"
        return Case((head.encode(), body) if len(body) > 20_000 else (head.encode() + body,), must_answer=1)

    def ask(served: Served) -> st.SearchStrategy[Case]:
        return st.builds(
            lambda one, route, accept: send("POST", route, one[1], one[0], accept),
            right(served),
            st.sampled_from(served.routes),
            accepts,
        )

    names = st.sampled_from(KEPT)
    asked = st.one_of(*map(ask, models))
    return st.one_of(
        *4 * [asked],
        *2 * [names.map(lambda name: send("POST", "/models", loads[name], "application/json", ""))],
        names.map(lambda name: send("DELETE", f"/models/{name}", b"", "", "")),
        names.map(lambda name: send("GET", f"/models/{name}", b"", "", "")),
        st.sampled_from(QUERIES[:8]).map(lambda query: send("GET", f"/models{query}", b"", "", "")),
        st.sampled_from(["/ping", "/execution-parameters"]).map(
            lambda target: send("GET", target, b"", "", "")
        ),
    )


def cases(models: list[Served]) -> st.SearchStrategy[Case]:
    """Mostly whole requests; some broken, cut, many at once, endless, slow or large."""
    whole = requests(models)

    def cut(request: tuple[bytes, bool], share: float, after: str) -> Case:
        return Case((request[0][: int(len(request[0]) * share)],), after=after, heads_only=request[1])

    def changed(request: tuple[bytes, bool], place: float, piece: bytes) -> Case:
        at = int(len(request[0]) * place)
        # Half-closed: what is no longer a request would else be waited for.
        return Case((request[0][:at] + piece + request[0][at:],), after="half", heads_only=request[1])

    def pipelined(several: list[tuple[bytes, bool]], last: tuple[bytes, bool]) -> Case:
        return Case((b"".join(one for one, _ in several) + last[0],))

    post = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    broken = [
        post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        post + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n",
        post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nabc\r\n",
        post + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
        post + b"Transfer-Encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        post + b"Transfer-Encoding: gzip\r\n\r\nabc",
        post + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        post + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        post + b"Content-Length: -3\r\n\r\nabc",
        post + b"Content-Length: 3x\r\n\r\nabc",
        post + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
        post + b"X: y\r\n" * 20_000 + b"\r\n",
        post + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"GET /ping\r\n\r\n",
        b"GET /ping HTTP/0.9\r\n\r\n",
        b"GET /ping HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  /ping  HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
        b"\0" * 100,
        b"\r\n" * 100,
        b"GET /p\xffing HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ]
    rare = [
        Case((post + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (BIG + 1), b"1" * (BIG + 1))),
        Case(
            (post + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % BIG, b"1,2\n" * (BIG // 4)),
            must_answer=1,
        ),
        Case(
            (
                post + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
                *[b"100000\r\n" + b"x" * 0x100000 + b"\r\n"] * 7,
                b"0\r\n\r\n",
            )
        ),
        Case((post,), must_answer=1),  # and nothing more: 408
        Case((post + b"Content-Length: 9\r\n\r\n", *[b"x"] * 6), pause=0.3, must_answer=1),
        Case((post + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 6), pause=0.3, must_answer=1),
        Case((post + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",), must_answer=1),
    ]
    share = st.floats(0, 1)
    usual = st.builds(lambda one: Case((one[0],), heads_only=one[1], must_answer=1), whole)
    kept = requests(models, close=False).filter(lambda one: not one[1])
    return st.sampled_from(range(300)).flatmap(
        lambda draw: (
            st.sampled_from(rare)
            if draw == 0
            else st.sampled_from(broken).map(lambda sent: Case((sent,), after="half"))
            if draw < 20
            else st.builds(cut, whole, share, st.sampled_from(["close", "reset", "half"]))
            if draw < 40
            else st.builds(changed, whole, share, st.binary(min_size=1, max_size=4))
            if draw < 60
            else st.builds(
                pipelined, st.lists(kept, min_size=1, max_size=4), whole.filter(lambda one: not one[1])
            )
            if draw < 75
            else usual
            if draw < 130
            else likely(models)
        )
    )
