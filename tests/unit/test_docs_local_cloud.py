"""The local cloud's documentation lists what is served, no more and no less."""

import re
from pathlib import Path

from localcloud.sagemaker import service

DOCS = Path(__file__).parents[2] / "docs" / "local-cloud.md"


def test_every_operation_is_listed() -> None:
    service.load_operations()
    text = DOCS.read_text(encoding="utf-8")
    served = text.split("anything else is refused by name:")[1].split("An image is a folder")[0]

    assert set(re.findall(r"`(\w+)`", served)) == set(service.operation_names())
