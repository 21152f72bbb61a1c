"""`modelyard run`: start a pipeline and watch its steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from modelyard_cli.aws import client, is_local
from modelyard_cli.errors import FAILED
from modelyard_cli.executions import Execution, Step, parse_parameters, start, watch
from modelyard_cli.output import JsonOption, console, print_json, progress, styled

# Looking costs nothing on this machine; in an account the API is throttled.
LOCAL_EVERY_S, ACCOUNT_EVERY_S = 0.3, 5.0


def run(
    pipeline: Annotated[str, typer.Argument(help="Pipeline name.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE; repeat for more.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Start it and return at once.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a pipeline and show its steps as they run; exits 1 if the execution does not succeed."""
    sagemaker = client("sagemaker")
    arn = start(sagemaker, pipeline, parse_parameters(parameter or []))
    if detach:
        print_json({"execution_arn": arn}) if as_json else console.print(arn)
        return
    every = LOCAL_EVERY_S if is_local(sagemaker) else ACCOUNT_EVERY_S
    final = show(watch(sagemaker, arn, every), pipeline, progress if as_json else console)
    if as_json:
        print_json(final.as_json())
    if final.status != "Succeeded":
        raise SystemExit(FAILED)


def show(states: Iterable[Execution], title: str, to: Console) -> Execution:
    """Draw each state over the last one; without a terminal, a line for each change and for the end."""
    final: Execution | None = None
    if not to.is_terminal:
        seen: dict[str, str] = {}
        for final in states:
            for step in final.steps:
                if step.status not in ("Waiting", "Skipped", seen.get(step.name)):
                    seen[step.name] = step.status
                    _say(to, final, f"{step.name}: {step.status} {step.detail}")
        if final is not None:
            _say(to, final, f"{final.status} {final.failure_reason or ''}")
    else:
        with Live(console=to, refresh_per_second=8) as live:
            for final in states:
                live.update(picture(final, title))
    if final is None:
        raise ValueError("an execution has at least one state")
    return final


def _say(to: Console, execution: Execution, what: str) -> None:
    # A reason is somebody's text: brackets in it are no markup.
    to.print(f"{execution.seconds:6.1f} s  {what}".rstrip(), markup=False, soft_wrap=True)


def picture(execution: Execution, title: str) -> Group:
    """A table of the steps and a line for the execution."""
    table = Table(title=title, title_justify="left", pad_edge=False)
    for name in ("step", "type", "status"):
        table.add_column(name, no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("", overflow="fold")
    for step in execution.steps:
        if step.status == "Skipped":  # the branch that was not taken says nothing
            continue
        table.add_row(
            step.name,
            step.type,
            styled(step.status),
            f"{step.seconds:.1f}" if step.seconds else "",
            _note(step),
        )
    line = Text.from_markup(f"{styled(execution.status)}  {execution.seconds:.1f} s")
    if execution.failure_reason:
        line.append(f"  {execution.failure_reason}", style="red")
    return Group(table, line)


def _note(step: Step) -> Text:
    return Text(step.detail, style="red" if step.status == "Failed" else "dim")
