"""What the demo shows: a line for each phase as it ends, a spinner with the last news while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modelyard_cli.output import console

News = Callable[[str], None]


class Screen:
    """Times phases and shows them; `seconds` holds what each took, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, title: str) -> Iterator[News]:
        """Show `title` while the body runs, with the latest text given to the yielded function."""
        started = time.monotonic()
        latest = ""
        if not console.is_terminal:
            console.print(f"  {title} ...")
        with console.status(f"[bold]{title}[/bold]", spinner="dots") as status:

            def news(text: str) -> None:
                nonlocal latest
                latest = text
                status.update(f"[bold]{title}[/bold]  [dim]{text}[/dim]")

            try:
                yield news
            except BaseException:
                console.print(f"[bold red]✗[/bold red] {title}")
                raise
        self.seconds[name] = time.monotonic() - started
        console.print(
            f"[green]✓[/green] {title} [dim]{latest}[/dim]  [cyan]{self.seconds[name]:.1f} s[/cyan]"
        )
