"""What a run of Weights & Biases holds that was written offline, read with the messages of its own package.

In a process of its own: a test asserts that nothing here imports the package.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.vision.elastic.tracking import PACKAGES

# The file is a log of LevelDB's form behind a head of seven bytes:
# https://github.com/google/leveldb/blob/main/doc/log_format.md
READER = r"""
import json, pathlib, struct, sys
from wandb.proto.wandb_internal_pb2 import Record
data = pathlib.Path(sys.argv[1]).read_bytes()
assert data[:4] == b":W&B", data[:7]
found, at, part = {"run": {}, "history": [], "ended": False}, 7, b""
while at + 7 <= len(data):
    if 32768 - at % 32768 < 7:
        at += 32768 - at % 32768
        continue
    _, length, kind = struct.unpack("<IHB", data[at:at + 7])
    part, at = part + data[at + 7:at + 7 + length], at + 7 + length
    if kind in (2, 3):
        continue
    record, part = Record.FromString(part), b""
    if record.HasField("run"):
        run = record.run
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        found["run"] = {"project": run.project, "name": run.display_name, "group": run.run_group}
        found["run"]["config"] = config
    if record.HasField("history"):
        items = [(item.key or ".".join(item.nested_key), item.value_json) for item in record.history.item]
        found["history"].append({name: json.loads(value) for name, value in items})
    found["ended"] |= record.HasField("exit")
print(json.dumps(found))
"""


FINDS_IT = {**os.environ, "PYTHONPATH": str(PACKAGES)}


@dataclass(frozen=True)
class Run:
    """`run`: project, name, group and config. `history`: a member for each line of figures. `ended`: in
    order, and not with its host."""

    run: dict[str, Any]
    history: list[dict[str, Any]]
    ended: bool


def read_run(path: Path) -> Run:
    """The run in a .wandb file."""
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], env=FINDS_IT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Run(**json.loads(done.stdout))
