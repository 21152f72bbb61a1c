"""The entry point's own promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What is sent to Node while everything is imported that `app.py` imports, at once or later.
_COUNT = """
import json
import os
from jsii._kernel.providers import process
import aws_cdk
asked, send = [], process._NodeProcess.send
def count(self, request, response):
    asked.append(str(request))
    return send(self, request, response)
process._NodeProcess.send = count
import app
import stacks.training_stack
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


_LOUD = """
import os
from stacks import quick_start
before = dict(os.environ)
quick_start.begin().join()
assert os.environ == before, os.environ.keys() ^ before.keys()
import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
key = dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING)
dynamodb.Table(cdk.Stack(cdk.App(), "Stack"), "Table", partition_key=key, point_in_time_recovery=True)
"""


def test_what_node_says_is_heard_and_no_other_program_is_told_how_it_was_started() -> None:
    done = subprocess.run([sys.executable, "-c", _LOUD], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "[WARNING] aws-cdk-lib.aws_dynamodb" in done.stderr, done


def test_with_and_without_the_relay_to_node_the_same_is_written(tmp_path: Path) -> None:
    """`direct_kernel.js` in its place, or, where somebody has set options of Node, the relay."""

    def written(name: str, **options: str) -> dict[str, bytes]:
        folder = tmp_path / name
        places = {"CDK_OUTDIR": str(folder), "CDK_CONTEXT_JSON": '{"env": "dev"}'}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("JSII_")}
        environment.pop("NODE_OPTIONS", None)
        command = [sys.executable, "app.py"]
        subprocess.run(command, cwd=ROOT, check=True, env=environment | places | options)
        return {file.name: file.read_bytes() for file in folder.glob("*.json")}

    direct = written("direct")
    assert direct == written("relay", NODE_OPTIONS="--max-http-header-size=16384")
    assert len(direct) > 12
