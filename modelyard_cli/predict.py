"""`modelyard predict`: rows through the deployed function URL, by way of the client for callers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from rich.table import Table

from modelyard_cli.aws import client, stack_outputs
from modelyard_cli.errors import DENIED, FAILED, UNREACHABLE, CliError
from modelyard_cli.output import JsonOption, console, print_json
from modelyard_cli.rows import Row, read_rows
from modelyard_client import AccessDeniedError, ApiError, Client

# Above what a cold model may take to load behind the endpoint (60 s).
DEADLINE_S = 75.0


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
    versions = ", ".join(str(version) for version in answer["versions"])
    table = Table(title=f"{answer['model']} version {versions}")
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
    """Ask the function URL for predictions, in as many requests as their number takes.

    Raises:
        CliError: the function answered with an error, or did not answer.
    """
    session = session or boto3.Session()
    credentials = session.get_credentials()
    if credentials is None:
        raise CliError("no AWS credentials in the environment", UNREACHABLE)
    try:
        with Client(
            url, credentials=credentials, region=session.region_name, deadline_seconds=DEADLINE_S
        ) as predictor:
            answers = list(predictor.predict_batches(model, rows))
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


def _refusal(error: ApiError) -> CliError:
    code = FAILED
    if isinstance(error, AccessDeniedError):
        code = DENIED
    elif error.code == "no_answer":
        code = UNREACHABLE
    return CliError(f"{error.status or 'no answer'}: {error.message}", code)
