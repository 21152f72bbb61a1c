"""The command line: its commands, and nothing else."""

from __future__ import annotations

import sys

try:
    import typer

    from modelyard_cli import cloud, errors, listing, pipelines, predict, reconcile, registry
    from modelyard_cli.check import command as check_command
    from modelyard_cli.graph import command as graph_command
    from modelyard_cli.simulate import command as simulate_command
    from modelyard_cli.train import command as train_command
except ModuleNotFoundError as error:
    # requirements.txt installs this script with the app; what only the script needs is in another file.
    if (error.name or "").partition(".")[0] in ("", "localcloud", "modelyard_cli"):
        raise
    sys.stderr.write(
        f"modelyard: the package {error.name} is missing: pip install -r requirements-local.txt\n"
    )
    raise SystemExit(3) from None

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
    listing.executions,
    listing.models,
    registry.approve,
    registry.reject,
    reconcile.reconcile,
    predict.predict,
    check_command.check,
    graph_command.graph,
):
    app.command()(command)
app.add_typer(simulate_command.app, name="simulate")
app.add_typer(train_command.app, name="train")


def main() -> None:
    """Entry point of `modelyard`."""
    errors.run(app)


if __name__ == "__main__":
    main()
