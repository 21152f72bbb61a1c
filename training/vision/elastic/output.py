"""Where the model goes when nobody copies the job's folders."""

from __future__ import annotations

import io
import os
import tarfile

from training.common.failure import UserError, say
from training.common.paths import model_dir
from training.vision.checkpoints.store import ConflictError, StoreError, open_store

ARCHIVE = "model.tar.gz"
OUTPUT = "MODEL_OUTPUT"


def deliver() -> None:
    """Put the model's archive where OUTPUT_URI says, if it does; on SageMaker the platform does this.

    Raises:
        UserError: the place cannot be written.
    """
    if not os.environ.get(OUTPUT):
        return
    store = open_store(os.environ[OUTPUT])
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path in sorted(model_dir().iterdir()):
            archive.add(path, path.name)
    try:
        # A rank that was lost after it had written it left one behind.
        before = store.read(ARCHIVE)
        store.replace(ARCHIVE, stream.getvalue(), before.tag if before else None)
    except (StoreError, ConflictError) as error:
        raise UserError(f"the model cannot be delivered: {error}") from error
    say(f"{ARCHIVE}, {len(stream.getvalue()) / 1e6:.1f} MB, lies in {store}")
