"""The client before a real HTTPS server: what it sends, and what it makes of the answers."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError

import modelyard_client
from modelyard_client import (
    AccessDeniedError,
    ApiError,
    BadRequestError,
    Canary,
    Client,
    ClockSkewError,
    ModelError,
    ModelInfo,
    NotFoundError,
    UnavailableError,
    UnexpectedAnswerError,
)
from tests.unit.client_server import Asked, Server, answer, predictions, refusal, serve

ROOT = Path(__file__).parents[2]
README = ROOT / "modelyard_client" / "README.md"
FUNCTION_README = ROOT / "constructs" / "modelyard" / "inference" / "README.md"
KEYS = SimpleNamespace(access_key="AKIDEXAMPLE", secret_key="secret", token=None)
ROWS = [{"a": 1}, {"a": 2}]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("client")) as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(running.ca_bundle))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("MODELYARD_URL", running.url + "/")
    running.asked.clear()
    return running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(deadline_seconds=5) as made:
        yield made


def signature_of(asked: Asked, url: str, keys: Any = KEYS) -> str:
    """The signature that the request must have, computed anew from what arrived."""
    signed = re.search(r"SignedHeaders=([^,]+)", asked.headers["authorization"])
    assert signed is not None
    names = [name for name in signed.group(1).split(";") if name != "host"]
    request = AWSRequest(asked.method, url + asked.path, data=asked.body or None)
    for name in names:
        request.headers[name] = asked.headers[name]
    request.context["timestamp"] = asked.headers["x-amz-date"]
    signer = SigV4Auth(keys, "lambda", "eu-central-1")
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


def test_rows_are_sent_signed_and_answered_with_types(server: Server, client: Client) -> None:
    server.then(predictions(1.5, {"label": "yes", "probabilities": {"yes": 1.0}}))
    found = client.predict("m", ROWS)

    assert (found.model, found.version, found.request_id) == ("m", 3, "r-1")
    assert found.predictions == (1.5, {"label": "yes", "probabilities": {"yes": 1.0}})
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.headers["content-type"]) == ("POST", "/", "application/json")
    assert asked.json == {"model": "m", "instances": ROWS}
    assert "/eu-central-1/lambda/aws4_request" in asked.headers["authorization"]
    assert asked.headers["authorization"].endswith(f"Signature={signature_of(asked, server.url)}")


def test_csv_and_images_are_sent_as_the_function_takes_them(server: Server, client: Client) -> None:
    server.then(predictions(1.0, 2.0))
    client.predict_csv("a model&", "a,b\n1,ü\n2,3\n")
    client.predict_images("digits", ["s3://b/images/1.png", "s3://b/images/2.png"])

    csv, images = server.asked
    assert (csv.path, csv.headers["content-type"]) == ("/?model=a+model%26", "text/csv")
    assert csv.body == "a,b\n1,ü\n2,3\n".encode()
    assert csv.headers["authorization"].endswith(f"Signature={signature_of(csv, server.url)}")
    assert images.json == {"model": "digits", "images": ["s3://b/images/1.png", "s3://b/images/2.png"]}


def test_models_and_health(server: Server, client: Client) -> None:
    entry = {"model": "m", "version": 3, "since": "2026-01-02T03:04:05+00:00"}
    canary = {"version": 4, "since": "2026-02-02T03:04:05+00:00", "percent": 10}
    none = {"model": "n", "version": None, "since": None, "canary": None}
    server.then(
        answer(200, {"models": [{**entry, "canary": canary}, none], "request_id": "r"}),
        answer(200, {"status": "ok", "request_id": "r"}),
    )
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert client.models() == (
        ModelInfo(
            model="m",
            version=3,
            since=since,
            canary=Canary(version=4, since=since.replace(month=2), percent=10),
        ),
        ModelInfo(model="n", version=None, since=None, canary=None),
    )
    assert client.health()
    assert [(asked.method, asked.path) for asked in server.asked] == [("GET", "/models"), ("GET", "/health")]


def test_a_connection_is_kept(server: Server, client: Client) -> None:
    server.then(predictions(1.0), refusal(404, "unknown_model"), predictions(1.0))
    client.predict("m", ROWS[:1])
    with pytest.raises(NotFoundError):
        client.predict("n", ROWS[:1])
    client.predict("m", ROWS[:1])
    assert len({asked.port for asked in server.asked}) == 1


def test_credentials_are_renewed(server: Server) -> None:
    class Renewed:
        given = 0

        def get_frozen_credentials(self) -> Any:
            self.given += 1
            return SimpleNamespace(
                access_key=f"AKID{self.given}", secret_key="s", token=f"token-{self.given}"
            )

    server.then(predictions(1.0))
    with Client(credentials=Renewed()) as client:
        client.predict("m", ROWS[:1])
        client.predict("m", ROWS[:1])
    assert [asked.headers["x-amz-security-token"] for asked in server.asked] == ["token-1", "token-2"]


def test_every_code_of_the_function_has_its_kind(server: Server, client: Client) -> None:
    """The function's README is the list; a code that is new there is met here."""
    kinds: dict[str, type[ApiError]] = {
        "400": BadRequestError, "403": AccessDeniedError, "404": NotFoundError, "405": BadRequestError,
        "413": BadRequestError, "415": BadRequestError, "422": BadRequestError, "424": ModelError,
        "503": UnavailableError,
    }  # fmt: skip
    listed = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", FUNCTION_README.read_text(), re.MULTILINE)
    assert len(listed) >= 8
    for status, codes in listed:
        for code in re.findall(r"`(\w+)`", codes):
            server.then(refusal(int(status), code, retry_after="60"))
            with pytest.raises(kinds[status]) as raised:
                client.predict("m", ROWS)
            assert (raised.value.code, raised.value.status) == (code, int(status))
            assert (raised.value.request_id, raised.value.message) == ("r-2", "why")


def test_lambdas_own_refusals(server: Server, client: Client) -> None:
    server.then(answer(403, {"Message": "Forbidden"}, x_amzn_RequestId="l-1"))
    with pytest.raises(AccessDeniedError, match=r"access_denied \(HTTP 403\): Forbidden") as raised:
        client.predict("m", ROWS)
    assert not isinstance(raised.value, ClockSkewError)
    assert raised.value.request_id == "l-1"

    server.then(answer(413, b"<html>too large</html>"))
    with pytest.raises(BadRequestError, match="body_too_large"):
        client.predict("m", ROWS)


@pytest.mark.parametrize(("minutes", "word"), [(-10, "ahead"), (10, "behind")])
def test_a_clock_that_is_off_is_said(server: Server, client: Client, minutes: int, word: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    server.then(answer(403, {"Message": "Signature expired"}, Date=date))
    with pytest.raises(ClockSkewError, match=rf"clock_skew .* clock is (59|60)\d s {word}") as raised:
        client.predict("m", ROWS)
    assert raised.value.code == "clock_skew"


@pytest.mark.parametrize(
    "said",
    [
        answer(200, b"<html>"),
        answer(200, b"[]"),
        answer(200, {"model": "m"}),
        answer(200, {"model": "m", "version": 3, "predictions": [1.0], "request_id": "r"}),
        answer(302, b"", Location="https://localhost:1/"),
        answer(500, {"error": {"code": "odd", "message": "odd"}}),
    ],
)
def test_what_is_not_the_function_is_said(server: Server, client: Client, said: Any) -> None:
    server.then(said)
    with pytest.raises(UnexpectedAnswerError):
        client.predict("m", ROWS)
    assert len(server.asked) == 1


def test_without_url_or_credentials(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(NoCredentialsError):
        Client()
    with pytest.raises(ValueError, match="give one with https"):
        Client("http://localhost:1")
    monkeypatch.delenv("MODELYARD_URL")
    with pytest.raises(ValueError, match="MODELYARD_URL"):
        Client()


def test_the_region_stands_in_the_url(server: Server) -> None:
    with Client("https://abc123.lambda-url.ap-south-1.on.aws/") as client:
        assert client._transport._region == "ap-south-1"


def test_no_other_server_is_trusted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    server.then(predictions(1.0))
    with Client() as client, pytest.raises(UnexpectedAnswerError, match="no_answer: no trust in"):
        client.predict("m", ROWS)
    assert server.asked == []


def test_the_readmes_snippet_runs(server: Server) -> None:
    listing: Callable[..., Any] = answer(200, {"models": [], "request_id": "r"})
    server.then(predictions(11.5, 20.25), listing, refusal(422, "invalid_instances"))
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(snippet, str(README), "exec"), {})
    assert printed.getvalue() == "3 11.5 20.25\ninvalid_instances r-2\n"


@pytest.mark.timeout(120)
def test_it_installs_alone(tmp_path: Path) -> None:
    """The wheel holds the package, and asks for botocore and what comes with it."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "modelyard_client", source, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(source)], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "modelyard_client").glob("*.py")}
    assert modules | {"modelyard_client/py.typed"} <= names
    assert re.findall(r"^Requires-Dist: (\w+)", metadata, re.MULTILINE) == ["botocore", "urllib3"]


def test_the_readme_names_every_method_and_error() -> None:
    text = README.read_text()
    methods = {name for name in vars(Client) if not name.startswith("_")} - {"close"}
    assert methods == set(re.findall(r"^\| `(\w+)\(", text, re.MULTILINE))
    errors = {name for name in modelyard_client.__all__ if name.endswith("Error")} - {"ApiError"}
    assert errors == set(re.findall(r"^\| `(\w+Error)`", text, re.MULTILINE))
