"""`modelyard up`, `down`, `status` and `env`: the local cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard_cli.errors import FAILED, UNREACHABLE, CliError
from modelyard_cli.output import JsonOption, console, print_json, progress

State = Annotated[Path, typer.Option(help="Folder for everything the local cloud writes.")]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: the last run's, or any free one.")
]
Region = Annotated[
    str | None, typer.Option(help="Region that the local cloud plays; default: the folder's, or us-east-1.")
]
Clock = Annotated[
    float,
    typer.Option(
        min=1,
        max=60,
        help="How many times faster the metrics, alarms and cooldowns of scaling run than on AWS.",
    ),
]
_STATE = Path(".modelyard")


def up(
    state: State = _STATE,
    port: Port = 0,
    region: Region = None,
    clock: Clock = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Start the local cloud in the background; returns when it answers."""
    from localcloud import lifecycle

    with progress.status("Starting the local cloud ..."):
        try:
            record = lifecycle.up(state, port=port, region=region, clock=clock)
        except lifecycle.Refused as refusal:
            raise CliError(str(refusal), FAILED) from None
    if as_json:
        print_json({name: value for name, value in record.items() if name != "credentials"})
        return
    if record["state_discarded"]:
        console.print("[yellow]The last run did not end cleanly: its resources are gone.[/yellow]")
    console.print(f"Local cloud at [bold]{record['endpoint_url']}[/bold] ({record['region']})")
    _say_clock(record["clock"])
    console.print('Point a shell at it: [cyan]eval "$(modelyard env)"[/cyan]')


def _say_clock(clock: float) -> None:
    if clock != 1:
        console.print(
            f"[yellow]The time of scaling and deployments runs {clock:g} times as fast as on AWS.[/yellow]"
        )


def down(state: State = _STATE, as_json: JsonOption = False) -> None:
    """Stop the local cloud and everything that it started; what it holds is kept for the next start."""
    from localcloud import lifecycle

    with progress.status("Stopping the local cloud ..."):
        result = lifecycle.down(state)
    if as_json:
        print_json(result)
    elif not result["was_running"] and result["state_kept"]:
        console.print(f"No local cloud is running on {state}.")
    else:
        console.print("Local cloud stopped." + _losses(result))


def _losses(result: dict[str, Any]) -> str:
    """What a stop that was not clean cost."""
    if result["state_kept"]:
        return ""
    return f" It had not ended cleanly: {result['ended']} processes were ended, its resources are gone."


def status(state: State = _STATE, as_json: JsonOption = False) -> None:
    """Show whether the local cloud runs, where, and what it takes; exit code 3 if it does not."""
    from localcloud import lifecycle

    report = lifecycle.status(state)
    if as_json:
        print_json(report)
        if not report["running"]:
            raise SystemExit(UNREACHABLE)
        return
    if not report["running"]:
        if report["starting"]:
            raise CliError(f"the local cloud on {state} is still starting.", UNREACHABLE)
        raise CliError(f"no local cloud is running on {state}. Start one: modelyard up", UNREACHABLE)
    minutes, seconds = divmod(int(report["uptime_seconds"]), 60)
    megabytes = report["memory_bytes"] / 1e6
    console.print(f"Local cloud at [bold]{report['endpoint_url']}[/bold] ({report['region']})")
    console.print(
        f"up {minutes} min {seconds} s, {report['processes']} processes, {megabytes:.0f} MB, "
        f"state in {report['state']}"
    )
    _say_clock(report["clock"])


def env(state: State = _STATE, as_json: JsonOption = False) -> None:
    """Print the shell exports that point the AWS CLI, boto3 and the CDK CLI at the local cloud."""
    from localcloud.connect import NotRunning, client_environment, connect, shell_exports

    try:
        cloud, key = connect(state)
    except NotRunning as error:
        raise CliError(str(error), UNREACHABLE) from None
    if as_json:
        print_json(client_environment(cloud, key))
    else:
        typer.echo(shell_exports(cloud, key), nl=False)
