"""`modelyard train submit`, `watch`, `logs`, `list`, `cancel` and `resume`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from modelyard_cli.errors import FAILED, CliError
from modelyard_cli.output import JsonOption, console, print_json, progress, styled
from modelyard_cli.train.jobs import ENDED, Cluster, Job, cluster, request, trainers_log
from modelyard_cli.train.logs import Line, Log

app = typer.Typer(help="Train on the cluster: jobs that survive the loss of hosts.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the job.")]
_EVERY_S = 2.0


@app.command()
def submit(
    job: Annotated[str, typer.Argument(help="Name of the job: small letters, digits, inner hyphens.")],
    data: Annotated[str, typer.Option("--data", help="s3:// address of the dataset's manifest.")],
    hosts: Annotated[int, typer.Option(min=1, help="Hosts of the job; it starts when it can have all.")] = 1,
    min_hosts: Annotated[int, typer.Option(min=1, help="Fewest that it goes on with after a loss.")] = 1,
    rigid: Annotated[bool, typer.Option("--rigid", help="Start anew when any host is lost.")] = False,
    instance: Annotated[
        bool, typer.Option("--instance", help="On a single host that is started for it, not on the cluster.")
    ] = False,
    budget: Annotated[float | None, typer.Option(help="Cost in USD at which it ends.")] = None,
    max_hours: Annotated[float | None, typer.Option(help="Hours with hosts after which it ends.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--setting", "-s", help="NAME=VALUE for the trainer; repeat for more.")
    ] = None,
    register: Annotated[
        str | None, typer.Option(help="Model package group in which its best and last model are registered.")
    ] = None,
    wandb: Annotated[
        str | None,
        typer.Option(help="Project of Weights & Biases: its runs are below the job's output, to be synced."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the job is accepted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask for a job and show how it goes; exits 1 if it does not complete. Asking twice does no harm."""
    asked = request(
        job,
        data,
        setting or [],
        hosts=hosts,
        min_hosts=min_hosts,
        elastic=not rigid,
        budget_usd=budget,
        max_hours=max_hours,
        model_group=register,
        wandb=wandb,
        instance=instance or None,
    )
    place = cluster()
    known = place.find(job)
    if known is not None and any(
        known.document["request"].get(name) != value for name, value in asked.items()
    ):
        raise CliError(f"job {job} exists and asks for something else; choose another name")
    place.send(asked)
    accepted = place.until(job, lambda _: True)
    if detach:
        _say(accepted, as_json=as_json)
    else:
        _follow(place, job, as_json=as_json)


@app.command()
def watch(job: Name, as_json: JsonOption = False) -> None:
    """Show how a job goes until it ends; exits 1 if it does not complete."""
    place = cluster()
    place.get(job)
    _follow(place, job, as_json=as_json)


@app.command()
def logs(
    job: Name,
    rank: Annotated[int | None, typer.Option(min=0, help="Of one rank only.")] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="Of one attempt only.")] = None,
    follow_: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, metrics too.")] = False,
) -> None:
    """Print what a job's hosts have written: time, attempt/rank, line; after its last line why it ended."""
    place = cluster()
    known = place.get(job)
    log = Log(*trainers_log(known), attempt=attempt, rank=rank)
    states = follow(place, job, _EVERY_S) if follow_ else [known]
    said = False
    for known in states:
        for line in log.new(known):
            said = _print_line(line, as_json=as_json) or said
    if follow_:
        # What its hosts wrote last may come after the record says that it has ended.
        time.sleep(_EVERY_S)
        for line in log.new(known):
            said = _print_line(line, as_json=as_json) or said
    told = "" if said else "no lines: none was written, or they are no longer kept. "
    progress.print(f"{job}: {told}{known.state}: {known.reason}", markup=False, soft_wrap=True)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most jobs.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List jobs: those that go on, then those that have ended, newest first."""
    jobs = cluster().list(limit)
    if as_json:
        print_json([job.as_json() for job in jobs])
    else:
        console.print(jobs_table(jobs))


@app.command()
def cancel(job: Name, as_json: JsonOption = False) -> None:
    """End a job; its checkpoints stay, and it can be resumed."""
    place = cluster()
    known = place.get(job)
    if known.state in ("completed", "failed"):
        raise CliError(f"job {job} has {known.state} already: {known.reason}", FAILED)
    place.send({"cancel": job})
    _say(place.until(job, lambda seen: seen.state in ENDED | {"cancelling"}), as_json=as_json)


@app.command()
def resume(job: Name, as_json: JsonOption = False) -> None:
    """Go on with a job that failed or was cancelled, from its last checkpoint."""
    place = cluster()
    known = place.get(job)
    if known.state not in ("failed", "cancelled"):
        raise CliError(
            f"job {job} is {known.state}; only one that failed or was cancelled is resumed", FAILED
        )
    place.send({"resume": job})
    resumed = place.until(job, lambda seen: seen.state not in ENDED or seen.updated > known.updated)
    _say(resumed, as_json=as_json)


def jobs_table(jobs: Iterable[Job]) -> Table:
    """Jobs for people."""
    table = Table(title="training jobs", title_justify="left", pad_edge=False)
    for name in ("job", "state", "hosts", "attempt", "step", "saved", "USD", "submitted"):
        right = name in ("hosts", "attempt", "step", "saved", "USD")
        table.add_column(name, no_wrap=True, justify="right" if right else "left")
    table.add_column("", overflow="fold")
    for job in jobs:
        table.add_row(
            job.name,
            styled(job.state),
            f"{job.hosts}/{job.asked_hosts}",
            str(job.attempt),
            str(job.step),
            "" if job.saved_step is None else str(job.saved_step),
            f"{job.cost:.2f}",
            f"{datetime.fromtimestamp(job.submitted, UTC):%Y-%m-%d %H:%M:%S}",
            Text(job.reason, style="red" if job.state == "failed" else "dim"),
        )
    return table


def follow(
    place: Cluster, name: str, every_s: float, pause: Callable[[float], None] = time.sleep
) -> Iterator[Job]:
    """The job again and again until it has ended; the last one yielded is the ended one."""
    while True:
        job = place.get(name)
        yield job
        if job.state in ENDED:
            return
        pause(every_s)


def show(states: Iterable[Job], to: Console) -> Job:
    """Draw each state over the last one; where the output is no terminal, a line for each change."""
    final: Job | None = None
    if to.is_terminal:
        with Live(console=to, refresh_per_second=4) as live:
            for final in states:
                live.update(jobs_table([final]))
    else:
        seen: tuple[object, ...] = ()
        for final in states:
            now = (final.state, final.attempt, final.hosts, final.saved_step, final.reason)
            if now != seen:
                to.print(_line(final), markup=False, soft_wrap=True)
            seen = now
    if final is None:
        raise ValueError("a job has at least one state")
    return final


def _print_line(line: Line, *, as_json: bool) -> bool:
    """Whether there was something to print: metrics are for machines."""
    if as_json:
        typer.echo(json.dumps(line.as_json()))
    elif not line.is_metric:
        typer.echo(str(line))
    return as_json or not line.is_metric


def _line(job: Job) -> str:
    saved = "" if job.saved_step is None else f", saved at {job.saved_step}"
    if job.images_per_second:
        saved += f", {job.images_per_second:.0f} images/s"
    return (
        f"{job.updated - job.submitted:8.1f} s  {job.state}: attempt {job.attempt}, "
        f"{job.hosts} of {job.asked_hosts} hosts, step {job.step}{saved}, {job.cost:.2f} USD. {job.reason}"
    )


def _follow(place: Cluster, name: str, *, as_json: bool) -> None:
    final = show(follow(place, name, _EVERY_S), progress if as_json else console)
    if as_json:
        print_json(final.as_json())
    if final.state != "completed":
        raise SystemExit(FAILED)


def _say(job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json(job.as_json())
    else:
        console.print(f"{job.name}: {styled(job.state)}", Text(job.reason, style="dim"))
