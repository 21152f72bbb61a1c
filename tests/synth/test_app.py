"""The entry point's own promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What is sent to Node while everything is imported that `app.py` imports.
_COUNT = """
import json
from jsii._kernel.providers import process
import aws_cdk
asked, send = [], process._NodeProcess.send
def count(self, request, response):
    asked.append(str(request))
    return send(self, request, response)
process._NodeProcess.send = count
import app
print(json.dumps(asked))
"""


def test_nothing_is_asked_of_cdk_at_import() -> None:
    """Two threads would ask Node at once, which takes one request at a time (stacks/node_warm_up.py)."""
    found = subprocess.run(
        [sys.executable, "-c", _COUNT], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert json.loads(found.stdout) == []
