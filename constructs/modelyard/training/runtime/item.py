"""The forms of jobs, capacity and reports in DynamoDB.

A record is JSON in one member; beside it stand the members that indexes and conditions need, and those that a
person looks for in the console.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .admission import Capacity, Held, Place
from .attempts import Tally
from .job import ENDS, Checkpoint, Job, Placed, State, World
from .job_request import JobRequest
from .ports import Model, Outcome, Report

Item = dict[str, Any]

CAPACITY = "capacity"
OPEN, ENDED = "open", "ended"


def job_id(name: str) -> str:
    """Key of a job's record."""
    return f"job/{name}"


def report_id(name: str) -> str:
    """Key of the trainer's report; `training.vision.job_record` has the same."""
    return f"report/{name}"


def of_job(job: Job) -> Item:
    """As an item."""
    return {
        "id": {"S": job_id(job.request.job)},
        "standing": {"S": ENDED if job.state in ENDS else OPEN},
        "submitted": {"N": repr(job.submitted)},
        "state": {"S": job.state.value},
        "attempt": {"N": str(job.attempt)},
        "reason": {"S": job.reason},
        "generation": {"N": str(job.generation)},
        "record": {"S": _json(asdict(job))},
    }


def to_job(item: Mapping[str, Any]) -> Job:
    """Reverse of `of_job`."""
    members = json.loads(item["record"]["S"])
    saved = members["checkpoint"]
    return Job(
        **{
            **members,
            "request": JobRequest(**members["request"]),
            "state": State(members["state"]),
            "worlds": tuple(World(**world) for world in members["worlds"]),
            # A record of before has none.
            "tasks": tuple(Placed(**task) for task in members.get("tasks", ())),
            "checkpoint": Checkpoint(**saved) if saved else None,
            "tally": Tally(**members["tally"]),
            "heard": tuple(members["heard"]),
            "models": tuple(members.get("models", ())),
        }
    )


def of_capacity(capacity: Capacity) -> Item:
    """As an item."""
    return {
        "id": {"S": CAPACITY},
        "generation": {"N": str(capacity.generation)},
        "record": {"S": _json(asdict(capacity))},
    }


def to_capacity(item: Mapping[str, Any], total: int) -> Capacity:
    """Reverse of `of_capacity`; how many slots there are, the settings say."""
    members = json.loads(item["record"]["S"])
    return Capacity(
        total=total,
        generation=members["generation"],
        held={attempt: Held(**held) for attempt, held in members["held"].items()},
        line=tuple(Place(**place) for place in members["line"]),
        released=members["released"],
    )


def to_report(item: Mapping[str, Any]) -> Report:
    """What the trainer wrote."""
    saved = item.get("checkpoint_key")
    outcome = item.get("outcome")
    return Report(
        attempt=int(item["attempt"]["N"]),
        step=int(item["step"]["N"]),
        images_per_second=float(item["images_per_second"]["N"]) if "images_per_second" in item else None,
        checkpoint=Checkpoint(step=int(item["checkpoint_step"]["N"]), key=saved["S"]) if saved else None,
        outcome=Outcome(outcome["S"]) if outcome else None,
        reason=item.get("reason", {"S": ""})["S"],
        models=tuple(Model(**model) for model in json.loads(item.get("models", {"S": "[]"})["S"])),
    )


def _json(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))
