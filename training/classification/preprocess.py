"""Step 2: hold test rows out, fit the encoder on the others, and name the classes.

Input `data`: CSV files. Outputs `train`, `test`: CSV parts of raw values; `encoder`: encoder.json and
classes.json. Rows stay raw so that training, evaluation and serving encode them with the same code.

On several hosts each writes every n-th row. All read the whole table, so that they split it the same and fit
the same encoder; the first host writes that.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from training.classification.arguments import Split, parse_split
from training.classification.rows import CLASSES, Labels
from training.common.encoder import CategoryCounter
from training.common.failure import UserError, run, say
from training.common.hosts import read_hosts
from training.common.paths import files_in, processing_input, processing_output
from training.common.table import read_lines
from training.tabular.parts import PartWriter, parse_cells


def main(arguments: Sequence[str]) -> None:
    (schema, split), hosts = parse_split("preprocess", arguments), read_hosts()
    table = schema.table
    paths = files_in(processing_input("data"))
    # Two passes over the files instead of the table in memory.
    held_out = held_out_ids(
        ((line.cells[0], line.cells[1]) for line in read_lines(paths, table.header)), split
    )
    counter = CategoryCounter(table.features)
    sizes: dict[str, Counter[str]] = {"train": Counter(), "test": Counter()}
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(PartWriter(processing_output(name), hosts.rank, table.header))
            for name in sizes
        }
        for index, line in enumerate(read_lines(paths, table.header)):
            identifier, label, *cells = line.cells
            name = "test" if identifier in held_out else "train"
            values = parse_cells(line.place, table.features, cells)
            if name == "train":
                counter.add(values)
            if index % hosts.count == hosts.rank:
                writers[name].write(line.cells)
            sizes[name][label] += 1
    labels = Labels(table.target, _classes(sizes["train"], schema.positive), schema.positive)
    _check(sizes, labels)
    folder = processing_output("encoder")
    if hosts.is_first:
        (folder / "encoder.json").write_text(counter.encoder().to_json(), encoding="utf-8")
        (folder / CLASSES).write_text(labels.to_json(), encoding="utf-8")
    shown = ", ".join(f"{name} {counts.total()} ({_shown(counts)})" for name, counts in sizes.items())
    say(f"rows: {shown}; host {hosts.rank + 1} of {hosts.count}")


def held_out_ids(rows: Iterable[tuple[str, str]], split: Split) -> frozenset[str]:
    """Which of the rows, given as (id, class), are test rows.

    Rows are ranked by a hash of id and random state, and the first `test_size` of them, of each class where
    stratified, are taken: exact shares, and the same rows in whatever order the table comes.

    >>> split = Split(test_size=0.5, stratify=True, random_state=7)
    >>> len(held_out_ids([("1", "a"), ("2", "a"), ("3", "b"), ("4", "b")], split))
    2
    """
    groups: defaultdict[str, list[tuple[bytes, str]]] = defaultdict(list)
    for identifier, label in rows:
        digest = hashlib.blake2b(f"{split.random_state}:{identifier}".encode(), digest_size=8).digest()
        groups[label if split.stratify else ""].append((digest, identifier))
    return frozenset(
        identifier
        for group in groups.values()
        for _, identifier in sorted(group)[: round(len(group) * split.test_size)]
    )


def _classes(counts: Counter[str], positive: str | None) -> tuple[str, ...]:
    return tuple(sorted(counts, key=lambda name: (name == positive, name)))


def _check(sizes: dict[str, Counter[str]], labels: Labels) -> None:
    total = sum(counts.total() for counts in sizes.values())
    empty = [name for name, counts in sizes.items() if not counts]
    if empty:
        raise UserError(f"{total} rows are too few: none fell into {' and '.join(empty)}; change TestSize")
    if len(labels.classes) < 2:
        name = ", ".join(labels.classes)
        raise UserError(f"the training rows are all of class {name!r}: set Stratify to true")
    unseen = sorted(set(sizes["test"]) - set(labels.classes))
    if unseen:
        raise UserError(f"all rows of class {unseen[0]!r} are test rows: set Stratify to true")


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {rows}" for name, rows in sorted(counts.items()))


if __name__ == "__main__":
    raise SystemExit(run(main))
