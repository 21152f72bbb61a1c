"""The worker: takes messages from the queue until it is told to stop.

    python -m training.preprocessing.worker --dataset dogs --queue-url URL --table NAME \\
        --data s3://bucket/dogs --output s3://other/datasets/dogs

SIGTERM: what is prepared is finished, the rest is given back to the queue, and the worker ends with 0. With
`--until-empty` it ends when no message waits, and none is held. Each batch ends with a line of progress, and
where TRAINING_CLUSTER is set with one of metrics (`telemetry`).
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from os import environ

from training.common.arguments import Parser
from training.common.failure import UserError, run, say
from training.preprocessing import aws
from training.preprocessing.batch import Ports, Worker
from training.preprocessing.keeper import Keeper
from training.preprocessing.places import add_argument, output_place, place
from training.preprocessing.ports import Depth, Message, Queue, UnavailableError
from training.preprocessing.progress import Eta, Progress
from training.preprocessing.recipe import Recipe
from training.preprocessing.telemetry import Telemetry
from training.vision.preprocess import Shares

# A stop is noticed when the queue has answered; ECS waits 30 s unless told otherwise.
WAIT = 5.0
EMPTY = Depth(0, 0)
VISIBILITIES = range(1, 12 * 3600 + 1)


def main(arguments: Sequence[str]) -> None:
    parser = Parser("worker")
    for name in ("--dataset", "--queue-url", "--table", "--data", "--output"):
        add_argument(parser, name)
    add_argument(parser, "--image-size", "224", int)
    add_argument(parser, "--validation-share", "0.1", float)
    add_argument(parser, "--test-share", "0.1", float)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--linger", type=float, default=20.0)
    parser.add_argument("--visibility", type=int, default=120)
    parser.add_argument("--until-empty", action="store_true")
    options = parser.parse_args(list(arguments))
    if options.batch < 1 or options.linger < 0 or options.visibility not in VISIBILITIES:
        raise UserError(f"worker: --batch from 1, --linger from 0, --visibility {VISIBILITIES[0]} to 43200")
    data = place(options.data)
    output = output_place(options.output, data)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    s3 = aws.client("s3")
    ports = Ports(
        queue=aws.SqsQueue(aws.client("sqs"), options.queue_url),
        objects=aws.S3Store(s3, data.bucket),
        shards=aws.S3Store(s3, output.bucket),
        ledger=aws.DynamoLedger(aws.client("dynamodb"), options.table, options.dataset),
    )
    recipe = Recipe(
        image_size=options.image_size, shares=Shares(options.validation_share, options.test_share)
    )
    worker = Worker(
        ports=ports,
        source=data,
        output=output.prefix,
        recipe=recipe,
        clock=time.time,
        stopping=stop.is_set,
    )
    telemetry = Telemetry(
        cluster=environ.get("TRAINING_CLUSTER", ""), dataset=options.dataset, clock=time.time
    )
    try:
        work(
            worker,
            options.batch,
            options.linger,
            options.visibility,
            until_empty=options.until_empty,
            tell=telemetry.tell,
        )
    except UnavailableError as error:
        # Whoever started the worker starts it again, with ever longer pauses; its messages come back.
        raise UserError(str(error)) from error
    say(f"stopped: {worker.progress.line(None, None)}")


def work(
    worker: Worker,
    batch: int,
    linger: float,
    visibility: int,
    *,
    until_empty: bool,
    tell: Callable[[Progress, float], None] = lambda _progress, _seconds: None,
) -> None:
    """Batches of up to `batch` messages, each waited for at most `linger` seconds after its first one.

    `tell` hears what has been done once a batch is in the ledger, and how many seconds the batch took.
    """
    queue, eta = worker.ports.queue, Eta()
    with Keeper(queue, visibility) as keeper:
        while not worker.stopping():
            messages = gather(queue, keeper, batch, linger, worker.stopping)
            if not messages and not until_empty:
                continue
            began = time.monotonic()
            try:
                for step in worker.process(messages):
                    if step == "delete":  # at once: what a killed worker has not told is not counted
                        tell(worker.progress, time.monotonic() - began)
                    elif step == "give back":
                        keeper.release()
            finally:
                tell(worker.progress, time.monotonic() - began)
            depth = queue.depth()
            if messages:
                say(worker.progress.line(depth, eta.look(time.monotonic(), depth)))
            elif depth == EMPTY:
                return


def gather(
    queue: Queue, keeper: Keeper, batch: int, linger: float, stopping: Callable[[], bool]
) -> list[Message]:
    """The messages of a batch, held by the keeper as they come. It ends when it is full, after `linger`
    seconds, or when no more come."""
    messages: list[Message] = []
    until = time.monotonic() + WAIT
    while len(messages) < batch and not stopping():
        left = until - time.monotonic()
        if left < 0:
            break
        # Of whole seconds, and not 0, which asks only some of SQS's machines.
        found = queue.receive(batch - len(messages), max(1, int(min(WAIT, left))), keeper.visibility)
        if not found:
            break
        keeper.hold(found)
        if not messages:
            until = time.monotonic() + linger
        messages += found
    return messages


if __name__ == "__main__":
    raise SystemExit(run(main))
