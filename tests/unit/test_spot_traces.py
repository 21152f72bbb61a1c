"""Traces of lost hosts: by chance and from files."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from pathlib import Path

import pytest

from benchmarks.spot_simulation import __main__ as command
from benchmarks.spot_simulation import benchmark
from benchmarks.spot_simulation.assumptions import Assumptions
from benchmarks.spot_simulation.example import AWAY_S, HOURS, NODES, RATE, example
from benchmarks.spot_simulation.gang import DRAIN, ELASTIC, NO_CHECKPOINT, RESTART, simulate
from benchmarks.spot_simulation.study import compare
from benchmarks.spot_simulation.traces import Outage, Poisson, Quiet, Recorded, TraceError, read_trace

HEAD = "time_s,node,event\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_as_many_losses_as_the_rate_says(rate: float) -> None:
    hours = 2000.0
    counts = [
        sum(1 for _ in itertools.takewhile(lambda outage: outage.at < hours * 3600, outages))
        for seed in range(10)
        for outages in Poisson(rate).outages(seed, 4)
    ]
    expected = rate * hours
    # Four standard errors of a Poisson count over 40 hosts.
    assert abs(statistics.mean(counts) - expected) < 4 * math.sqrt(expected / len(counts))


def test_hosts_are_lost_by_themselves_and_seeds_differ() -> None:
    first = {host: next(outages).at for host, outages in enumerate(Poisson(0.1).outages(1, 4))}
    assert len(set(first.values())) == 4
    # One more host changes nothing for the others.
    assert [next(outages).at for outages in Poisson(0.1).outages(1, 5)][:4] == list(first.values())
    assert next(Poisson(0.1).outages(2, 1)[0]).at != first[0]
    assert list(Poisson(0.0).outages(1, 1)[0]) == list(Quiet().outages(1, 1)[0]) == []


@pytest.mark.parametrize("rate", [-0.1, math.inf, math.nan])
def test_impossible_rates(rate: float) -> None:
    with pytest.raises(TraceError, match="losses per host and hour cannot be"):
        Poisson(rate)


def test_a_file_that_says_when_capacity_is_back(tmp_path: Path) -> None:
    trace = read_trace(
        write(
            tmp_path, HEAD + "0,c,available\n10,a,lost\n20,b,lost\n30,a,available\n\n90,a,lost\n100,c,lost\n"
        )
    )
    assert trace == Recorded(
        {
            "a": (Outage(10, 30), Outage(90, math.inf)),
            "b": (Outage(20, math.inf),),
            "c": (Outage(100, math.inf),),
        },
        100.0,
    )
    assert trace.rate == pytest.approx(4 / (3 * 100 / 3600))


def test_a_file_that_only_knows_losses(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "\ufeff" + HEAD + "0,b,available\n10,a,lost\n20,a,lost\n"))
    assert trace == Recorded({"a": (Outage(10, 10), Outage(20, 20)), "b": ()}, 20.0)


def test_a_trace_starts_anywhere_and_goes_round() -> None:
    trace = Recorded({"a": (Outage(10, 30), Outage(90, math.inf))}, 100.0)
    starts = set()
    for seed in range(50):
        found = list(itertools.islice(trace.outages(seed, 1)[0], 5))
        assert all(a.back <= b.at for a, b in itertools.pairwise(found))
        assert found[0].back >= 0
        lengths = {round(outage.back - outage.at, 6) for outage in found}
        assert lengths == {20.0, 10.0}
        # What was lost at the end of the trace is back when it begins anew.
        assert {round(b.at - a.at, 6) for a, b in itertools.pairwise(found)} == {80.0, 20.0}
        starts.add(round(found[0].at, 3))
    assert len(starts) > 40
    assert min(starts) < 0 < max(starts)


def test_which_node_is_which_host_is_drawn() -> None:
    trace = Recorded({"a": (Outage(10, 30),), "b": ()}, 100.0)
    lost = [next(trace.outages(seed, 1)[0], None) is not None for seed in range(40)]
    assert 5 < sum(lost) < 35


def test_runs_from_a_file(tmp_path: Path) -> None:
    rows = "".join(f"{3600 * hour + 60 * node},n{node},lost\n" for hour in range(1, 5) for node in range(4))
    trace = read_trace(write(tmp_path, HEAD + rows))
    run = simulate(Assumptions(hours=16), ELASTIC, trace, 3)
    assert run.finished
    assert run.losses >= 8
    assert run == simulate(Assumptions(hours=16), ELASTIC, trace, 3)


def test_the_example_is_what_its_command_writes_and_runs() -> None:
    path = Path(command.__file__).with_name("example.csv")
    assert path.read_text(encoding="utf-8") == example()
    trace = read_trace(path)
    assert len(trace.nodes) == NODES
    expected = RATE * NODES * HOURS
    losses = [outage for outages in trace.nodes.values() for outage in outages]
    # Three standard errors, of a count and of a mean.
    assert abs(len(losses) - expected) < 3 * math.sqrt(expected)
    away = [outage.back - outage.at for outage in losses if outage.back < math.inf]
    assert abs(statistics.mean(away) - AWAY_S) < 3 * AWAY_S / math.sqrt(len(away))
    found = compare(Assumptions(), trace, range(20), (NO_CHECKPOINT, RESTART, ELASTIC, DRAIN))
    costs = [statistics.median(outcome.costs) for outcome in found.values()]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: the columns are time_s,node,event"),
        ("time,node,event\n1,a,lost\n", "line 1: the columns are"),
        (HEAD, "no event after second 0"),
        (HEAD + "0,a,available\n", "no event after second 0"),
        (HEAD + "1,a\n", "line 2: 2 values instead of 3"),
        (HEAD + "soon,a,lost\n", "line 2: time_s is 'soon', no number"),
        (HEAD + "-1,a,lost\n", "line 2: time_s is -1; seconds from the start"),
        (HEAD + "nan,a,lost\n", "line 2: time_s is nan"),
        (HEAD + "1,,lost\n", "line 2: node is empty"),
        (HEAD + "1,a,gone\n", "line 2: event is 'gone'; known: lost, available"),
        (HEAD + "5,a,lost\n\n4,b,lost\n", "line 4: second 4 comes after second 5"),
        (
            HEAD + "1,a,lost\n2,b,lost\n3,b,available\n4,a,lost\n",
            "line 5: node a is lost again before it was available",
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(TraceError, match=words):
        read_trace(write(tmp_path, text))


def test_files_that_are_no_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    with pytest.raises(TraceError, match=r"trace\.csv: No such file"):
        read_trace(path)
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(TraceError, match="not a CSV file in UTF-8"):
        read_trace(path)
    with pytest.raises(TraceError, match="Is a directory"):
        read_trace(tmp_path)


def test_the_command_writes_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "OUT", tmp_path)
    monkeypatch.setattr("benchmarks.harness.OUT", tmp_path)
    rows = "".join(f"{3600 * hour},n{node},lost\n" for hour in range(1, 3) for node in range(2))
    path = write(tmp_path, HEAD + rows)
    arguments = ["--trace", str(path), "--hosts", "2", "--hours", "2", "--min-hosts", "1", "--seeds", "2"]
    assert command.main([*arguments, "--start-s", "10", "20"]) == 0
    found = json.loads((tmp_path / "spot_simulation.json").read_text())
    assert found["assumptions"]["start_s"] == [10.0, 20.0]
    assert list(found["traces"]) == ["trace.csv, 1 losses per node-hour"]
    assert (tmp_path / "spot_simulation.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hosts", "5"], "the trace names 1 nodes and the job has 5 hosts"),
        (["--hosts", "1"], "min_hosts cannot be 2; it must be fewest hosts"),
        (["--price", "0"], "price cannot be 0.0; it must be price of a Spot host"),
        (["--hosts", "1", "--min-hosts", "1", "--seeds", "0"], "--seeds is 0; give 1 or more"),
    ],
)
def test_wrong_options_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    path = write(tmp_path, HEAD + "10,a,lost\n")
    with pytest.raises(SystemExit):
        command.main(["--trace", str(path), *arguments])
    assert words in capsys.readouterr().err.splitlines()[-1]
