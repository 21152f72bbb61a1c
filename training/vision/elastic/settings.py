"""What a host of an elastic job is told, in its environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.common.failure import UserError

PORT = 29400  # of `training.rendezvous`, which is not imported: it loads PyTorch


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A host's part of a job.

    Args:
        rendezvous: host:port of the store at which hosts meet.
        job: its name. attempt: counted from 1; the hosts of one do not meet those of another.
        min_hosts, max_hosts: with fewer the hosts wait, then give up; more wait until one goes.
        processes: ranks on each host, one for each GPU.
        checkpoints, dataset, output: where they lie; None where the job has its folders already.
        copies: whether a dataset in S3 is copied to the host first, instead of being read from there.
        hyperparameters: None likewise.
        patience: seconds to wait for `min_hosts`.
        absence: seconds to wait for a rendezvous that is not there; a task of Fargate takes minutes to start.
    """

    rendezvous: str
    job: str
    attempt: int = 1
    min_hosts: int = 1
    max_hosts: int = 1
    processes: int = 1
    checkpoints: str | None = None
    dataset: str | None = None
    copies: bool = False
    output: str | None = None
    hyperparameters: Mapping[str, Any] | None = field(default=None)
    patience: int = 300
    absence: int = 600

    @property
    def run(self) -> str:
        """What the hosts of this attempt call themselves at the rendezvous."""
        return f"{self.job}/{self.attempt}"

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """From environment variables; an empty one counts as missing.

        Raises:
            UserError: one is missing, or is not what it should be.

        Example:
            >>> Settings.read({"RENDEZVOUS_ENDPOINT": "rdzv.train.local", "JOB_NAME": "dogs-1"}).rendezvous
            'rdzv.train.local:29400'
        """
        given = {name: value for name, value in environment.items() if value}
        for name in ("RENDEZVOUS_ENDPOINT", "JOB_NAME"):
            if name not in given:
                raise UserError(f"the environment variable {name} is missing")
        numbers = {
            name: _number(given, name, default)
            for name, default in {
                "ATTEMPT": 1,
                "MIN_HOSTS": 1,
                "MAX_HOSTS": _number(given, "MIN_HOSTS", 1),
                "PROCESSES_PER_HOST": 1,
                "JOIN_SECONDS": 300,
                "RENDEZVOUS_SECONDS": 600,
            }.items()
        }
        if numbers["MAX_HOSTS"] < numbers["MIN_HOSTS"]:
            raise UserError(f"MAX_HOSTS is {numbers['MAX_HOSTS']}, below MIN_HOSTS, {numbers['MIN_HOSTS']}")
        return cls(
            rendezvous=_endpoint(given["RENDEZVOUS_ENDPOINT"]),
            job=given["JOB_NAME"],
            attempt=numbers["ATTEMPT"],
            min_hosts=numbers["MIN_HOSTS"],
            max_hosts=numbers["MAX_HOSTS"],
            processes=numbers["PROCESSES_PER_HOST"],
            checkpoints=given.get("CHECKPOINT_URI"),
            dataset=given.get("DATASET_URI"),
            copies=_truth(given, "DATASET_COPY"),
            output=given.get("OUTPUT_URI"),
            hyperparameters=_object(given, "HYPERPARAMETERS"),
            patience=numbers["JOIN_SECONDS"],
            absence=numbers["RENDEZVOUS_SECONDS"],
        )


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise UserError(f"{name} must be a number from 1 on, got {text!r}")
    return int(text)


def _truth(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "0")
    if text not in ("0", "1"):
        raise UserError(f"{name} must be 0 or 1, got {text!r}")
    return text == "1"


def _endpoint(text: str) -> str:
    host, _, port = text.partition(":")
    if not host or (port and not port.isdigit()) or text.endswith(":"):
        raise UserError(f"RENDEZVOUS_ENDPOINT must be host:port, got {text!r}")
    return f"{host}:{port or PORT}"


def _object(given: Mapping[str, str], name: str) -> Mapping[str, Any] | None:
    if name not in given:
        return None
    try:
        found = json.loads(given[name])
    except ValueError as error:
        raise UserError(f"{name} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{name} must be a JSON object of names and values")
    return found
