"""`modelyard graph`: a definition, or what an execution made of it, as a picture."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from localcloud.sagemaker.pipelines.problems import DefinitionError
from modelyard_cli.errors import CliError
from modelyard_cli.executions import declared_steps, definition_of, observe
from modelyard_cli.graph.mermaid import as_mermaid
from modelyard_cli.graph.picture import Picture, picture_of, with_execution
from modelyard_cli.graph.svg import as_svg
from modelyard_cli.output import JsonOption, console, print_json


class Format(StrEnum):
    """How a picture is written."""

    SVG = "svg"
    MERMAID = "mermaid"


def graph(
    definition: Annotated[
        Path | None, typer.Argument(help="A pipeline definition; not needed with --execution.")
    ] = None,
    execution: Annotated[
        str | None, typer.Option(help="ARN of an execution: draws its definition, outcome and times.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; .svg or .mmd decides the format.")
    ] = None,
    format_: Annotated[
        Format | None, typer.Option("--format", help="Without --output, on stdout; mermaid by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a pipeline definition, or an execution with its outcome and times, as SVG or Mermaid."""
    picture = _picture(definition, execution)
    if as_json:
        print_json(picture.as_json())
        return
    chosen = format_ or _by_suffix(output)
    text = as_svg(picture) if chosen is Format.SVG else as_mermaid(picture)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{output}: cannot be written: {error.strerror}") from error
    console.print(f"{output}: {len(picture.nodes)} steps")


def _picture(definition: Path | None, execution: str | None) -> Picture:
    if (definition is None) == (execution is None):
        raise CliError("name a definition file, or an execution with --execution ARN; one of the two")
    if execution is not None:
        from modelyard_cli.aws import client  # a second of imports that drawing a file does without

        sagemaker = client("sagemaker")
        text = definition_of(sagemaker, execution)
        seen = observe(sagemaker, execution, declared_steps(text))
        return with_execution(_parsed(text, execution, execution.split("/")[-3]), seen)
    assert definition is not None
    try:
        text = definition.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{definition}: cannot be read: {error}") from error
    return _parsed(text, str(definition), definition.stem)


def _parsed(text: str, where: str, title: str) -> Picture:
    try:
        return picture_of(text, title)
    except DefinitionError as error:
        raise CliError(f"{where}: {' '.join(str(error).split())}") from error


def _by_suffix(output: Path | None) -> Format:
    if output is None:
        return Format.MERMAID
    known = {".svg": Format.SVG, ".mmd": Format.MERMAID, ".mermaid": Format.MERMAID, ".md": Format.MERMAID}
    if output.suffix not in known:
        raise CliError(f"{output}: a name that ends in .svg or .mmd says what to write, or add --format")
    return known[output.suffix]
