"""The command line: its commands, and nothing else."""

from __future__ import annotations

import typer

from modelyard_cli import cloud, errors, pipelines, predict, registry

app = typer.Typer(
    name="modelyard",
    help="From raw data to governed predictions, on a local cloud or in an AWS account.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    cloud.up,
    cloud.down,
    cloud.status,
    cloud.env,
    pipelines.run,
    registry.approve,
    registry.reject,
    predict.predict,
):
    app.command()(command)


def main() -> None:
    """Entry point of `modelyard`."""
    errors.run(app)


if __name__ == "__main__":
    main()
