"""What is made of the ledger: the manifest, a local copy of a dataset, figures; and the garbage.

    python -m training.preprocessing.manifest COMMAND

    write     --dataset dogs --table NAME --output s3://bucket/datasets/dogs
    copy      --manifest s3://bucket/datasets/dogs/manifests/SHA.json --to DIR
    collect   --dataset dogs --table NAME --output s3://bucket/datasets/dogs
    progress  --dataset dogs --table NAME --queue-url URL

`write` prints the manifest's URI. `copy` makes the trainer's channels below DIR: train, validation, test and
classes. `collect` deletes shards that nothing has named for `--grace-hours`; an ECS schedule may run it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from training.common.arguments import Parser
from training.common.failure import UserError, run, say
from training.preprocessing import aws
from training.preprocessing.documents import MAX_SHARD_BYTES, lay_out, make_manifest, read_manifest
from training.preprocessing.garbage import collect
from training.preprocessing.places import add_argument, place
from training.preprocessing.ports import UnavailableError
from training.preprocessing.progress import Eta, tally
from training.preprocessing.records import DELETED, IMAGE, QUARANTINED

LOOK_AGAIN = 10.0


def main(arguments: Sequence[str]) -> None:
    command = COMMANDS.get(arguments[0]) if arguments else None
    if command is None:
        raise UserError(f"manifest: the first argument must be one of {', '.join(COMMANDS)}")
    try:
        command(arguments[1:])
    except UnavailableError as error:
        raise UserError(str(error)) from error


def _write(arguments: Sequence[str]) -> None:
    parser = Parser("manifest write")
    for name in ("--dataset", "--table", "--output"):
        add_argument(parser, name)
    options = parser.parse_args(list(arguments))
    output = place(options.output)
    store = aws.S3Store(aws.client("s3"), output.bucket)
    records = list(aws.DynamoLedger(aws.client("dynamodb"), options.table, options.dataset).all())
    # Listed after the ledger was read: what it named is there.
    sizes = {item.key: item.size for item in store.list(output.key("shards/"))}
    manifest = make_manifest(options.dataset, records, sizes)
    key = output.key(f"manifests/{manifest.digest}.json")
    store.put_new(key, manifest.data)
    counts = tally(records)
    say(f"{counts[IMAGE]} images, {counts[QUARANTINED]} quarantined")
    say(f"s3://{output.bucket}/{key}")


def _copy(arguments: Sequence[str]) -> None:
    parser = Parser("manifest copy")
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args(list(arguments))
    source = place(options.manifest)
    store = aws.S3Store(aws.client("s3"), source.bucket)
    data = store.get(source.prefix, None, MAX_SHARD_BYTES)
    if data is None:
        raise UserError(f"there is no {options.manifest}")
    manifest = read_manifest(data)
    lay_out(manifest, store, options.to)
    say(f"{manifest.images} images of {len(manifest.document['classes'])} classes in {options.to}")


def _collect(arguments: Sequence[str]) -> None:
    parser = Parser("manifest collect")
    for name in ("--dataset", "--table", "--output"):
        add_argument(parser, name)
    parser.add_argument("--grace-hours", type=float, default=72.0)
    options = parser.parse_args(list(arguments))
    output = place(options.output)
    store = aws.S3Store(aws.client("s3"), output.bucket)
    ledger = aws.DynamoLedger(aws.client("dynamodb"), options.table, options.dataset)
    deleted, waiting = collect(ledger, store, output.prefix, time.time(), options.grace_hours * 3600)
    say(f"{deleted} shards deleted, {waiting} wait for their grace period to end")


def _progress(arguments: Sequence[str]) -> None:
    parser = Parser("manifest progress")
    for name in ("--dataset", "--table", "--queue-url"):
        add_argument(parser, name)
    options = parser.parse_args(list(arguments))
    queue, eta = aws.SqsQueue(aws.client("sqs"), options.queue_url), Eta()
    ledger = aws.DynamoLedger(aws.client("dynamodb"), options.table, options.dataset)
    eta.look(time.monotonic(), queue.depth())
    began = time.monotonic()
    counts = tally(list(ledger.all()))
    time.sleep(max(0.0, LOOK_AGAIN - (time.monotonic() - began)))
    depth = queue.depth()
    seconds = eta.look(time.monotonic(), depth)
    when = "not in sight" if seconds is None else f"in about {seconds:.0f} s"
    say(
        f"done {counts[IMAGE]}, quarantined {counts[QUARANTINED]}, deleted {counts[DELETED]}; "
        f"queue: {depth.waiting} waiting, {depth.held} held, empty {when}"
    )


COMMANDS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "write": _write,
    "copy": _copy,
    "collect": _collect,
    "progress": _progress,
}

if __name__ == "__main__":
    raise SystemExit(run(main))
