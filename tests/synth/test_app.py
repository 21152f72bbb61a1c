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
    """Two threads would ask Node at once, which takes one request at a time (stacks/quick_start.py)."""
    found = subprocess.run(
        [sys.executable, "-c", _COUNT], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert json.loads(found.stdout) == []


_WRONG = """
import sys
if "quick" in sys.argv:
    from stacks import quick_start
    quick_start.begin().join()
else:
    import app
import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs
try:
    sqs.Queue(cdk.Stack(cdk.App(), "Stack"), "Queue", visibility_timeout=5)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_value_of_a_wrong_kind_is_refused_by_node_where_python_does_not_check() -> None:
    def refused(*arguments: str) -> str:
        command = [sys.executable, "-c", _WRONG, *arguments]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert refused().startswith("TypeError")  # tests and other apps
    assert refused("quick").startswith("RuntimeError")
    assert "Key 'visibilityTimeout'" in refused("quick")
