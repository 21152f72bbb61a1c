"""What goes into our images is decided here, not where a tag points today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TRAINING = Path(__file__).parents[2] / "training"
DOCKERFILES = sorted(TRAINING.rglob("*Dockerfile"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(TRAINING)))
def test_base_images_are_pinned_by_digest(path: Path) -> None:
    bases = re.findall(r"^FROM\s+(?:--\S+\s+)*(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert bases
    for base in bases:
        assert re.fullmatch(r"[^@\s]+:[^@\s]+@sha256:[0-9a-f]{64}", base), base


def test_there_is_an_image() -> None:
    assert DOCKERFILES
