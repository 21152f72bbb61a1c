"""Step 2: split the table into train, validation and test, and fit the encoder on the training rows.

Input `data`: CSV files. Outputs `train`, `validation`, `test`: CSV parts of raw values; `encoder`:
encoder.json. Rows stay raw so that training, evaluation and serving encode them with the same code.

On several hosts each writes every n-th row. All read the whole table, so that they fit the same encoder; the
first host writes it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

from training.common.encoder import CategoryCounter
from training.common.failure import UserError, run, say
from training.common.hosts import read_hosts
from training.common.paths import files_in, processing_input, processing_output
from training.common.table import read_lines
from training.tabular.arguments import parse_schema
from training.tabular.parts import PartWriter, parse_cells

SEED = "modelyard-1"
SPLITS = (("train", 0.70), ("validation", 0.15), ("test", 0.15))


def main(arguments: Sequence[str]) -> None:
    schema, hosts = parse_schema("preprocess", arguments), read_hosts()
    counter = CategoryCounter(schema.features)
    sizes: Counter[str] = Counter()
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(PartWriter(processing_output(name), hosts.rank, schema.header))
            for name, _ in SPLITS
        }
        for index, line in enumerate(read_lines(files_in(processing_input("data")), schema.header)):
            split = split_of(line.cells[0])
            values = parse_cells(line.place, schema.features, line.cells[2:])
            if split == "train":
                counter.add(values)
            if index % hosts.count == hosts.rank:
                writers[split].write(line.cells)
            sizes[split] += 1
    empty = [name for name, _ in SPLITS if not sizes[name]]
    if empty:
        raise UserError(f"{sum(sizes.values())} rows are too few: none fell into {', '.join(empty)}")
    folder = processing_output("encoder")
    if hosts.is_first:
        (folder / "encoder.json").write_text(counter.encoder().to_json(), encoding="utf-8")
    shown = ", ".join(f"{name} {sizes[name]}" for name, _ in SPLITS)
    say(
        f"rows: {shown}; host {hosts.rank + 1} of {hosts.count} wrote {sum(w.rows for w in writers.values())}"
    )


def split_of(identifier: str) -> str:
    """The split of a row, from a hash of its identifier: it stays when the table grows or is reordered.

    >>> split_of("17") == split_of("17")
    True
    """
    digest = hashlib.blake2b(f"{SEED}:{identifier}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest) / 2**64
    for name, share in SPLITS:
        if place < share:
            return name
        place -= share
    return SPLITS[-1][0]


if __name__ == "__main__":
    raise SystemExit(run(main))
