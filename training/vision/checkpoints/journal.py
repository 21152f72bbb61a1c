"""Who may write: one run at a time, the latest that claimed the pointer.

A run that was given up may still be alive, behind a broken line or on a machine that slept. From the moment
another run has claimed the pointer, every write of the older one meets another tag than it knows, changes
nothing, and ends that run. A name is written by one run only and never named again once it was dropped; so
what a run removes after its own write cannot be what another one needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from training.common.failure import UserError, say
from training.vision.checkpoints.folder import PARTIAL
from training.vision.checkpoints.format import DamagedError, whole
from training.vision.checkpoints.pointer import NAME, POINTER, Entry, Keep, Pointer, read_pointer
from training.vision.checkpoints.store import ConflictError, Store, StoreError, Tagged

OURS = re.compile(f"{NAME.pattern}|{re.escape(PARTIAL)}[0-9a-f]{{16}}")
TRIES = 5


class SupersededError(Exception):
    """Another run has claimed the checkpoints."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was there before a claim; the names were listed before the pointer was read."""

    names: frozenset[str]
    found: Tagged | None


class Journal:
    """One run's hold on the checkpoints in a store.

    Args:
        run: a name that no other process has.
        keep: what to prune.

    Example:
        journal = Journal(store, run="5b1c...", keep=Keep(last=3))
        journal.claim()
        journal.add(entry, data)
    """

    def __init__(self, store: Store, run: str, keep: Keep) -> None:
        self._store, self._run, self._keep = store, run, keep
        self._tag: str | None = None
        self._known: set[str] = set()
        self.pointer = Pointer()

    def claim(self) -> None:
        """Become the one run that may write, and remove what earlier ones wrote but never named.

        Raises:
            StoreError: the store did not answer, or others claim all the time.
            UserError: the pointer is damaged.
        """
        for _ in range(TRIES):
            survey = self.survey()
            if self.take(survey):
                self.sweep(survey)
                return
        raise StoreError(f"{self._store}: other runs claim the checkpoints at the same time")

    def survey(self) -> Survey:
        names = frozenset(name for name in self._store.names() if OURS.fullmatch(name))
        return Survey(names, self._store.read(POINTER))

    def take(self, survey: Survey) -> bool:
        """Claim the pointer, if it is still what the survey found."""
        found = survey.found
        pointer = read_pointer(found.data, str(self._store)) if found else Pointer()
        taken = pointer.taken(self._run)
        try:
            tag = self._store.replace(POINTER, taken.to_json(), found.tag if found else None)
        except ConflictError:
            return False
        self._adopt(taken, tag)
        return True

    def sweep(self, survey: Survey) -> None:
        """Remove what was there before the claim and is not named: nobody can name it any more."""
        self._known |= survey.names
        self.prune()

    def resume_at(self, entry: Entry) -> None:
        """Go on from this checkpoint; those after it are named no longer."""
        self._write(lambda pointer: pointer.up_to(entry))

    def add(self, entry: Entry, data: bytes) -> None:
        """Write a checkpoint, name it in the pointer, and remove what needs not be kept any longer.

        Raises:
            StoreError: not written, or not known to be; the pointer names good ones as before.
            SupersededError: this run may not write any more.
        """
        self._known.add(entry.name)
        self._store.add(entry.name, data)
        self.advance(entry)
        self.prune()

    def advance(self, entry: Entry) -> None:
        """Name a checkpoint that was written."""
        self._write(lambda pointer: pointer if entry in pointer.kept else pointer.plus(entry, self._keep))

    def _write(self, change: Callable[[Pointer], Pointer]) -> None:
        """Replace the pointer by a change of it; no change, no write."""
        for _ in range(TRIES):
            pointer = change(self.pointer)
            if pointer == self.pointer:
                return
            try:
                tag = self._store.replace(POINTER, pointer.to_json(), self._tag)
            except ConflictError:
                self._look_again()
            else:
                self._adopt(pointer, tag)
                return
        raise StoreError(f"{self._store}: {POINTER} was refused {TRIES} times")

    def prune(self) -> None:
        """Remove what this run knows and the pointer, as this run wrote it, does not name."""
        for name in sorted(self._known - {entry.name for entry in self.pointer.kept}):
            try:
                self._store.remove(name)
            except StoreError as error:
                say(f"checkpoints: {name} is not needed any more, but stays for now: {error}")
                return
            self._known.discard(name)

    def _look_again(self) -> None:
        """After a refusal: it may be an earlier write of this run, the answer to which was lost."""
        found = self._store.read(POINTER)
        pointer = read_pointer(found.data, str(self._store)) if found else None
        if found is None or pointer is None or pointer.run != self._run:
            raise SupersededError(f"{self._store} belongs to another run of this job now")
        self._adopt(pointer, found.tag)

    def _adopt(self, pointer: Pointer, tag: str) -> None:
        self.pointer, self._tag = pointer, tag
        self._known |= {entry.name for entry in pointer.kept}


def newest(
    journal: Journal, read: Callable[[str], Tagged | None], check: Callable[[str, bytes], object] = whole
) -> tuple[Entry, bytes] | None:
    """The last checkpoint that is there and whole, or None where none was ever written.

    SageMaker copies a folder file by file: the pointer may have arrived, its checkpoint not. A disk or a line
    may damage one. Then the one before is the last, and training costs what came after; each that is passed
    over is said, and named no longer.

    Args:
        journal: that holds the store.
        read: from it.
        check: raises DamagedError for bytes that are not what was written.

    Raises:
        UserError: none of those that the pointer names is there and whole, or one is of another version.
    """
    entries = journal.pointer.kept
    reasons = []
    for entry in reversed(entries):
        data, reason = _usable(entry.name, read, check)
        if data is not None:
            journal.resume_at(entry)
            return entry, data
        reasons.append(reason)
        say(f"WARNING: checkpoint {entry.name} is named, but {reason}: looks for the one before it")
    if entries:
        raise UserError(
            f"none of the {len(entries)} checkpoints that {POINTER} names can be used, the newest "
            f"{reasons[0]}; bring them back, or remove {POINTER} to train from the start"
        )
    return None


def _usable(
    name: str, read: Callable[[str], Tagged | None], check: Callable[[str, bytes], object]
) -> tuple[bytes | None, str]:
    """Its bytes, or why there are none to use. What was damaged on its way here is whole when read again."""
    reason = ""
    for _ in range(2):
        found = read(name)
        if found is None:
            return None, "is not there"
        try:
            check(name, found.data)
        except DamagedError as error:
            reason = error.reason
        else:
            return found.data, ""
    return None, reason
