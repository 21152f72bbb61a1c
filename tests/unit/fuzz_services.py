"""What the inference function calls, over HTTP: table, endpoint and bucket, which answer as they are told."""

import json
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from hypothesis import strategies as st

WELL = "well"
# Nobody may ask there.
ELSEWHERE = "/elsewhere/images/a.png"
IMAGE = b"\x89PNG mark-7f3e91c2"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; `lost`: bytes that are announced and never sent, None for no answer at all."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    lost: int | None = 0


@dataclass(frozen=True)
class Conditions:
    """How each service does: WELL, or what it answers to everybody."""

    table: str | Answer = WELL
    endpoint: str | Answer = WELL
    bucket: str | Answer = WELL
    canary: bool = False

    @property
    def are_well(self):
        return self.table == self.endpoint == self.bucket == WELL


def _error(status, code, **members):
    body = {"__type": code, "message": "its message", **members}
    return Answer(status, json.dumps(body).encode(), {"x-amzn-errortype": code})


def _of_model(status, said):
    return _error(
        424, "ModelError", OriginalStatusCode=status, OriginalMessage=said, Message="from the model"
    )


UNFINISHED = (Answer(lost=None), Answer(200, b"{}", lost=7), Answer(500, b"oh", lost=2))
MOVED = tuple(
    Answer(status, body, {**place, **region})
    for status in (300, 301, 302, 303, 304, 307, 308)
    for body in (b"", b"<Error><Code>PermanentRedirect</Code><Message>m</Message></Error>")
    if status != 304 or not body
    for place in ({}, {"Location": ELSEWHERE})
    for region in ({}, {"x-amz-bucket-region": "eu-central-1"}, {"x-amz-bucket-region": "evil.example/"})
)
# What botocore takes for a redirect, too.
WRONG_REGIONS = tuple(
    Answer(
        400, f"<Error><Code>{code}</Code><Message>m</Message><Region>eu-central-1</Region></Error>".encode()
    )
    for code in ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect")
)
no_answers = st.sampled_from(UNFINISHED)
proxies = st.builds(
    Answer, st.sampled_from([400, 403, 404, 413, 429, 500, 502, 503, 504, 530]), st.binary(max_size=40)
)
moved = st.sampled_from(MOVED)
garbage = st.builds(Answer, st.just(200), st.binary(max_size=40))

tables = st.one_of(
    no_answers,
    proxies,
    moved,
    garbage,
    st.builds(
        _error,
        st.just(400),
        st.sampled_from(
            ["ProvisionedThroughputExceededException", "ResourceNotFoundException", "AccessDeniedException"]
        ),
    ),
    st.builds(_error, st.just(500), st.just("InternalServerError")),
)
PREDICTIONS = (
    "[1.5]", "[NaN]", "[1e999]", "[null]", "[]", "3", "null", "[" * 900 + "]" * 900, "[" + "1," * 20 + "1]",
    "[1] x", "[-1e-999]", '["\\ud800"]', "[" + "9" * 4500 + "]", "[" + "9" * 4200 + "]",
    '[{"label": "a", "probabilities": {"a": 1}}]', '["%s"]' % ("\u00e9" * 900_000),
)  # fmt: skip
predictions = st.sampled_from(PREDICTIONS[:-1])
endpoints = st.one_of(
    no_answers,
    proxies,
    moved,
    garbage,
    st.just(Answer(200, b"[" * 3000)),
    predictions.map(lambda text: Answer(200, b'{"predictions": %s}' % text.encode())),
    st.builds(
        _of_model,
        st.sampled_from([400, 404, 409, 413, 415, 429, 500, 502, 503, 504, 507, 0, 200, None, "400"]),
        st.one_of(
            st.none(),
            st.text(max_size=20),
            st.sampled_from(['{"error": "no"}', "<html>\n</html>", "x" * 9000]),
        ),
    ),
    st.builds(
        _error,
        st.sampled_from([400, 403, 429, 500, 503]),
        st.sampled_from(
            ["ValidationError", "ModelNotReadyException", "ThrottlingException", "AccessDeniedException"]
        ),
    ),
)
buckets = st.one_of(
    no_answers,
    proxies,
    moved,
    st.sampled_from(WRONG_REGIONS),
    st.sampled_from(["NoSuchKey", "AccessDenied", "InvalidObjectState", "SlowDown", "NoSuchBucket"]).map(
        lambda code: Answer(
            404 if "No" in code else 503 if code == "SlowDown" else 403,
            f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode(),
        )
    ),
    st.sampled_from(
        [Answer(200, b""), Answer(200, b"x" * 5_000_000), Answer(200, b"x" * 9, {"Content-Encoding": "gzip"})]
    ),
)


def _or_well(answers):
    return st.one_of(st.just(WELL), st.just(WELL), answers)


conditions = st.one_of(
    st.just(Conditions()),
    st.just(Conditions(canary=True)),
    st.builds(Conditions, _or_well(tables), _or_well(endpoints), _or_well(buckets), st.booleans()),
)


class Services(ThreadingHTTPServer):
    """At `url`, under the `conditions` of the moment."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.conditions = Conditions()
        # Requests to the bucket for anything but an image.
        self.strayed = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Whoever hung up."""

    def server_bind(self):
        # Without the look-up of a name that HTTPServer does.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        conditions = self.server.conditions
        if self.path == "/":
            self._answer(
                conditions.table, lambda: _item(json.loads(body)["Key"]["group"]["S"], conditions.canary)
            )
        else:
            self._answer(conditions.endpoint, lambda: _predictions(json.loads(body)["instances"]))

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if not (self.command == "GET" and path.startswith("/data/images/")):
            self.server.strayed.append(f"{self.command} {self.path}")
        self._answer(self.server.conditions.bucket, lambda: IMAGE)

    def do_HEAD(self):
        self.do_GET()

    def _answer(self, how, well):
        answer = Answer(200, well()) if how == WELL else how
        if answer.lost is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        if answer.status != 304:
            self.send_header("Content-Length", str(len(answer.body) + answer.lost))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.close_connection = bool(answer.lost)


def _item(group, canary):
    if group == "homes":
        return b"{}"
    versions = {"serving": 3, "canary": 4} if canary else {"serving": 3}
    item = {}
    for name, version in versions.items():
        artifact = f"{group}/{version}-abc.tar.gz"
        members = {"version": {"N": str(version)}, "artifact": {"S": artifact}, "since": {"S": "then"}}
        item[name] = {"M": members | {"percent": {"N": "50"}}}
    return json.dumps({"Item": {"group": {"S": group}, **item}}).encode()


def _predictions(instances):
    return json.dumps({"predictions": [1.5] * len(instances)}).encode()
