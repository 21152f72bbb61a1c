"""Arguments that say where a dataset is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import environ

from training.common.arguments import Parser
from training.common.failure import UserError
from training.preprocessing.events import Source

URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")
# An ECS task has its settings in its environment; an argument goes before.
VARIABLES: Mapping[str, str] = {
    "--dataset": "DATASET",
    "--data": "DATA_URI",
    "--output": "OUTPUT_URI",
    "--table": "LEDGER_TABLE",
    "--queue-url": "QUEUE_URL",
    "--image-size": "IMAGE_SIZE",
    "--validation-share": "VALIDATION_SHARE",
    "--test-share": "TEST_SHARE",
}


def add_argument(parser: Parser, name: str, default: str = "", kind: type = str) -> None:
    """An argument that may also be an environment variable; without a default it must be one of both."""
    value = environ.get(VARIABLES[name]) or default
    parser.add_argument(name, type=kind, default=value or None, required=not value)


def place(uri: str) -> Source:
    """The bucket and prefix of `s3://bucket/prefix`.

    Raises:
        UserError: it is not such a URI.

    Example:
        >>> place("s3://data/dogs/")
        Source(bucket='data', prefix='dogs')
    """
    found = URI.fullmatch(uri)
    if not found:
        raise UserError(f"{uri!r} is not s3://<bucket>/<prefix>")
    return Source(found[1], (found[2] or "").strip("/"))


def output_place(uri: str, data: Source) -> Source:
    """Where the shards go; raises UserError when they would be events of the dataset's own queue."""
    output = place(uri)
    if not output.prefix:
        raise UserError(f"{uri!r} has no prefix: give the dataset one of its own, s3://<bucket>/<prefix>")
    if output.bucket == data.bucket and output.key("").startswith(data.key("")):
        raise UserError(f"the output {uri!r} lies within the data: each shard would be an upload")
    return output
