"""Requests to the model server: whole, changed, broken, cut, many at once, endless, slow and large."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.unit.fuzz_server import Case

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
NAMES = [
    "a",
    "b",
    "..",
    ".",
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "a%2Finvoke",
    "a/../b",
    "%00",
    "%",
    "%zz",
    "%ff",
    "a%0d%0ax",
    "%F0%9F%98%80",
    "x" * 3000,
    "a?b",
    "a;b",
    "a b",
    "\u00e9",
    "invoke",
    "invoke/invoke",
    "a//",
    "%c0%ae",
    "a%5c..%5cb",
    "~root",
    "$HOME",
    "{}",
    "'",
    '"',
    "<script>",
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
CONSTANTS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "1e-400",
    "9" * 400,
    "9" * 5000,
    "true",
    "null",
    '""',
    '"\\ud800"',
    '"\\u0000"',
    '"' + "x" * 2000 + '"',
    "[]",
    "{}",
    "1E+999999999",
    "-0.0",
    "0x10",
    "1_000",
    "\u0661",
]
DEEP = [b"[" * 100_000, b'{"a":' * 50_000, b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}"]
KEPT = "abcdefgh"
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


def documents(rows: list[dict[str, object]]) -> st.SearchStrategy[bytes]:
    """Bodies of JSON: good rows, with a value, a name or the whole changed."""
    names = sorted(rows[0])

    def changed(row: dict[str, object], name: str, text: str, drop: bool, form: str) -> bytes:
        parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in row.items() if key != name]
        parts += [] if drop else [f"{json.dumps(name)}: {text}"]
        one = "{" + ", ".join(parts) + "}"
        return form.replace("@", one).encode("utf-8", "surrogatepass")

    forms = [
        '{"instances": [@]}',
        '{"instances": [@, @]}',
        "@",
        "@\n@\n",
        "[@]",
        '{"instances": {"a": @}}',
        '{"instances": [@]',
        '{"instances": [@], "instances": []}',
        "@\n\n\r\n@",
        '\ufeff{"instances": [@]}',
    ]
    return st.builds(
        changed,
        st.sampled_from(rows),
        st.sampled_from(names) | st.text(max_size=6),
        st.sampled_from(CONSTANTS) | st.floats().map(json.dumps),
        st.booleans(),
        st.sampled_from(forms),
    )


def bodies(rows: list[dict[str, object]]) -> st.SearchStrategy[bytes]:
    good = {"instances": rows}
    line = ",".join("" if value is None else str(value) for value in rows[0].values())
    cells = st.lists(
        st.sampled_from(["1", "", "x", "nan", "1e999", '"', '"a""b"', "\u00e9", "-1", "0:1", "5:2"])
    )
    place = "/opt/ml/models"
    load = st.builds(
        lambda name, url: json.dumps({"model_name": name, "url": url}).encode(),
        st.sampled_from([*KEPT, *NAMES, "\ud800", "x" * 100_000]),
        st.sampled_from([f"{place}/{name}/model" for name in KEPT])
        | st.sampled_from(NAMES).map(lambda name: f"{place}/{name}/model")
        | st.sampled_from(["/etc", place, "", "\0", f"{place}/../..", "s3://x/y", "x" * 5000, "file:///etc"]),
    )
    return st.one_of(
        documents(rows),
        st.just(json.dumps(good).encode()),
        st.just(f"{line}\n{line}\n".encode()),
        cells.map(lambda found: ",".join(found).encode()),
        cells.map(lambda found: " ".join(["1", *found]).encode()),
        st.lists(st.tuples(st.integers(-2, 60), st.floats()), max_size=4).map(
            lambda found: " ".join(f"{index}:{value}" for index, value in found).encode()
        ),
        load,
        st.binary(max_size=200),
        st.sampled_from([*DEEP, b"", b"null", b"[]", b'"', b"\xff\xfe", b"\x89PNG\r\n\x1a\n" + b"\0" * 40]),
        st.sampled_from([b"1" * 40_000, b"," * 40_000, b"\n" * 40_000, b"[1," * 20_000, b"{}\n" * 20_000]),
    )


def requests(rows: list[dict[str, object]], *, close: bool = True) -> st.SearchStrategy[tuple[bytes, bool]]:
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
    return st.builds(whole, method, paths, queries, kinds, bodies(rows), st.booleans(), extra)


def likely(rows: list[dict[str, object]]) -> st.SearchStrategy[Case]:
    """What callers and SageMaker send, most of it right: a type with its body, a load, an unload, a list."""
    values = [["" if value is None else str(value) for value in row.values()] for row in rows]
    lines = "\n".join(map(",".join, values))
    right = st.sampled_from(
        [
            ("application/json", json.dumps({"instances": rows}).encode()),
            ("application/json", json.dumps({"instances": rows * 40}).encode()),
            ("application/jsonlines", "\n".join(map(json.dumps, rows)).encode()),
            ("text/csv", lines.encode()),
            ("text/csv; charset=utf-8", f"{lines}\r\n".encode()),
            ("text/libsvm", b"1\n0\n"),
        ]
    )
    changed = st.tuples(st.sampled_from(["application/json", "application/jsonlines"]), documents(rows))
    accepts = st.sampled_from(
        ["", "*/*", "application/json", "application/jsonlines", "text/csv", "text/libsvm"]
    )
    invoke = st.sampled_from(["/invocations", "/models/a/invoke", "/models/d/invoke", "/models/e/invoke"])
    path = "/opt/ml/models"
    loads = {name: json.dumps({"model_name": name, "url": f"{path}/{name}/model"}).encode() for name in KEPT}

    def send(method: str, target: str, body: bytes, kind: str, accept: str) -> Case:
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
        head += (f"Accept: {accept}\r\n" if accept else "") + f"Content-Length: {len(body)}\r\n\r\n"
        return Case((head.encode(), body) if len(body) > 20_000 else (head.encode() + body,), must_answer=1)

    names = st.sampled_from(KEPT)
    return st.one_of(
        st.builds(
            lambda one, target, accept: send("POST", target, one[1], one[0], accept), right, invoke, accepts
        ),
        st.builds(
            lambda one, target, accept: send("POST", target, one[1], one[0], accept), changed, invoke, accepts
        ),
        names.map(lambda name: send("POST", "/models", loads[name], "application/json", "")),
        names.map(lambda name: send("DELETE", f"/models/{name}", b"", "", "")),
        names.map(lambda name: send("GET", f"/models/{name}", b"", "", "")),
        st.sampled_from(QUERIES[:8]).map(lambda query: send("GET", f"/models{query}", b"", "", "")),
        st.sampled_from(["/ping", "/execution-parameters"]).map(
            lambda target: send("GET", target, b"", "", "")
        ),
    )


def cases(rows: list[dict[str, object]]) -> st.SearchStrategy[Case]:
    """Mostly whole requests; some broken, cut, many at once, endless, slow or large."""
    whole = requests(rows)

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
    usual = st.builds(lambda one: Case((one[0],), heads_only=one[1]), whole)
    kept = requests(rows, close=False).filter(lambda one: not one[1])
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
            if draw < 180
            else likely(rows)
        )
    )
