"""A job that the trainer refuses fails at once; the on-call page's commands on training are run."""

from __future__ import annotations

import json

from tests.local.operations_page import TRAINING, Page
from tests.local.support import until
from tests.local.training.stage import Stage
from tests.local.training.uploads import write_manifest

JOB = "mistaken-1"


def send(stage: Stage, **message: object) -> None:
    stage.client("sqs").send_message(QueueUrl=stage.outputs["JobsQueueUrl"], MessageBody=json.dumps(message))


def test_a_mistake_ends_a_job_at_its_first_attempt(stage: Stage) -> None:
    send(stage, job=JOB, data=write_manifest(stage), settings={"epoch": 3})
    job = stage.reached(JOB, "failed")
    assert (job["attempt"], job["tally"]["failures"]) == (1, 0)
    assert job["reason"].startswith("the trainer refuses it: ")
    assert "epoch" in job["reason"]


def test_every_command_of_the_page(stage: Stage) -> None:
    page = Page(stage.environment, TRAINING)
    seen = page("see")
    assert JOB in seen
    assert "the trainer refuses it" in seen
    log = page("log", before=f"job={JOB}")
    assert "error: " in log
    assert "epoch" in log
    sqs, letters = stage.client("sqs"), stage.resource("JobsDeadLetters", "AWS::SQS::Queue")

    def left() -> int:
        waiting = "ApproximateNumberOfMessages"
        answer = sqs.get_queue_attributes(QueueUrl=letters, AttributeNames=[waiting])
        return int(answer["Attributes"][waiting])

    send(stage, job="nobody's")
    until(left)
    assert "the message has no data" in page("dead letters: see")
    page("dead letters: empty")
    assert left() == 0
    assert '"held"' in page("slots")
    # Of a job without models; that it may be done again is for `test_training_jobs_registering.py`.
    assert ":execution:" in page("register", before=f"job={JOB} attempt=1")
    assert page.used == page.blocks.keys()
