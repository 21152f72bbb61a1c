"""`modelyard predict`: rows through the deployed function URL, signed as any AWS client would."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import boto3
import typer
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from rich.table import Table

from modelyard_cli.aws import client, stack_outputs
from modelyard_cli.errors import DENIED, FAILED, UNREACHABLE, CliError
from modelyard_cli.output import JsonOption, console, print_json
from modelyard_cli.rows import Row, read_rows

# Above what a cold model may take to load behind the endpoint (60 s).
TIMEOUT_S = 75.0


def predict(
    model: Annotated[str, typer.Argument(help="Model name: the name of its model package group.")],
    file: Annotated[Path, typer.Argument(help="Rows: .json, .jsonl or .csv with a header.")],
    url: Annotated[
        str | None,
        typer.Option(envvar="MODELYARD_URL", help="Function URL; default: the deployed stacks' output."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the rows of a file with the version of the model that is deployed now."""
    rows = read_rows(file)
    answer = invoke(url or stack_outputs(client("cloudformation"))["FunctionUrl"], model, rows)
    if as_json:
        print_json(answer)
        return
    table = Table(title=f"{answer['model']} version {answer['version']}")
    table.add_column("row", justify="right")
    table.add_column("prediction", justify="right", style="green")
    for number, value in enumerate(answer["predictions"], 1):
        table.add_row(str(number), shown(value))
    console.print(table)


def shown(prediction: Any) -> str:
    """A regression's number, a classifier's label with its probability, anything else as JSON.

    >>> shown({"label": "yes", "probabilities": {"no": 0.1, "yes": 0.9}})
    'yes (0.900)'
    """
    match prediction:
        case float():
            return f"{prediction:.4f}"
        case {"label": str(label), "probabilities": {**probabilities}} if label in probabilities:
            return f"{label} ({probabilities[label]:.3f})"
        case _:
            return json.dumps(prediction)


def invoke(url: str, model: str, rows: list[Row], session: boto3.Session | None = None) -> dict[str, Any]:
    """Ask the function URL for predictions; the request is signed with SigV4 for the service `lambda`.

    Raises:
        CliError: the function answered with an error, or did not answer.
    """
    session = session or boto3.Session()
    body = json.dumps({"model": model, "instances": rows}).encode()
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json"})
    credentials = session.get_credentials()
    if credentials is None:
        raise CliError("no AWS credentials in the environment", UNREACHABLE)
    SigV4Auth(credentials, "lambda", session.region_name).add_auth(request)
    target, headers = reachable(url), dict(request.headers)
    headers["Host"] = urlsplit(url).netloc
    http = urllib.request.Request(target, data=body, headers=headers, method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(http, timeout=TIMEOUT_S, context=_tls()) as response:  # noqa: S310
            return dict(json.loads(response.read()))
    except urllib.error.HTTPError as error:
        raise _refusal(error) from error
    except (OSError, ValueError) as error:
        raise CliError(f"{url} does not answer: {error}", UNREACHABLE) from error


def reachable(url: str) -> str:
    """The address to connect to: names below localhost do not resolve everywhere, the machine itself does."""
    parts = urlsplit(url)
    if parts.hostname and parts.hostname.endswith(".localhost"):
        port = f":{parts.port}" if parts.port else ""
        return parts._replace(netloc=f"localhost{port}").geturl()
    return url


def _tls() -> ssl.SSLContext:
    bundle = os.environ.get("AWS_CA_BUNDLE")
    return ssl.create_default_context(cafile=bundle)


def _refusal(error: urllib.error.HTTPError) -> CliError:
    raw = error.read().decode("utf-8", "replace")
    try:
        document = json.loads(raw)
    except ValueError:
        document = {}
    detail = document.get("error", document)
    message = (
        detail.get("message") or detail.get("Message") or raw[:300]
        if isinstance(detail, dict)
        else str(detail)
    )
    return CliError(f"{error.code}: {message}", DENIED if error.code == 403 else FAILED)
