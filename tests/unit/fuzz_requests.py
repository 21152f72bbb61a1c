"""Requests to the inference function's URL as nobody would write them, and some as people do."""

import json
import re
from urllib.parse import quote

from hypothesis import strategies as st

# Values of rows, which nothing may repeat: neither an answer nor a log.
MARKS = ("mark-7f3e91c2", "7391820465", "mark\u00e47f3e91c2")
BUCKET, PREFIX = "data", "images/"

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "QUERY")
PATHS = (
    "/", "/health", "/models", "//", "/models/", "/models/loans", "/health/..", "/../", "/%2e%2e/", "/%00",
    "/%2fhealth", "/Health", "/health;x=1", "/favicon.ico", "/invocations", "/ping", "/.env", "/é",
)  # fmt: skip
MEDIA_TYPES = (
    "application/json", "text/csv", "application/jsonlines", "application/x-ndjson", "text/libsvm",
    "text/x-libsvm", "application/octet-stream", "application/x-image", "image/png", "image/jpeg",
    "text/plain", "text/html", "application/xml", "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "application/x-npy", "application/x-recordio-protobuf", "application/vnd.api+json", "application/cbor",
    "application/x-protobuf", "application/grpc", "*/*",
)  # fmt: skip
PARAMETERS = (
    "", ";charset=utf-8", "; charset=UTF-8", '; charset="utf-8"', "; charset=latin-1", ";charset=utf-16", ";",
    "; header=present", "; charset", ", text/csv",
)  # fmt: skip
MODELS = (
    "loans",
    "loans",
    "loans",
    "digits",
    "homes",
    "nobody",
    "",
    "../loans",
    "loans/3",
    "loans\x00",
    "LOANS",
)
FEATURES = (
    "fico",
    "state",
    "dti",
    "income",
    "",
    " ",
    "a" * 300,
    "é",
    "\ud800",
    "fi\nco",
    "__proto__",
    "fico.x",
)
# As tokens of JSON that Python's encoder would not write.
TOKENS = (
    "NaN", "-Infinity", "1e999", "-0", "9" * 40, "9" * 5000, "1e-400", "0." + "1" * 400, "01", "+1", "0x1F",
    ".5", "tru", "'x'", '"\\ud800"', '"\\u0000"', "[" * 900 + "]" * 900, '{"a":' * 500 + "1" + "}" * 500,
)  # fmt: skip
OUTSIDE = (
    "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "s3://other/images/a.png", "s3://data",
    "s3://data/", "s3://data/images/", "s3://data/models/multi/loans/3-abc.tar.gz", "ftp://data/images/a.png",
    "s3://data/images/../models/x", "s3://data/images/%2e%2e/x", "https://data.s3.amazonaws.com.evil/images/a.png",
    "https://data.s3.eu-west-1.amazonaws.com:8443/images/a.png", "https://u@data.s3.amazonaws.com/images/a.png",
    "https://data.s3.eu-west-1.amazonaws.com/images/a.png?X-Amz-Signature=mark-7f3e91c2",
    "//data/images/a.png", "https://s3.eu-west-1.amazonaws.com/other/images/a.png", "s3://DATA/images/a.png",
    "data/images/a.png", "",
    "s3://data/images/\ud800", "s3://data/images/a\n.png", "s3://data/images/" + "a" * 2000,
    "s3:///images/a.png",
    "https://data.s3.eu-west-1.amazonaws.com/images/%ff.png", "s3://data/images/a.png#x",
    "data:image/png;base64,AA",
)  # fmt: skip
INSIDE = (
    "s3://data/images/a.png",
    "s3://data/images/deep/er/b.jpg",
    "https://data.s3.eu-west-1.amazonaws.com/images/a.png",
    "https://s3.eu-west-1.amazonaws.com/data/images/a%20b.png",
    "s3://data/images/é.png",
)

_TOKEN = "@token-%d@"

texts = st.text(max_size=12)
scalars = st.one_of(
    st.sampled_from(MARKS),
    texts.map(lambda text: MARKS[0] + text),
    st.just(int(MARKS[1])),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    texts,
    st.sampled_from(range(len(TOKENS))).map(lambda number: _TOKEN % number),
)
values = st.one_of(scalars, scalars, scalars, st.lists(scalars, max_size=2), st.just({}), st.just({"a": 1}))
sound_values = st.one_of(
    st.sampled_from(MARKS), st.none(), st.booleans(), st.integers(-(2**62), 2**62), texts
)
features = st.one_of(st.sampled_from(FEATURES), texts)
rows = st.dictionaries(features, values, max_size=4)
sound_rows = st.dictionaries(st.sampled_from(FEATURES[:4]), sound_values, min_size=1, max_size=4)
addresses = st.one_of(
    st.sampled_from(INSIDE), st.sampled_from(OUTSIDE), texts.map(lambda text: f"s3://data/images/{text}")
)
junk = st.one_of(scalars, st.lists(scalars, max_size=3), rows)
models = st.one_of(st.sampled_from(MODELS), st.sampled_from(MODELS), texts)
# Which model nobody knows is said, as the caller wrote it.
no_models = junk.filter(lambda name: not (isinstance(name, str) and any(mark in name for mark in MARKS)))


sound_documents = st.one_of(
    st.builds(
        lambda rows: {"model": "loans", "instances": rows}, st.lists(sound_rows, min_size=1, max_size=4)
    ),
    st.builds(
        lambda images: {"model": "digits", "images": images},
        st.lists(st.sampled_from(INSIDE), min_size=1, max_size=3),
    ),
)


@st.composite
def odd_documents(draw):
    """What a body says, roughly as a body with rows or images."""
    kind = draw(st.sampled_from(["images", "rows", "rows", "members", "other"]))
    if kind == "other":
        return draw(junk)
    if kind == "images":
        images = st.lists(st.one_of(addresses, addresses, addresses, junk), max_size=9)
        return {"model": draw(st.sampled_from(["digits", "digits", "loans"])), "images": draw(images)}
    instances = draw(
        st.one_of(st.lists(rows, max_size=25), st.lists(st.one_of(rows, junk), max_size=3), junk)
    )
    content = {"model": draw(st.one_of(models, models, no_models)), "instances": instances}
    if kind == "members":
        names = st.sampled_from(["images", "Version", "a\nb", "\ud800"])
        content |= draw(st.dictionaries(names, junk, max_size=2))
        for name in draw(st.sets(st.sampled_from(["model", "instances"]), max_size=1)):
            del content[name]
    return content


@st.composite
def odd_json(draw):
    text = json.dumps(draw(odd_documents()), ensure_ascii=draw(st.booleans()))
    text = re.sub(r'"@token-(\d+)@"', lambda match: TOKENS[int(match[1])], text)
    encoding = draw(st.sampled_from([*["utf-8"] * 7, "utf-8-sig", "utf-16", "utf-32"]))
    return text.encode(encoding, errors="surrogatepass")


sound_json = sound_documents.map(lambda content: json.dumps(content).encode())
_quoted = texts.map(lambda text: '"' + text.replace('"', '""') + '"')
_plain = st.sampled_from([*MARKS, "", "1.5", "-3", "007", "1e5"])


@st.composite
def csv(draw, cells, regular):
    names = draw(st.lists(st.sampled_from(FEATURES[:4]), min_size=1, max_size=4, unique=regular))
    width = st.just(len(names)) if regular else st.integers(0, 6)
    lines = width.flatmap(lambda count: st.lists(cells, min_size=count, max_size=count))
    found = draw(st.lists(lines, min_size=regular, max_size=4 if regular else 24))
    end = draw(st.sampled_from(["\n", "\r\n"] if regular else ["\n", "\r\n", "\r"]))
    return end.join(",".join(line) for line in [names, *found]).encode(errors="surrogatepass")


sound_csv = csv(st.one_of(_plain, _quoted), regular=True)
odd_csv = csv(st.one_of(_plain, _quoted, texts, st.sampled_from(TOKENS[:8])), regular=False)


@st.composite
def damaged(draw, bodies):
    body = draw(bodies)
    place = draw(st.integers(0, len(body)))
    before, after = body[:place], body[place:]
    piece = draw(st.binary(min_size=1, max_size=3))
    return draw(st.sampled_from([before, before + piece + after, before + piece + after[1:], body + body]))


_starts = st.sampled_from([b"[", b'"', b"a,", b"\n", b'{"a":'])
odd_bodies = st.one_of(
    odd_json(),
    odd_json(),
    odd_json(),
    odd_csv,
    damaged(sound_json),
    damaged(sound_csv),
    st.binary(max_size=60),
    st.just(b""),
    st.builds(lambda start, times: start * times, _starts, st.integers(1, 9000)),
)


@st.composite
def content_types(draw):
    media_type = draw(st.one_of(st.sampled_from(MEDIA_TYPES), st.sampled_from(MEDIA_TYPES[:2]), texts))
    return media_type + draw(st.sampled_from(PARAMETERS))


queries = st.one_of(
    models.map(lambda model: "model=" + quote(model, errors="replace")),
    st.sampled_from(
        [
            "",
            "model=loans&model=homes",
            "model",
            "model=%ff",
            "model=loans&x=1",
            "&" * 40,
            "Model=loans",
            "%",
            "a=b;c",
        ]
    ),
    texts,
)


@st.composite
def requests(draw, most_odd=3):
    """Method, path, query, headers and body of an HTTP request: sound, but for some of them."""
    parts = st.sampled_from([*6 * ["body"], *2 * ["type"], "query", "method", "path", "headers"])
    odd = draw(st.lists(parts, max_size=most_odd))
    is_csv = draw(st.sampled_from([False, False, True]))
    if "body" in odd:
        body = draw(odd_bodies)
        is_csv = is_csv and body[:1] not in (b"{", b"[")
    else:
        body = draw(sound_csv if is_csv else sound_json)
    content_type = "text/csv" if is_csv else "application/json"
    if "type" in odd:
        content_type = draw(st.one_of(st.none(), content_types()))
    extra = st.dictionaries(st.sampled_from(["accept", "x-forwarded-for", "x-amz-date", "cookie"]), texts)
    return (
        draw(st.sampled_from(METHODS)) if "method" in odd else "POST",
        draw(st.sampled_from(PATHS)) if "path" in odd else "/",
        draw(queries) if "query" in odd else "model=loans" if is_csv else "",
        {
            **({} if content_type is None else {"content-type": content_type}),
            **(draw(extra) if "headers" in odd else {}),
        },
        body,
    )
