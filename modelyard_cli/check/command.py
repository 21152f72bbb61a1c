"""`modelyard check`: its arguments and its output."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from modelyard_cli.errors import FAILED
from modelyard_cli.output import JsonOption, console, print_json, progress


def check(
    paths: Annotated[
        list[Path], typer.Argument(help="Cloud assemblies (cdk.out), templates, pipeline definitions.")
    ],
    acknowledgements: Annotated[
        Path | None, typer.Option(help="File of accepted findings; default: modelyard-check.toml.")
    ] = None,
    cfn_lint: Annotated[bool, typer.Option(help="Run cfn-lint on templates too.")] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Advice fails the check too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find faults in templates and pipeline definitions; exit code 1 if there are any."""
    from rich.markup import escape

    from modelyard_cli.check.run import check as run

    with progress.status("Checking ..."):
        report = run(paths, acknowledgements=acknowledgements, cfn_lint=cfn_lint)
    if as_json:
        print_json(asdict(report))
    else:
        for finding in (*report.findings, *report.advice):
            mark = "[yellow]advice [/yellow]" if finding.advice else ""
            colour = "yellow" if finding.advice else "red"
            console.print(f"{mark}[bold {colour}]{finding.rule}[/] [bold]{escape(finding.place)}[/bold]")
            console.print(f"  {escape(finding.message)}", soft_wrap=True)
            console.print(f"  [dim]{escape(finding.remedy)}[/dim]", soft_wrap=True)
        accepted = f", {report.acknowledged} acknowledged" if report.acknowledged else ""
        console.print(
            f"{report.templates} templates, {report.definitions} definitions: "
            f"{len(report.findings)} findings, {len(report.advice)} pieces of advice{accepted}"
        )
    if report.findings or (strict and report.advice):
        raise SystemExit(FAILED)
