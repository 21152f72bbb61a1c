"""`modelyard simulate scaling`: its options and its output."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from localcloud.autoscaling.rules.tracking import Policy
from modelyard_cli.errors import CliError
from modelyard_cli.output import JsonOption, console, print_json
from modelyard_cli.simulate import prices, template
from modelyard_cli.simulate import trace as traces
from modelyard_cli.simulate.plan import Machine, Plan, alternative, checked, fixed, make_bounds, timed
from modelyard_cli.simulate.simulation import Outcome, simulate
from modelyard_cli.simulate.trace import Gaps, Shape, Trace

# Share of an instance's limit that is aimed at when nothing is said about how long a request takes: AWS's
# advice leaves room, see https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-loadtest.html
_AIMED_AT = 0.7
_INSTANCE = "ml.m5.large"

app = typer.Typer(
    help="What would have been, without running it.", no_args_is_help=True, pretty_exceptions_enable=False
)


@app.callback()
def simulate_group() -> None:
    """What would have been, without running it."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that is shown."""

    trace: Trace
    machine: Machine
    target: float
    instance_type: str
    price: prices.Price
    outcomes: tuple[Outcome, ...]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "trace": {
                "name": self.trace.name,
                "minutes": len(self.trace.loads),
                "mean_per_minute": round(self.trace.mean, 3),
                "peak_per_minute": self.trace.peak,
            },
            "machine": {
                "instance_type": self.instance_type,
                "price_per_hour": self.price.per_hour,
                "currency": self.price.currency,
                "price_source": self.price.source,
                "service_ms": round(self.machine.service * 1000, 3),
                "concurrency": self.machine.concurrency,
                "start_seconds": self.machine.start,
                "limit_per_minute": round(60 * self.machine.concurrency / self.machine.service, 3),
            },
            "plans": [self._plan(outcome) for outcome in self.outcomes],
        }

    def _plan(self, outcome: Outcome) -> dict[str, Any]:
        plan = outcome.plan
        serving = [minute.serving for minute in outcome.minutes]
        return {
            "name": plan.name,
            "target": plan.policy.target if plan.policy else None,
            "min": plan.bounds.minimum,
            "max": plan.bounds.maximum,
            "least_instances": math.ceil(min(serving)),
            "most_instances": math.ceil(max(serving)),
            "instance_hours": round(outcome.instance_hours, 3),
            "cost": round(outcome.instance_hours * self.price.per_hour, 2),
            "saturated_minutes": outcome.saturated,
            "p99_wait_seconds": round(outcome.wait(0.99), 4),
            "given_up_share": round(outcome.lost, 6),
            "changes": len(outcome.changes),
        }


@app.command()
def scaling(
    trace: Annotated[
        str, typer.Argument(help="CSV file (timestamp,invocations per minute), or diurnal, spiky or growing.")
    ],
    from_template: Annotated[
        Path | None, typer.Option("--template", help="cdk.out or a template: policy, bounds, instance type.")
    ] = None,
    target: Annotated[float | None, typer.Option(help="Invocations per instance and minute.")] = None,
    minimum: Annotated[int | None, typer.Option("--min", help="Fewest instances; default 1.")] = None,
    maximum: Annotated[int | None, typer.Option("--max", help="Most instances; default 4.")] = None,
    out_cooldown: Annotated[float | None, typer.Option(help="Seconds; default 300.")] = None,
    in_cooldown: Annotated[float | None, typer.Option(help="Seconds; default 300.")] = None,
    schedule: Annotated[
        list[str] | None,
        typer.Option(help='"cron(0 7 ? * MON-FRI *) min=2 tz=Europe/Berlin"; repeat for more.'),
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(
            "--alternative", "-a", help='"target=2000 max=6 out=60 in=600 name=eager"; repeat for more.'
        ),
    ] = None,
    instance_type: Annotated[
        str | None, typer.Option(help=f"Default: the template's, or {_INSTANCE}.")
    ] = None,
    price_table: Annotated[Path, typer.Option("--prices", help="Price table (TOML).")] = prices.TABLE,
    service_ms: Annotated[
        float | None, typer.Option(help="Of one request; default: such that the target is 70 % of the limit.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests that an instance serves at once.")] = 1,
    start_seconds: Annotated[float, typer.Option(min=0, help="Until a new instance serves.")] = 300,
    days: Annotated[int, typer.Option(min=1, max=366, help="Of made-up traffic.")] = 7,
    peak: Annotated[
        float | None, typer.Option(help="Of made-up traffic; default: 90 % of what --max serves.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of made-up traffic.")] = 1,
    gaps: Annotated[Gaps, typer.Option(help="Minutes without a row.")] = Gaps.ERROR,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="SVG file to draw.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a scaling policy, and others, would have made of a trace of traffic: cost, waits, lost."""
    begin = 0.0
    deployed = None if from_template is None else template.read(from_template, begin)
    base = _base(deployed, target, minimum, maximum, out_cooldown, in_cooldown, schedule)
    assert base.policy is not None
    aimed_at = base.policy.target
    loaded = _trace(trace, gaps, days, seed, peak, aimed_at * base.bounds.maximum)
    kind = instance_type or (deployed and deployed.instance_type) or _INSTANCE
    machine = Machine(
        service=_service(service_ms, aimed_at, concurrency), concurrency=concurrency, start=start_seconds
    )
    mean = base.bounds.hold(math.ceil(loaded.mean / aimed_at))
    plans = [
        base,
        *(alternative(text, base, begin) for text in other or ()),
        fixed("always max", base.bounds.maximum),
        fixed("always mean", mean),
    ]
    price = prices.price_of(kind, price_table)
    outcomes = tuple(simulate(loaded, plan, machine) for plan in plans)
    report = Report(loaded, machine, aimed_at, kind, price, outcomes)
    if output is not None:
        _draw(report, output)
    if as_json:
        print_json(report.as_json())
    else:
        _show(report, output)


def _base(
    deployed: template.Deployed | None,
    target: float | None,
    minimum: int | None,
    maximum: int | None,
    out_cooldown: float | None,
    in_cooldown: float | None,
    schedule: list[str] | None,
) -> Plan:
    if deployed is None and target is None:
        raise CliError("name the policy: --template cdk.out, or --target INVOCATIONS_PER_MINUTE")
    policy = deployed.policy if deployed else Policy(name="policy", target=target or 0.0)
    changes = {"target": target, "out_cooldown": out_cooldown, "in_cooldown": in_cooldown}
    given = {name: value for name, value in changes.items() if value is not None}
    policy = checked("options", replace(policy, **given))  # type: ignore[arg-type]
    low, high = (deployed.bounds.minimum, deployed.bounds.maximum) if deployed else (1, 4)
    bounds = make_bounds("options", low if minimum is None else minimum, high if maximum is None else maximum)
    schedules = tuple(timed(text, 0.0) for text in schedule or ()) or (deployed.schedules if deployed else ())
    initial = (deployed.initial if deployed else None) or bounds.minimum
    return Plan(
        name="policy",
        policy=policy,
        bounds=bounds,
        initial=bounds.hold(initial),
        schedules=schedules,
    )


def _trace(name: str, gaps: Gaps, days: int, seed: int, peak: float | None, most: float) -> Trace:
    if name not in {shape.value for shape in Shape}:
        return traces.read(Path(name), gaps)
    height = 0.9 * most if peak is None else peak
    if not 0 < height < math.inf:
        raise CliError(f"--peak {height:g}: give a number above 0")
    return traces.generate(Shape(name), days=days, peak=height, seed=seed)


def _service(milliseconds: float | None, target: float, concurrency: int) -> float:
    if milliseconds is None:
        return _AIMED_AT * 60 * concurrency / target
    if not 0 < milliseconds < math.inf:
        raise CliError(f"--service-ms {milliseconds:g}: give a number above 0")
    return milliseconds / 1000


def _draw(report: Report, output: Path) -> None:
    from modelyard_cli.simulate.chart import as_svg

    if output.suffix != ".svg":
        raise CliError(f"{output}: pictures are SVG; give a name that ends in .svg")
    try:
        output.write_text(as_svg(report.trace, report.outcomes, report.target), encoding="utf-8")
    except OSError as error:
        raise CliError(f"{output}: cannot be written: {error.strerror}") from error


def _show(report: Report, output: Path | None) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    document = report.as_json()
    trace, machine = document["trace"], document["machine"]
    console.print(
        f"[bold]{escape(trace['name'])}[/bold]: {trace['minutes']} minutes, "
        f"mean {trace['mean_per_minute']:.0f}, peak {trace['peak_per_minute']:.0f} invocations per minute",
        soft_wrap=True,
    )
    console.print(
        f"{machine['instance_type']}: {machine['concurrency']} at once, {machine['service_ms']:g} ms each, "
        f"so at most {machine['limit_per_minute']:.0f} per minute; a new one serves after "
        f"{machine['start_seconds']:g} s",
        soft_wrap=True,
    )
    base = report.outcomes[0].plan
    assert base.policy is not None
    console.print(
        f"policy: target {base.policy.target:g}, {base.bounds.minimum} to {base.bounds.maximum} instances, "
        f"cooldowns {base.policy.out_cooldown:g} s out and {base.policy.in_cooldown:g} s in",
        soft_wrap=True,
    )
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("plan", min_width=11)
    numbers = ("inst.", "hours", machine["currency"], "saturated", "p99 wait", "given up", "changes")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    for plan in document["plans"]:
        table.add_row(
            escape(plan["name"]),
            f"{plan['least_instances']} - {plan['most_instances']}",
            f"{plan['instance_hours']:.1f}",
            f"{plan['cost']:.2f}",
            f"{plan['saturated_minutes']} min",
            f"{plan['p99_wait_seconds']:.3f} s",
            f"{plan['given_up_share']:.2%}",
            str(plan["changes"]),
        )
    console.print(table)
    console.print(f"[dim]Prices: {escape(machine['price_source'])}[/dim]", soft_wrap=True)
    if output is not None:
        console.print(f"Drawn: {output}")
