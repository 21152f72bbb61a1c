"""Goodput and cost, over restarts: the same as one would find who saw everything that happened."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.vision.telemetry.goodput import Account, Record

PRICE = 3.6  # an hour: 0.001 a second


@dataclass
class World:
    """All that happens to a job, second by second, and the truth about it."""

    knows: bool  # of each attempt what the ones before it were paid
    now: float = 1_000.0
    attempt: int = 0
    hosts: int = 1
    began: float = 0.0
    paid: float = 0.0
    paid_before: float = 0.0
    kept: float = 0.0  # node-seconds of steps that a checkpoint holds
    done: float = 0.0  # of steps since then
    durable: Record | None = None
    account: Account = field(init=False)

    def __post_init__(self) -> None:
        self.begin(1, 0.0)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.paid += self.hosts * seconds

    def begin(self, hosts: int, wait: float) -> None:
        """Another attempt: nobody is paid while it waits for its hosts."""
        self.now += wait
        self.attempt, self.hosts, self.began = self.attempt + 1, hosts, self.now
        self.paid_before = self.paid
        self.start_process()

    def start_process(self) -> None:
        self.done = 0.0
        self.account = Account(
            attempt=self.attempt,
            hosts=self.hosts,
            began=self.began,
            now=self.now,
            price=PRICE,
            before=self.paid_before if self.knows else None,
        )
        record = Record.from_state(self.durable.to_state()) if self.durable else None
        if record:
            self.account.resume(record)

    def step(self, seconds: float, wait: float) -> None:
        self.passes(wait + seconds)
        self.account.worked(seconds)
        self.done += self.hosts * seconds

    def checkpoint(self, closed: bool = False) -> None:
        self.durable = self.account.record(self.now, closed=closed)
        self.kept, self.done = self.kept + self.done, 0.0

    def restarts(self, seconds: float) -> None:
        """A process dies, its host and the attempt go on."""
        self.passes(seconds)
        self.start_process()

    def dies(self, hosts: int, wait: float) -> None:
        self.begin(hosts, wait)

    def drains(self, hosts: int, wait: float) -> None:
        """SIGTERM: a checkpoint, and the end of the attempt."""
        self.checkpoint(closed=True)
        self.dies(hosts, wait)


seconds = st.integers(0, 500).map(float)
few = st.integers(1, 4)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("step"), seconds, seconds),
        st.tuples(st.just("passes"), seconds),
        st.tuples(st.just("checkpoint")),
        st.tuples(st.just("restarts"), seconds),
        st.tuples(st.just("dies"), few, seconds),
        st.tuples(st.just("drains"), few, seconds),
    ),
    max_size=40,
)


def play(what: list[tuple], *, knows: bool) -> World:
    world = World(knows)
    for name, *arguments in what:
        getattr(world, name)(*arguments)
        assert 0 <= world.account.goodput(world.now) <= 1
    return world


@settings(deadline=None)
@given(happenings)
def test_an_account_knows_what_one_knows_who_saw_everything(what: list[tuple]) -> None:
    world = play(what, knows=True)
    account = world.account
    assert account.useful() == pytest.approx(world.kept + world.done)
    assert account.paid(world.now) == pytest.approx(world.paid)
    assert account.cost(world.now) == pytest.approx(world.paid * 0.001)
    if world.paid:
        assert account.goodput(world.now) == pytest.approx((world.kept + world.done) / world.paid)


@settings(deadline=None)
@given(happenings)
def test_where_no_end_is_known_useful_time_is_exact_and_one_attempt_is_paid_as_a_whole(
    what: list[tuple],
) -> None:
    world = play(what, knows=False)
    assert world.account.useful() == pytest.approx(world.kept + world.done)
    since = world.hosts * (world.now - world.durable.at) if world.durable else 0.0
    if world.durable and world.durable.attempt == world.attempt:
        assert world.account.paid(world.now) == pytest.approx(world.durable.paid + since)


@settings(deadline=None)
@given(interval=st.integers(60, 600), checkpoints=st.integers(1, 5), lost=st.floats(0, 1), wait=seconds)
def test_an_end_that_is_not_known_is_paid_for_by_one_interval_at_most(
    interval: int, checkpoints: int, lost: float, wait: float
) -> None:
    """At a cadence; and never by less than what was lost."""
    world = World(knows=False)
    for _ in range(checkpoints):
        world.step(float(interval), 0.0)
        world.checkpoint()
    world.step(lost * interval, 0.0)
    world.dies(2, wait)
    paid = world.account.paid(world.now)
    assert paid >= world.paid - 1e-6
    assert paid <= world.paid + min(wait, interval) + 1e-6


@settings(deadline=None)
@given(happenings, st.lists(st.floats(-1e6, 1e6), max_size=5))
def test_a_clock_that_is_set_back_takes_nothing_back(what: list[tuple], jumps: list[float]) -> None:
    world = play(what, knows=True)
    paid = world.account.paid(world.now)
    for jump in jumps:
        again = world.account.paid(world.now + jump)
        assert again >= paid
        paid = again
        assert world.account.record(world.now + jump).at >= world.began


def test_what_was_lost_and_the_start_count_as_paid() -> None:
    world = World(knows=True)
    world.step(60.0, 0.0)
    world.checkpoint()
    world.step(30.0, 0.0)  # lost
    world.restarts(10.0)
    world.step(100.0, 0.0)
    assert world.account.goodput(world.now) == pytest.approx(160 / 200)


def test_waiting_for_data_is_paid_and_not_useful() -> None:
    world = World(knows=True)
    world.step(40.0, 60.0)
    assert world.account.goodput(world.now) == pytest.approx(0.4)


def test_a_drained_attempt_costs_nothing_after_its_end() -> None:
    world = World(knows=False)
    world.step(100.0, 0.0)
    world.drains(2, 5_000.0)
    assert world.account.paid(world.now) == pytest.approx(100.0)


def test_another_price_changes_what_comes_only() -> None:
    first = Account(attempt=1, hosts=1, began=0.0, now=0.0, price=3600.0)
    second = Account(attempt=2, hosts=1, began=10.0, now=10.0, price=7200.0)
    second.resume(first.record(10.0, closed=True))
    assert second.cost(20.0) == pytest.approx(10.0 + 20.0)


def test_a_record_of_another_version_is_no_record() -> None:
    state = Account(attempt=1, hosts=1, began=0.0, now=0.0).record(5.0).to_state()
    assert Record.from_state(state) is not None
    assert Record.from_state({**state, "schema": 99}) is None
    assert Record.from_state(None) is None


def test_recent_goodput_falls_at_once_where_the_whole_one_does_not() -> None:
    world = World(knows=True)
    for _ in range(1440):
        world.step(60.0, 0.0)
        assert world.account.recent(world.now) == 1.0
    for minute in range(1, 16):
        world.passes(60.0)
        assert world.account.recent(world.now) == pytest.approx(1 - minute / 15, abs=1 / 14)
    assert world.account.recent(world.now) == pytest.approx(0.0)
    assert world.account.goodput(world.now) > 0.98


@pytest.mark.parametrize("dies", [False, True])
def test_recent_goodput_knows_what_was_before_a_restart(dies: bool) -> None:
    world = World(knows=True)
    for _ in range(30):
        world.step(60.0, 0.0)
        world.account.recent(world.now)
        world.checkpoint()
    world.step(45.0, 0.0)  # lost
    world.dies(1, 5_000.0) if dies else world.restarts(0.0)
    world.passes(45.0)
    assert world.account.recent(world.now) == pytest.approx(0.9, abs=0.02)


@settings(deadline=None)
@given(happenings)
def test_recent_goodput_is_a_share(what: list[tuple]) -> None:
    world = World(knows=True)
    for name, *arguments in what:
        getattr(world, name)(*arguments)
        recent = world.account.recent(world.now)
        assert recent is None or 0 <= recent <= 1
        assert len(world.account.record(world.now).recent) <= 70
