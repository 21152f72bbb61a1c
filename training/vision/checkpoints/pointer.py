"""The pointer: the one object that says which checkpoints count, and which of them are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from training.common.failure import UserError

POINTER = "latest.json"
SCHEMA = 1
NAME = re.compile(r"step-\d{8,}-[0-9a-f]{12}\.ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Which checkpoints stay: the `last` ones, and the first of every `every` steps (0: none of these).
    The best one stays in any case."""

    last: int = 3
    every: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A checkpoint. `top1`: where it ends an epoch that was the best until then."""

    name: str
    step: int
    epoch: int
    bytes: int
    top1: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """`generation` grows with each write; `run` made the last one; `kept`: by step, the last one is where to
    go on; `best`: one of them."""

    generation: int = 0
    run: str = ""
    kept: tuple[Entry, ...] = ()
    best: str | None = None

    def taken(self, run: str) -> Pointer:
        """The same checkpoints, in another run's hands."""
        return replace(self, generation=self.generation + 1, run=run)

    def up_to(self, last: Entry) -> Pointer:
        """Without what came after this one: a run that goes on there leaves it behind."""
        kept = self.kept[: self.kept.index(last) + 1]
        if kept == self.kept:
            return self
        best = self.best if self.best in _names(kept) else None
        return replace(self, generation=self.generation + 1, kept=kept, best=best)

    def plus(self, entry: Entry, keep: Keep) -> Pointer:
        """With one more, and without those that need not be kept any longer.

        >>> pointer = Pointer()
        >>> for step, top1 in ((10, None), (20, 0.5), (30, None), (40, None)):
        ...     entry = Entry(name=f"{step}", step=step, epoch=1, bytes=1, top1=top1)
        ...     pointer = pointer.plus(entry, Keep(last=1))
        >>> [entry.name for entry in pointer.kept]
        ['20', '40']
        """
        best = self.best if entry.top1 is None else entry.name
        kept = pruned((*self.kept, entry), best, keep)
        return replace(self, generation=self.generation + 1, kept=kept, best=best)

    def to_json(self) -> bytes:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1).encode()


def pruned(entries: Sequence[Entry], best: str | None, keep: Keep) -> tuple[Entry, ...]:
    """Those to keep, of entries in the order of their steps.

    >>> entries = [Entry(name=f"{step}", step=step, epoch=1, bytes=1) for step in (3, 5, 8, 11, 12, 13)]
    >>> [entry.step for entry in pruned(entries, "8", Keep(last=1, every=5))]
    [3, 5, 8, 11, 13]
    """
    last = set(_names(entries[-max(1, keep.last) :]))
    firsts: dict[int, str] = {}
    if keep.every:
        for entry in entries:
            firsts.setdefault(entry.step // keep.every, entry.name)
    wanted = last | set(firsts.values()) | {best}
    return tuple(entry for entry in entries if entry.name in wanted)


def read_pointer(data: bytes, place: str) -> Pointer:
    """Raises UserError when `data` is no pointer."""
    try:
        document = json.loads(data)
        if document.pop("schema") != SCHEMA:
            raise ValueError("of another schema")
        kept = tuple(Entry(**entry) for entry in document.pop("kept"))
        if not all(NAME.fullmatch(entry.name) and isinstance(entry.step, int) for entry in kept):
            raise ValueError("it names something else")
        return Pointer(kept=kept, **document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{place}: {POINTER} is no pointer to checkpoints ({error}); name another place for checkpoints"
        ) from error


def _names(entries: Sequence[Entry]) -> list[str]:
    return [entry.name for entry in entries]
