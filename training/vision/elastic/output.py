"""Where the model goes when nobody copies the job's folders."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.common.failure import UserError, say
from training.vision.checkpoints.store import ConflictError, StoreError, open_store

ARCHIVE = "model.tar.gz"
OUTPUT = "MODEL_OUTPUT"


def delivers() -> bool:
    """Whether somebody said where the model goes; on SageMaker the platform copies its folder."""
    return bool(os.environ.get(OUTPUT))


def deliver(folder: Path, below: str, documents: Mapping[str, Any]) -> None:
    """Put a model's archive where OUTPUT_URI says, and what is told of it beside it.

    Args:
        folder: of the model.
        below: where, in that place: empty, or a folder's name.
        documents: by file name, as JSON has them.

    Raises:
        UserError: the place cannot be written.
    """
    store = open_store(f"{os.environ[OUTPUT].rstrip('/')}/{below}")
    stream = io.BytesIO()
    # Weights hardly compress: of 45 MB level 9 makes 41.6, level 1 41.8, in 0.85 of the time.
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    files = {name: json.dumps(document, indent=1).encode() + b"\n" for name, document in documents.items()}
    try:
        for name, data in {**files, ARCHIVE: stream.getvalue()}.items():
            # A rank that was lost after it had written it left one behind.
            before = store.read(name)
            store.replace(name, data, before.tag if before else None)
    except (StoreError, ConflictError) as error:
        raise UserError(f"the model cannot be delivered: {error}") from error
    say(f"{ARCHIVE}, {len(stream.getvalue()) / 1e6:.1f} MB, lies in {store}")
