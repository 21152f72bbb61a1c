"""Who gets hosts: all that an attempt asks for, or none.

One small record holds who has slots and who waits for them; every change is one write on the condition that
nobody wrote in between. An attempt never holds a part of what it needs while it waits for the rest, so two
jobs cannot wait for each other's slots.

First come, first served: whoever asked later gets nothing before those ahead of it, even where it would fit,
or a large job would starve behind small ones. The line moves when its head asks again or stops asking.

Slots come back by `release` and `sweep` only, never because time has passed: hosts whose lease ran out may
still train, and would be given twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from .errors import ContentionError

# A place in the line is kept this long without asking again; who waits asks every minute.
PLACE_SECONDS = 300.0
# A released attempt is remembered this long, which outlasts every repetition of its calls.
REMEMBERED_SECONDS = 3600.0
_TRIES = 20


class Answer(StrEnum):
    """What an attempt hears when it asks."""

    GRANTED = "granted"
    WAITING = "waiting"
    IMPOSSIBLE = "impossible"  # it asks for more than there is when all is free
    ENDED = "ended"  # it was released before; a repeated call gets nothing back


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Slots of one attempt, held since (epoch seconds)."""

    slots: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in the line: what is asked for, and when that was last repeated (epoch seconds)."""

    attempt: str
    slots: int
    seen: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The record. Generation 0 stands for one that was never written.

    Args:
        total: Slots there are, each the right to one host.
        held: By attempt.
        line: Who waits, first come first.
        released: Attempts that gave their slots back, and when (epoch seconds).
    """

    total: int
    generation: int = 0
    held: Mapping[str, Held] = field(default_factory=dict)
    line: tuple[Place, ...] = ()
    released: Mapping[str, float] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """Negative after `total` was lowered below what is held."""
        return self.total - sum(held.slots for held in self.held.values())


class Store(Protocol):
    """Where the record is kept."""

    def read(self) -> Capacity:
        """The record as it is now, read consistently."""

    def write(self, capacity: Capacity) -> bool:
        """Write unless the stored generation is no longer `capacity.generation - 1`; whether it was."""


def acquire(capacity: Capacity, attempt: str, slots: int, now: float) -> tuple[Capacity, Answer]:
    """Ask for slots; whoever hears WAITING asks again, at least every `PLACE_SECONDS`.

    Args:
        capacity: The record.
        attempt: Unique for all time, for example `<job>/<number>`.
        slots: How many, all or none; an attempt that holds some keeps those whatever it asks for.
        now: Epoch seconds.

    Raises:
        ValueError: for less than one slot.

    Example:
        >>> after, answer = acquire(Capacity(total=4), "dogs/1", 4, now=0.0)
        >>> answer, after.free
        (<Answer.GRANTED: 'granted'>, 0)
        >>> acquire(after, "cats/1", 1, now=1.0)[1]
        <Answer.WAITING: 'waiting'>
    """
    if slots < 1:
        raise ValueError(f"attempt {attempt} asks for {slots} slots; ask for 1 or more")
    if attempt in capacity.held:
        return capacity, Answer.GRANTED
    if attempt in capacity.released:
        return capacity, Answer.ENDED
    line = tuple(place for place in capacity.line if now - place.seen <= PLACE_SECONDS)
    others = tuple(place for place in line if place.attempt != attempt)
    if slots > capacity.total:
        return replace(capacity, line=others), Answer.IMPOSSIBLE
    place = Place(attempt=attempt, slots=slots, seen=now)
    ahead = next((i for i, place in enumerate(line) if place.attempt == attempt), len(line))
    if ahead == 0 and slots <= capacity.free:
        held = {**capacity.held, attempt: Held(slots=slots, since=now)}
        return replace(capacity, held=held, line=others), Answer.GRANTED
    return replace(capacity, line=(*line[:ahead], place, *line[ahead + 1 :])), Answer.WAITING


def release(capacity: Capacity, attempt: str, now: float) -> Capacity:
    """Give back what the attempt holds, or its place in the line; again and again does no harm.

    Whoever sees that an attempt ended calls this, its own state machine or the event of its end.
    """
    remembered = {
        name: at
        for name, at in capacity.released.items()
        if now - at <= REMEMBERED_SECONDS or name == attempt
    }
    return replace(
        capacity,
        held={name: held for name, held in capacity.held.items() if name != attempt},
        line=tuple(place for place in capacity.line if place.attempt != attempt),
        released={attempt: now, **remembered},
    )


def sweep(capacity: Capacity, alive: Set[str], as_of: float, now: float) -> Capacity:
    """Release the attempts that ended without a word.

    Args:
        capacity: The record.
        alive: Attempts that run, listed at `as_of` or later.
        as_of: Epoch seconds; what was granted later is left alone, the list may not know it.
        now: Epoch seconds.
    """
    for attempt, held in capacity.held.items():
        if held.since < as_of and attempt not in alive:
            capacity = release(capacity, attempt, now)
    return capacity


def settle(store: Store, change: Callable[[Capacity], Capacity]) -> Capacity:
    """Read, change, write; from the start again when somebody else wrote in between.

    Args:
        store: Where the record is.
        change: May be called several times, each time with a newer record.

    Returns:
        The record with the change; it is not written where nothing changed.

    Raises:
        ContentionError: after 20 tries, all of which came too late.
    """
    for _ in range(_TRIES):
        before = store.read()
        after = change(before)
        if after == before:
            return before
        after = replace(after, generation=before.generation + 1)
        if store.write(after):
            return after
    raise ContentionError(f"the capacity record changed {_TRIES} times while it was to be written; ask again")


def ask(store: Store, attempt: str, slots: int, now: float) -> Answer:
    """`acquire` on the stored record. Raises ContentionError as `settle` does."""
    answers: list[Answer] = []

    def change(capacity: Capacity) -> Capacity:
        after, answer = acquire(capacity, attempt, slots, now)
        answers.append(answer)
        return after

    settle(store, change)
    return answers[-1]
