"""A job as a plain SQS message asks for it.

The body is one JSON object:

    {"job": "dogs-1", "data": "s3://bucket/datasets/dogs/manifest.json", "hosts": 4, "min_hosts": 2,
     "elastic": true, "budget_usd": 25, "max_hours": 12, "settings": {"backbone": "resnet18", "epochs": 10},
     "model_group": "dogs", "wandb": "dogs", "instance": false}

`job` and `data` are required. SQS delivers a message at least once, so the same request for the same job is
no error: it is `repeated`. Another request under the name of a job that exists is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import RequestError

Setting = str | int | float | bool

MOST_HOSTS = 64
_MOST_BYTES = 65_536
_JOB = re.compile(r"[a-z0-9](-?[a-z0-9]){0,62}")
_SETTING = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DATA = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/\S{1,1024}")
# What a single host is told of is put into a script as text: nothing but this alphabet may stand in it.
PLAIN_ADDRESS = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[A-Za-z0-9_./=+-]{1,1024}"
_GROUP = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_MEMBERS = (
    "job", "data", "hosts", "min_hosts", "elastic", "budget_usd", "max_hours", "settings", "model_group",
    "wandb", "instance",
)  # fmt: skip
_YOUNGER = frozenset({"max_hours", "wandb", "instance"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What to train.

    Args:
        job: Its name, unique in the cluster.
        data: S3 address of the dataset's manifest.
        hosts: Of the whole gang.
        min_hosts: Fewest that it goes on with when hosts are lost.
        elastic: Whether it goes on with fewer at all.
        budget_usd: Cost at which it ends; None for no bound.
        max_hours: With hosts, of all attempts together, at which it ends; None for no bound.
        settings: Of the trainer, which checks them itself.
        model_group: In which its models are registered; empty for none.
        wandb: Project of Weights & Biases, for which its figures are written to a folder of its output; empty
            for none.
        instance: Whether it trains on a single host that is started for it, and not on the cluster.
    """

    job: str
    data: str
    hosts: int = 1
    min_hosts: int = 1
    elastic: bool = True
    budget_usd: float | None = None
    max_hours: float | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    model_group: str = ""
    wandb: str = ""
    instance: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of what is asked for, the same however the message was written."""
        # Requests are older than some members: without these they have the digest that they had.
        members = {name: value for name, value in asdict(self).items() if value or name not in _YOUNGER}
        told = json.dumps(members, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(told.encode()).hexdigest()


def parse(body: str) -> JobRequest:
    """Read a message.

    Raises:
        RequestError: with the first thing that is wrong.

    Example:
        >>> parse('{"job": "dogs-1", "data": "s3://bucket/manifest.json"}').hosts
        1
    """
    members = read_object(body)
    if missing := [name for name in ("job", "data") if name not in members]:
        raise RequestError(f"the message has no {' and no '.join(missing)}")
    if unknown := sorted(members.keys() - set(_MEMBERS)):
        raise RequestError(f"unknown member {unknown[0]!r:.80}; known: {', '.join(_MEMBERS)}")
    hosts = _whole(members, "hosts", 1, MOST_HOSTS)
    instance = _truth(members, "instance", default=False)
    if instance and hosts > 1:
        raise RequestError(f"hosts is {hosts} and instance is true; a single host is one")
    return JobRequest(
        job=_text(members, "job", _JOB, "1 to 63 small letters, digits and inner hyphens"),
        data=_text(members, "data", _DATA, "an address such as s3://bucket/key"),
        hosts=hosts,
        min_hosts=_whole(members, "min_hosts", 1, hosts),
        elastic=_truth(members, "elastic", default=True),
        budget_usd=_bound(members, "budget_usd"),
        max_hours=_bound(members, "max_hours"),
        settings=_settings(members),
        model_group=_text(members, "model_group", _GROUP, "the name of a model package group")
        if "model_group" in members
        else "",
        wandb=_text(members, "wandb", _PROJECT, "1 to 128 letters, digits, -, _ and . of a project's name")
        if "wandb" in members
        else "",
        instance=instance,
    )


def is_repeated(request: JobRequest, known_digest: str | None) -> bool:
    """Whether the job was asked for before with the same words; then there is nothing to do.

    Args:
        request: As parsed.
        known_digest: Of the request that the job of this name came from; None where there is no such job.

    Raises:
        RequestError: when the name is taken by another request.
    """
    if known_digest is None:
        return False
    if known_digest != request.digest:
        raise RequestError(f"job {request.job} exists and asks for something else; choose another name")
    return True


def read_object(body: str) -> dict[str, Any]:
    """The JSON object that a message is; raises RequestError for anything else."""
    if len(body.encode(errors="replace")) > _MOST_BYTES:
        raise RequestError(f"the message is larger than {_MOST_BYTES} bytes; put large settings in S3")
    try:
        found = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the message is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise RequestError(f"the message is JSON but no object: it starts with {body.strip()[:20]!r}")
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        # JSON can write it, DynamoDB and S3 cannot keep it.
        raise RequestError("the message holds half of a character (a lone surrogate)") from error
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"member {twice!r:.80} is given twice")
    return members


def _no_constant(word: str) -> Any:
    raise RequestError(f"the message holds {word}, which JSON does not have")


def _text(members: Mapping[str, Any], name: str, form: re.Pattern[str], words: str) -> str:
    value = members[name]
    if not isinstance(value, str) or not form.fullmatch(value):
        raise RequestError(f"{name} is {value!r:.80}; it must be {words}")
    return value


def _whole(members: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = members.get(name, low)
    # True is an int in Python and none in JSON.
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise RequestError(f"{name} is {value!r:.80}; it must be a whole number from {low} to {high}")
    return value


def _truth(members: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = members.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(f"{name} is {value!r:.80}; it must be true or false")
    return value


def _bound(members: Mapping[str, Any], name: str) -> float | None:
    value = members.get(name)
    if value is None:
        return None
    if not _is_number(value) or value <= 0:
        raise RequestError(f"{name} is {value!r:.80}; it must be a number above 0")
    return float(value)


def _settings(members: Mapping[str, Any]) -> dict[str, Setting]:
    value = members.get("settings", {})
    if not isinstance(value, dict):
        raise RequestError("settings is not an object")
    for name, setting in value.items():
        if not _SETTING.fullmatch(name):
            raise RequestError(f"setting {name!r:.80} is not 1 to 64 small letters, digits and _")
        if not isinstance(setting, str | bool) and not _is_number(setting):
            raise RequestError(f"setting {name} is {setting!r:.80}; it must be a text, a number or a truth")
    return value


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        # 1e999 is read as infinity, and a whole number may be too large for a float.
        return math.isfinite(float(value))
    except OverflowError:
        return False
