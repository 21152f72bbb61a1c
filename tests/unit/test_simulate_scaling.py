"""`modelyard simulate scaling`: traces, plans, prices, templates, output."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from localcloud.autoscaling.rules.tracking import Bounds, Policy
from modelyard_cli.errors import BAD_INPUT, CliError
from modelyard_cli.main import app
from modelyard_cli.simulate.plan import Machine, Plan, fixed, timed
from modelyard_cli.simulate.simulation import simulate
from modelyard_cli.simulate.trace import Gaps, Shape, Trace, generate, read

DOCS = Path(__file__).parents[2] / "docs" / "scaling.md"
MACHINE = Machine(service=0.014)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", "scaling", *arguments])


def document(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, CliError), result.output
    assert result.exception.code == BAD_INPUT
    assert "\n" not in str(result.exception)
    return str(result.exception)


def csv(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


HEAD = "timestamp,invocations"


class TestTrace:
    def test_forms_of_timestamps(self, tmp_path: Path) -> None:
        path = csv(
            tmp_path,
            "timestamp,region,invocations_per_minute",
            "2026-01-05T08:00:00Z,x,5",
            "2026-01-05 08:01,x,6.5",
            "1767600120,x,0",
            "2026-01-05T09:03:00+01:00,x,1",
        )
        assert read(path) == Trace("trace.csv", 1767600000.0, (5.0, 6.5, 0.0, 1.0))

    @pytest.mark.parametrize(
        ("gaps", "loads"),
        [(Gaps.ZERO, (5.0, 0.0, 0.0, 6.0)), (Gaps.MISSING, (5.0, None, None, 6.0))],
    )
    def test_gaps(self, tmp_path: Path, gaps: Gaps, loads: tuple[float | None, ...]) -> None:
        path = csv(tmp_path, HEAD, "2026-01-05T08:00,5", "2026-01-05T08:03,6")
        assert read(path, gaps).loads == loads

    @pytest.mark.parametrize(
        ("lines", "words"),
        [
            ([""], "is empty"),
            ([HEAD], "there are no rows"),
            (["time,invocations", "1,2"], "no column timestamp"),
            (["timestamp,count", "1,2"], "no column invocations"),
            ([HEAD, "2026-01-05T08:00,-1"], "line 2: -1 invocations"),
            ([HEAD, "2026-01-05T08:00,nan"], "line 2: nan invocations"),
            ([HEAD, "2026-01-05T08:00,many"], "line 2: many is no number"),
            ([HEAD, "2026-01-05T08:00"], "line 2: nothing is no number"),
            ([HEAD, "yesterday,1"], "line 2: yesterday is no timestamp"),
            ([HEAD, "2026-01-05T08:00:30,1"], "not a full minute"),
            ([HEAD, "2026-01-05T08:01,1", "2026-01-05T08:00,1"], "line 3: 2026-01-05T08:00 does not"),
            ([HEAD, "2026-01-05T08:01,1", "2026-01-05T08:01,1"], "does not come after"),
            ([HEAD, "2026-01-05T08:00,1", "2026-01-05T08:03,1"], "line 3: 2 minutes are missing"),
        ],
    )  # fmt: skip
    def test_bad_files(self, tmp_path: Path, lines: list[str], words: str) -> None:
        assert words in refused(str(csv(tmp_path, *lines)), "--target", "100")

    def test_files_that_are_none(self, tmp_path: Path) -> None:
        assert "cannot be read" in refused(str(tmp_path / "none.csv"), "--target", "100")
        binary = tmp_path / "binary.csv"
        binary.write_bytes(b"\xff\xfe\x00")
        assert "cannot be read" in refused(str(binary), "--target", "100")
        empty = tmp_path / "empty.csv"
        empty.touch()
        assert "is empty" in refused(str(empty), "--target", "100")

    @given(st.sampled_from(Shape), st.integers(1, 3), st.integers(0, 1000))
    @settings(max_examples=15, deadline=None)
    def test_made_up_traffic(self, shape: Shape, days: int, seed: int) -> None:
        trace = generate(shape, days=days, peak=1000, seed=seed)
        assert len(trace.loads) == days * 1440
        assert all(load is not None and 0 <= load <= 1080 for load in trace.loads)
        assert trace == generate(shape, days=days, peak=1000, seed=seed)
        assert trace != generate(shape, days=days, peak=1000, seed=seed + 1)

    def test_growing_traffic_grows(self) -> None:
        loads = [load or 0.0 for load in generate(Shape.GROWING, days=5, peak=1000, seed=1).loads]
        assert sum(loads[-1440:]) > 2 * sum(loads[:1440])


class TestSimulation:
    def test_a_fixed_number_costs_what_it_costs(self) -> None:
        trace = generate(Shape.DIURNAL, days=1, peak=1000, seed=1)
        outcome = simulate(trace, fixed("three", 3), MACHINE)
        assert outcome.instance_hours == pytest.approx(72)
        assert (outcome.saturated, outcome.lost, outcome.changes) == (0, 0.0, ())

    def test_instances_that_start_are_paid_and_do_not_serve(self) -> None:
        trace = Trace("step", 0.0, (300.0,) * 30)
        plan = Plan(
            name="p", policy=Policy(name="p", target=100), bounds=Bounds(minimum=1, maximum=9), initial=1
        )
        outcome = simulate(trace, plan, Machine(service=0.4, start=300))
        assert [minute.serving for minute in outcome.minutes[:9]] == [1.0] * 8 + [3.0]
        assert [minute.paid for minute in outcome.minutes[:9]] == [1.0] * 3 + [3.0] * 6
        assert outcome.changes == ((3, 3),)
        # 150 a minute are served by one: a backlog, then given up after a minute of waiting.
        assert outcome.saturated >= 8
        assert outcome.lost > 0
        assert simulate(trace, plan, Machine(service=0.4, start=90)).minutes[4].serving == 2.0

    def test_a_schedule_is_ahead_of_the_load(self) -> None:
        loads = (0.0,) * 60 + (250.0,) * 60
        trace = Trace("step", 0.0, loads)
        policy = Policy(name="p", target=100)
        plan = Plan(name="p", policy=policy, bounds=Bounds(minimum=1, maximum=4), initial=1)
        ahead = Plan(
            name="s",
            policy=policy,
            bounds=Bounds(minimum=1, maximum=4),
            initial=1,
            schedules=(timed("cron(50 * * * ? *) min=3", 0.0),),
        )
        machine = Machine(service=0.5)
        assert simulate(trace, plan, machine).saturated > 0
        assert simulate(trace, ahead, machine).saturated == 0

    @given(
        st.lists(st.none() | st.floats(0, 3000), min_size=1, max_size=120),
        st.integers(1, 3),
        st.integers(3, 9),
        st.floats(0, 900),
    )
    @settings(deadline=None)
    def test_capacity_stays_within_bounds(
        self, loads: list[float | None], low: int, high: int, start: float
    ) -> None:
        plan = Plan(
            name="p",
            policy=Policy(name="p", target=100, out_cooldown=60, in_cooldown=60),
            bounds=Bounds(minimum=low, maximum=high),
            initial=low,
        )
        outcome = simulate(Trace("t", 0.0, tuple(loads)), plan, Machine(service=0.1, start=start))
        assert all(low <= minute.serving <= minute.paid <= high for minute in outcome.minutes)
        assert 0 <= outcome.lost <= 1


class TestCommand:
    def test_plans_in_order(self) -> None:
        found = document(
            "diurnal", "--target", "3000", "--days", "2", "-a", "target=2000 name=eager", "-a", "max=6"
        )
        assert [plan["name"] for plan in found["plans"]] == [
            "policy", "eager", "max=6", "always max", "always mean"
        ]  # fmt: skip
        policy, eager, _, most, mean = found["plans"]
        assert eager["instance_hours"] > policy["instance_hours"]
        assert most["instance_hours"] == 4 * 48
        assert most["cost"] == pytest.approx(4 * 48 * found["machine"]["price_per_hour"])
        assert mean["instance_hours"] < most["instance_hours"]
        assert found["machine"]["limit_per_minute"] == pytest.approx(3000 / 0.7, rel=1e-3)

    def test_a_template_says_what_is_deployed(self, tmp_path: Path) -> None:
        resources = {
            "Target": {
                "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
                "Properties": {
                    "MinCapacity": 2,
                    "MaxCapacity": "5",
                    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
                    "ScheduledActions": [
                        {
                            "ScheduledActionName": "a",
                            "Schedule": "cron(0 7 * * ? *)",
                            "Timezone": "Europe/Berlin",
                            "ScalableTargetAction": {"MinCapacity": 3},
                        }
                    ],
                },
            },
            "Policy": {
                "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
                "Properties": {
                    "PolicyName": "p",
                    "ScalingTargetId": {"Ref": "Target"},
                    "TargetTrackingScalingPolicyConfiguration": {
                        "TargetValue": 500,
                        "ScaleInCooldown": 60,
                        "PredefinedMetricSpecification": {
                            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                        },
                    },
                },
            },
            "Config": {
                "Type": "AWS::SageMaker::EndpointConfig",
                "Properties": {
                    "ProductionVariants": [{"InstanceType": "ml.c5.xlarge", "InitialInstanceCount": 2}]
                },
            },
        }
        path = tmp_path / "Serving.template.json"
        path.write_text(json.dumps({"Resources": resources}))
        found = document("growing", "--template", str(tmp_path), "--days", "1")
        policy = found["plans"][0]
        assert (policy["target"], policy["min"], policy["max"]) == (500, 2, 5)
        assert policy["most_instances"] >= 3
        assert found["machine"]["instance_type"] == "ml.c5.xlarge"
        assert (
            document("growing", "--template", str(path), "--max", "7", "--days", "1")["plans"][0]["max"] == 7
        )
        resources["Target"]["Properties"]["MinCapacity"] = {"Ref": "Least"}  # type: ignore[index]
        path.write_text(json.dumps({"Resources": resources}))
        assert "not known before deployment" in refused("growing", "--template", str(path))
        (tmp_path / "Other.template.json").write_text(json.dumps({"Resources": {}}))
        assert "no endpoint variant" in refused(
            "growing", "--template", str(tmp_path / "Other.template.json")
        )
        (tmp_path / "Other.template.json").write_text("{")
        assert "cannot be read" in refused("growing", "--template", str(tmp_path))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "name the policy"),
            (["--target", "0"], "must be above 0"),
            (["--target", "10", "--min", "5"], "5 to 4 instances"),
            (["--target", "10", "--in-cooldown", "-1"], "negative"),
            (["--target", "10", "--instance-type", "ml.huge"], "no price for ml.huge; it has ml.c5.2xlarge"),
            (["--target", "10", "--service-ms", "0"], "--service-ms 0"),
            (["--target", "10", "--peak", "-5"], "--peak -5"),
            (["--target", "10", "-a", "goal=3"], "'goal=3' is not one of"),
            (["--target", "10", "-a", "max=many"], "'many' is not a number"),
            (["--target", "10", "-a", "scale-in=no"], "on or off"),
            (["--target", "10", "-a", "name='x"], "No closing quotation"),
            (["--target", "10", "--schedule", "cron(0 8 * * *) min=2"], "six fields"),
            (["--target", "10", "--schedule", "rate(1 day)"], "say what it sets"),
            (["--target", "10", "-o", "picture.png"], "ends in .svg"),
        ],
    )
    def test_bad_options(self, arguments: list[str], words: str) -> None:
        assert words in refused("diurnal", "--days", "1", *arguments)

    def test_prices_are_the_users(self, tmp_path: Path) -> None:
        table = tmp_path / "prices.toml"
        table.write_text('source = "ours"\ncurrency = "EUR"\n[per_hour]\n"ml.x" = 2\n')
        arguments = ("diurnal", "--days", "1", "--target", "10", "--prices", str(table))
        found = document(*arguments, "--instance-type", "ml.x")
        assert found["plans"][-2]["cost"] == 4 * 24 * 2
        assert (found["machine"]["currency"], found["machine"]["price_source"]) == ("EUR", "ours")
        for text, words in (
            ("[per_hour]\n'ml.x' = 'much'", "not a number"),
            ("x = 1", "no table [per_hour]"),
            ("]", "not TOML"),
        ):
            table.write_text(text)
            assert words in refused(*arguments, "--instance-type", "ml.x")

    def test_the_picture_is_bounded_and_whole(self, tmp_path: Path) -> None:
        picture = tmp_path / "plans.svg"
        name = 'name="<a & b>"'
        assert run("spiky", "--days", "14", "--target", "100", "-a", name, "-o", str(picture)).exit_code == 0
        root = ET.parse(picture).getroot()
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "<a & b>" in texts
        assert "always mean" in texts
        assert picture.stat().st_size < 500_000
        width, height = (float(root.attrib[side]) for side in ("width", "height"))
        for shape in root.iter("{http://www.w3.org/2000/svg}polygon"):
            points = [tuple(map(float, point.split(","))) for point in shape.attrib["points"].split()]
            assert all(0 <= x <= width and 0 <= y <= height for x, y in points)

    def test_every_line_of_the_documentation_is_what_is_printed(self) -> None:
        blocks = re.findall(r"```console\n\$ modelyard (.+?)\n(.*?)```", DOCS.read_text(), re.DOTALL)
        assert blocks
        for command, expected in blocks:
            result = CliRunner().invoke(app, shlex.split(command.replace("\\\n", " ")))
            assert result.exit_code == 0, result.output
            assert _trimmed(result.output) == _trimmed(expected)


def _trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]
