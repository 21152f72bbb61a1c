"""Terminals for people, JSON for machines."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

console = Console(highlight=False)
progress = Console(stderr=True, highlight=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]

STATUS_STYLE = {
    "Succeeded": "green", "Completed": "green", "Approved": "green", "InService": "green",
    "Executing": "cyan", "InProgress": "cyan", "Starting": "cyan", "Creating": "cyan", "Updating": "cyan",
    "Failed": "bold red", "Rejected": "red", "Stopped": "yellow", "Stopping": "yellow",
    "PendingManualApproval": "yellow",
    "completed": "green", "running": "cyan", "starting": "cyan", "failed": "bold red",
    "cancelled": "yellow", "cancelling": "yellow", "backing-off": "yellow",
}  # fmt: skip


def styled(status: str) -> str:
    """A status in its colour, as rich markup."""
    style = STATUS_STYLE.get(status, "dim")
    return f"[{style}]{status}[/{style}]"


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, indent=2, default=str))
