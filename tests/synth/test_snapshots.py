"""The templates of the stage nearest to the machine and of the one furthest from it."""

from __future__ import annotations

import json
import re

import pytest
from syrupy.extensions.json import JSONSnapshotExtension

# Content hashes of assets, and the version of a function, which is named by its content.
_HASH = re.compile(r"[0-9a-f]{64}|(?<=CurrentVersion)[0-9A-Fa-f]{40,48}")


@pytest.mark.parametrize("stage", ["local", "prod"])
@pytest.mark.parametrize("name", ["data", "pipelines", "serving", "inference", "access"])
def test_template(synthesize, snapshot, stage, name):
    text = _HASH.sub("HASH", json.dumps(synthesize(stage).templates[name]))
    assert json.loads(text) == snapshot(extension_class=JSONSnapshotExtension)
