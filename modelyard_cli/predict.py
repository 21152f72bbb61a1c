"""`modelyard predict`: rows through the deployed function URL, by way of the client for callers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from rich.table import Table

from modelyard_cli import images
from modelyard_cli.aws import client, stack_outputs
from modelyard_cli.errors import DENIED, FAILED, UNREACHABLE, CliError
from modelyard_cli.output import JsonOption, console, print_json
from modelyard_cli.rows import Row, read_rows
from modelyard_client import AccessDeniedError, ApiError, Client, Prediction

# Above what a cold model may take to load behind the endpoint (60 s).
DEADLINE_S = 75.0


def predict(
    model: Annotated[str, typer.Argument(help="Model name: the name of its model package group.")],
    files: Annotated[
        list[str],
        typer.Argument(
            help="Rows: one .json, .jsonl or .csv with a header. Or images: .jpg and .png files, which are "
            "uploaded first, or their s3:// addresses.",
        ),
    ],
    url: Annotated[
        str | None,
        typer.Option(envvar="MODELYARD_URL", help="Function URL; default: the deployed stacks' output."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict rows of a file, or images, with the version of the model that is deployed now."""
    if not any(map(images.is_image, files)):
        if len(files) > 1:
            raise CliError(f"rows come from one file, {len(files)} are named; images end in .jpg or .png")
        rows = read_rows(Path(files[0]))
        answer = invoke(url or _output("inference", "FunctionUrl"), model, rows)
        names = [str(number) for number in range(1, len(rows) + 1)]
    else:
        names = images.check(files)
        addresses = images.upload(files, lambda: _output("data", "ImageFolder"))
        answer = invoke_images(url or _output("inference", "FunctionUrl"), model, addresses)
    if as_json:
        print_json(answer)
        return
    versions = ", ".join(map(str, answer["versions"]))
    table = Table(title=f"{answer['model']} version {versions}")
    table.add_column("image" if any(map(images.is_image, files)) else "row", justify="right")
    table.add_column("prediction", justify="right", style="green")
    for name, value in zip(names, answer["predictions"], strict=True):
        table.add_row(name, shown(value))
    console.print(table)


def _output(stack: str, name: str) -> str:
    return stack_outputs(client("cloudformation"), stack, name)[0]


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
    """Ask the function URL for predictions, in as many requests as their number takes.

    Raises:
        CliError: the function answered with an error, or did not answer.
    """
    return _invoke(url, session, model, lambda predictor: predictor.predict_batches(model, rows))


def invoke_images(
    url: str, model: str, addresses: Sequence[str], session: boto3.Session | None = None
) -> dict[str, Any]:
    """Ask the function URL about images in S3, one at a time: together they could be too large for a request.

    Raises:
        CliError: as `invoke`; the message names the image.
    """

    def ask(predictor: Client) -> Iterator[Prediction]:
        for address in addresses:
            try:
                yield predictor.predict_images(model, [address])
            except ApiError as error:
                raise _refusal(error, f"{address}: ") from error

    return _invoke(url, session, model, ask)


def _invoke(
    url: str,
    session: boto3.Session | None,
    model: str,
    ask: Callable[[Client], Iterable[Prediction]],
) -> dict[str, Any]:
    session = session or boto3.Session()
    credentials = session.get_credentials()
    if credentials is None:
        raise CliError("no AWS credentials in the environment", UNREACHABLE)
    answers: list[Prediction] = []
    try:
        with Client(
            url, credentials=credentials, region=session.region_name, deadline_seconds=DEADLINE_S
        ) as predictor:
            answers.extend(ask(predictor))
    except ApiError as error:
        raise _refusal(error) from error
    except ValueError as error:
        raise CliError(str(error)) from error
    versions = sorted({answer.version for answer in answers})
    return {
        "model": model,
        # None where another one was deployed between two requests, or a canary answered some.
        "version": versions[0] if len(versions) == 1 else None,
        "versions": versions,
        "predictions": [prediction for answer in answers for prediction in answer.predictions],
    }


def _refusal(error: ApiError, what: str = "") -> CliError:
    code = FAILED
    if isinstance(error, AccessDeniedError):
        code = DENIED
    elif error.code == "no_answer":
        code = UNREACHABLE
    return CliError(f"{what}{error.status or 'no answer'}: {error.message}", code)
