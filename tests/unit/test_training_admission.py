"""Slots for training jobs: never too many given, none kept, and whoever waits gets in."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from training_runtime.admission import (
    PLACE_SECONDS,
    REMEMBERED_SECONDS,
    Answer,
    Capacity,
    acquire,
    ask,
    release,
    settle,
    sweep,
)
from training_runtime.errors import ContentionError


class Table:
    """The record with its condition; others may write between a read and a write."""

    def __init__(self, total: int, meddle: Callable[[], None] = lambda: None) -> None:
        self.stored, self.meddle, self.writes = Capacity(total=total), meddle, 0

    def read(self) -> Capacity:
        return self.stored

    def write(self, capacity: Capacity) -> bool:
        self.meddle()
        if self.stored.generation != capacity.generation - 1:
            return False
        self.stored, self.writes = capacity, self.writes + 1
        return True


class Cluster(RuleBasedStateMachine):
    """Jobs ask, train, end, die without a word; calls are repeated, late, and overtaken by others."""

    @initialize(total=st.integers(1, 6))
    def begin(self, total: int) -> None:
        self.table = Table(total)
        self.now, self.number = 0.0, 0
        self.asking: dict[str, int] = {}
        self.training: set[str] = set()
        self.over: list[str] = []
        self.late: list[tuple[Capacity, Capacity]] = []

    def attempt(self, data: st.DataObject, of: Iterable[str]) -> str:
        return data.draw(st.sampled_from(sorted(of)))

    @rule(slots=st.integers(1, 7))
    def arrives(self, slots: int) -> None:
        self.number += 1
        self.asking[f"job{self.number}/1"] = slots

    @precondition(lambda self: self.asking)
    @rule(data=st.data(), seconds=st.floats(0, 100))
    def asks(self, data: st.DataObject, seconds: float) -> None:
        self.now += seconds
        name = self.attempt(data, self.asking)
        answer = ask(self.table, name, self.asking[name], self.now)
        if answer is Answer.IMPOSSIBLE:
            assert self.asking.pop(name) > self.table.stored.total
        elif answer is Answer.GRANTED:
            del self.asking[name]
            self.training.add(name)
        else:
            assert answer is Answer.WAITING

    @precondition(lambda self: self.training)
    @rule(data=st.data(), times=st.integers(1, 3))
    def ends(self, data: st.DataObject, times: int) -> None:
        name = self.attempt(data, self.training)
        free = self.table.stored.free
        slots = self.table.stored.held[name].slots
        for _ in range(times):
            settle(self.table, lambda capacity: release(capacity, name, self.now))
        assert self.table.stored.free == free + slots
        self.training.discard(name)
        self.over.append(name)

    @precondition(lambda self: self.training)
    @rule(data=st.data())
    def dies_and_is_swept(self, data: st.DataObject) -> None:
        name = self.attempt(data, self.training)
        self.training.discard(name)
        self.now += 1
        alive = set(self.training)
        settle(self.table, lambda capacity: sweep(capacity, alive, self.now, self.now))
        assert name not in self.table.stored.held
        self.over.append(name)

    @precondition(lambda self: self.asking)
    @rule(data=st.data())
    def gives_up_waiting(self, data: st.DataObject) -> None:
        """Without a word: its place expires."""
        del self.asking[self.attempt(data, self.asking)]

    @precondition(lambda self: self.over)
    @rule(data=st.data())
    def asks_again_after_its_end(self, data: st.DataObject) -> None:
        name = self.attempt(data, self.over)
        remembered = name in self.table.stored.released
        if remembered:
            assert ask(self.table, name, 1, self.now) is Answer.ENDED

    @precondition(lambda self: self.training)
    @rule(data=st.data(), slots=st.integers(1, 7))
    def is_told_twice(self, data: st.DataObject, slots: int) -> None:
        before = self.table.stored
        assert ask(self.table, self.attempt(data, self.training), slots, self.now) is Answer.GRANTED
        assert self.table.stored == before

    @rule(slots=st.integers(1, 4), other=st.integers(1, 4))
    def two_at_the_same_time(self, slots: int, other: int) -> None:
        """Both read the same record; the second writes after the first."""
        names = [f"job{self.number + 1}/1", f"job{self.number + 2}/1"]
        self.number += 2
        meddled: list[Answer] = []

        def meddle() -> None:
            if not meddled:
                meddled.append(Answer.WAITING)
                meddled.append(ask(self.table, names[1], other, self.now))

        self.table.meddle = meddle
        first = ask(self.table, names[0], slots, self.now)
        self.table.meddle = lambda: None
        for name, wanted, answer in zip(names, (slots, other), (first, *meddled[1:]), strict=False):
            if answer is Answer.GRANTED:
                self.training.add(name)
            elif answer is Answer.WAITING:
                self.asking[name] = wanted

    @invariant()
    def none_too_many_and_none_kept(self) -> None:
        stored = self.table.stored
        assert stored.free >= 0
        assert set(stored.held) == self.training
        assert not {place.attempt for place in stored.line} & self.training

    @rule()
    def all_get_in(self) -> None:
        """As long as those that train end at some time, and those that wait ask now and then."""
        self.now += PLACE_SECONDS + 1
        waiting = dict(self.asking)
        for _ in range(3 * len(waiting) + 1):
            for name in list(self.training):
                settle(self.table, partial(release, attempt=name, now=self.now))
                self.training.discard(name)
            for name, slots in list(waiting.items()):
                answer = ask(self.table, name, slots, self.now)
                if answer is not Answer.WAITING:
                    del waiting[name]
                if answer is Answer.GRANTED:
                    self.training.add(name)
        assert waiting == {}
        self.asking = {}


Cluster.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestCluster = Cluster.TestCase


def test_all_slots_or_none() -> None:
    held, answer = acquire(Capacity(total=4), "a/1", 3, 0.0)
    assert (answer, held.free) == (Answer.GRANTED, 1)
    after, answer = acquire(held, "b/1", 2, 0.0)
    assert (answer, after.free, set(after.held)) == (Answer.WAITING, 1, {"a/1"})


def test_a_small_job_does_not_overtake_a_large_one_that_waits() -> None:
    capacity, _ = acquire(Capacity(total=4), "a/1", 3, 0.0)
    capacity, _ = acquire(capacity, "large/1", 4, 1.0)
    capacity, answer = acquire(capacity, "small/1", 1, 2.0)
    assert answer is Answer.WAITING
    capacity = release(capacity, "a/1", 3.0)
    capacity, answer = acquire(capacity, "small/1", 1, 4.0)
    assert answer is Answer.WAITING
    capacity, answer = acquire(capacity, "large/1", 4, 5.0)
    assert answer is Answer.GRANTED


def test_a_place_is_lost_by_not_asking() -> None:
    capacity, _ = acquire(Capacity(total=4), "a/1", 3, 0.0)
    capacity, _ = acquire(capacity, "large/1", 4, 1.0)
    assert acquire(capacity, "small/1", 1, 1.0 + PLACE_SECONDS)[1] is Answer.WAITING
    assert acquire(capacity, "small/1", 1, 1.5 + PLACE_SECONDS)[1] is Answer.GRANTED


def test_more_than_there_is_never_waits() -> None:
    capacity, _ = acquire(Capacity(total=4), "a/1", 4, 0.0)
    capacity, _ = acquire(capacity, "b/1", 4, 0.0)
    shrunk = replace(capacity, total=3)
    after, answer = acquire(shrunk, "b/1", 4, 1.0)
    assert (answer, after.line) == (Answer.IMPOSSIBLE, ())


def test_a_sweep_leaves_alone_what_was_granted_after_the_list_was_made() -> None:
    capacity, _ = acquire(Capacity(total=4), "a/1", 1, 10.0)
    capacity, _ = acquire(capacity, "b/1", 1, 20.0)
    assert set(sweep(capacity, set(), as_of=15.0, now=30.0).held) == {"b/1"}
    assert set(sweep(capacity, {"a/1"}, as_of=15.0, now=30.0).held) == {"a/1", "b/1"}


def test_released_attempts_are_forgotten_in_the_end() -> None:
    capacity = release(Capacity(total=1), "a/1", 0.0)
    capacity = release(capacity, "b/1", REMEMBERED_SECONDS + 1)
    assert set(capacity.released) == {"b/1"}


def test_an_attempt_that_was_released_while_it_waited_gets_nothing() -> None:
    capacity, _ = acquire(Capacity(total=1), "a/1", 1, 0.0)
    capacity, _ = acquire(capacity, "b/1", 1, 0.0)
    capacity = release(release(capacity, "b/1", 1.0), "a/1", 1.0)
    assert acquire(capacity, "b/1", 1, 2.0) == (capacity, Answer.ENDED)
    # And nobody waits behind it.
    assert acquire(capacity, "c/1", 1, 2.0)[1] is Answer.GRANTED


def test_nothing_is_written_where_nothing_changes() -> None:
    table = Table(2)
    ask(table, "a/1", 1, 0.0)
    ask(table, "a/1", 1, 9.0)
    settle(table, lambda capacity: release(capacity, "a/1", 10.0))
    settle(table, lambda capacity: release(capacity, "a/1", 11.0))
    assert (table.writes, table.stored.generation) == (2, 2)


def test_endless_contention_is_told() -> None:
    table = Table(2)

    def meddle() -> None:
        table.stored = replace(table.stored, generation=table.stored.generation + 1)

    table.meddle = meddle
    with pytest.raises(ContentionError, match="ask again"):
        ask(table, "a/1", 1, 0.0)


def test_less_than_one_slot_is_an_error() -> None:
    with pytest.raises(ValueError, match="a/1 asks for 0"):
        acquire(Capacity(total=1), "a/1", 0, 0.0)


def _asks(table: Table, name: str, slots: int, got: list[str]) -> Generator[None, None, None]:
    """One job that stops between its read and its write."""
    while True:
        before = table.read()
        after, answer = acquire(before, name, slots, 0.0)
        yield
        if after == before or table.write(replace(after, generation=before.generation + 1)):
            if answer is Answer.GRANTED:
                got.append(name)
                return
            yield


@given(order=st.lists(st.booleans(), max_size=30), first=st.integers(1, 4), second=st.integers(1, 4))
@settings(deadline=None)
def test_of_two_jobs_one_always_gets_all_it_needs(order: list[bool], first: int, second: int) -> None:
    """In every interleaving of their reads and writes."""
    table, got = Table(4), []
    jobs = [_asks(table, "a/1", first, got), _asks(table, "b/1", second, got)]
    for turn in [*order, *([False, True] * 4)]:
        next(jobs[turn], None)
    assert table.stored.free >= 0
    assert len(got) == (2 if first + second <= 4 else 1)
    # The other one gets in as soon as the first has ended.
    table.stored = release(table.stored, got[0], 1.0)
    for job in jobs * 4:
        next(job, None)
    assert len(got) == 2
