"""What is in requests to the model server: rows and images, whole, changed, broken, deep and endless."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import ModuleType

from hypothesis import strategies as st

# Of models that may be loaded.
KEPT = "abcdefgh"
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


@dataclass(frozen=True)
class Served:
    """A model that is asked: at which routes, for which rows; those of images hold an image."""

    routes: tuple[str, ...]
    rows: list[dict[str, object]]

    @property
    def of_images(self) -> bool:
        return "image" in self.rows[0]


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


def bodies(models: list[Served]) -> st.SearchStrategy[bytes]:
    def good(served: Served) -> st.SearchStrategy[bytes]:
        line = ",".join("" if value is None else str(value) for value in served.rows[0].values())
        whole = json.dumps({"instances": served.rows}).encode()
        images = [_images().bodies()] if served.of_images else []
        return st.one_of(
            documents(served.rows), st.just(whole), st.just(f"{line}\n{line}\n".encode()), *images
        )

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
        *map(good, models),
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


def right(served: Served) -> st.SearchStrategy[tuple[str, bytes]]:
    """A type with a body that the model takes, or with one value of it changed."""
    rows = served.rows
    values = [["" if value is None else str(value) for value in row.values()] for row in rows]
    lines = "\n".join(map(",".join, values))
    whole = json.dumps({"instances": rows}).encode()
    changed = st.tuples(st.sampled_from(["application/json", "application/jsonlines"]), documents(rows))
    if served.of_images:
        return st.one_of(st.just(("application/json", whole)), changed, *3 * [_images().typed()])
    many = max(1, 80 // len(rows))
    return st.one_of(
        st.sampled_from(
            [
                ("application/json", whole),
                ("application/json", json.dumps({"instances": rows * many}).encode()),
                ("application/jsonlines", "\n".join(map(json.dumps, rows)).encode()),
                ("text/csv", lines.encode()),
                ("text/csv; charset=utf-8", f"{lines}\r\n".encode()),
                ("text/libsvm", b"1\n0\n"),
            ]
        ),
        changed,
    )


def _images() -> ModuleType:
    # With Pillow, which comes with PyTorch.
    from tests.unit import fuzz_server_images

    return fuzz_server_images
