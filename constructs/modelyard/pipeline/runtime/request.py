"""CloudFormation's custom resource event, parsed.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requests.html
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from .errors import PipelineError

STACK_TAG = "modelyard:stack"
LOGICAL_ID_TAG = "modelyard:logical-id"

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}")
_REQUIRED = (
    "PipelineName",
    "RoleArn",
    "BundleBucket",
    "BundleKey",
    "DefinitionSha256",
    "ParallelismMax",
)
_OPTIONAL = ("CodeBucket", "CodePrefix", "Values", "ParameterDefaults", "Tags", "Description")
_OF_CLOUDFORMATION = ("ServiceToken", "ServiceTimeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Which resource of which stack a pipeline belongs to; written on the pipeline as two tags.

    The stack's name and not its id, so that a stack created anew takes back a pipeline that was retained.
    """

    stack: str
    logical_id: str

    def tags(self) -> dict[str, str]:
        return {STACK_TAG: self.stack, LOGICAL_ID_TAG: self.logical_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The pipeline as the template describes it.

    `bucket` and `key` are its bundle's, `sha256` its definition's; `code_bucket` and `code_prefix` say where
    its steps' code is kept for jobs, empty for a pipeline without.
    """

    name: str
    role_arn: str
    bucket: str
    key: str
    sha256: str
    code_bucket: str
    code_prefix: str
    parallelism: int
    description: str
    values: Mapping[str, str]
    defaults: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One event. `desired` is None for a delete, `physical_id` for a create."""

    type: Literal["Create", "Update", "Delete"]
    owner: Owner
    token: str
    physical_id: str | None
    desired: Desired | None
    old_tags: frozenset[str]


def parse(event: Mapping[str, Any]) -> Request:
    """Raises PipelineError for properties that are missing, unknown or malformed."""
    kind = event["RequestType"]
    if kind not in ("Create", "Update", "Delete"):
        raise PipelineError(f"RequestType is {kind!r}; CloudFormation sends Create, Update or Delete")
    old = event.get("OldResourceProperties", {}).get("Tags", {})
    return Request(
        type=cast(Literal["Create", "Update", "Delete"], kind),
        owner=Owner(
            stack=event["StackId"].split(":stack/")[-1].split("/")[0], logical_id=event["LogicalResourceId"]
        ),
        token=client_request_token(event),
        physical_id=event.get("PhysicalResourceId"),
        # A delete must succeed whatever the properties were: a failed create is cleaned up with them.
        desired=None if kind == "Delete" else _desired(event["ResourceProperties"]),
        old_tags=frozenset(old if isinstance(old, dict) else ()),
    )


def client_request_token(event: Mapping[str, Any]) -> str:
    """The same token whenever Lambda repeats an event, another for every other event; 64 characters."""
    return hashlib.sha256("|".join((event["StackId"], event["RequestId"])).encode()).hexdigest()


def _desired(properties: Mapping[str, Any]) -> Desired:
    unknown = sorted(properties.keys() - {*_REQUIRED, *_OPTIONAL, *_OF_CLOUDFORMATION})
    if unknown:
        known = ", ".join((*_REQUIRED, *_OPTIONAL))
        raise PipelineError(f"unknown property {', '.join(unknown)}; known: {known}")
    texts = {}
    for name in _REQUIRED:
        value = properties.get(name)
        if not isinstance(value, str) or not value:
            raise PipelineError(f"property {name} is missing or not a string")
        texts[name] = value
    if not _NAME.fullmatch(texts["PipelineName"]):
        raise PipelineError(
            f"PipelineName {texts['PipelineName']!r}: use 1 to 256 letters, digits and inner hyphens"
        )
    if not re.fullmatch(r"[1-9][0-9]{0,4}", texts["ParallelismMax"]):
        raise PipelineError(f"ParallelismMax {texts['ParallelismMax']!r} is not a positive whole number")
    tags = _strings(properties, "Tags")
    reserved = sorted(tags.keys() & {STACK_TAG, LOGICAL_ID_TAG})
    if reserved:
        raise PipelineError(
            f"tag {', '.join(reserved)} is reserved: it says which resource owns the pipeline"
        )
    words = {name: properties.get(name, "") for name in ("CodeBucket", "CodePrefix", "Description")}
    for name, word in words.items():
        if not isinstance(word, str):
            raise PipelineError(f"property {name} is not a string")
    return Desired(
        name=texts["PipelineName"],
        role_arn=texts["RoleArn"],
        bucket=texts["BundleBucket"],
        key=texts["BundleKey"],
        sha256=texts["DefinitionSha256"],
        code_bucket=words["CodeBucket"],
        code_prefix=words["CodePrefix"],
        parallelism=int(texts["ParallelismMax"]),
        description=words["Description"],
        values=_strings(properties, "Values"),
        defaults=_strings(properties, "ParameterDefaults"),
        tags=tags,
    )


def _strings(properties: Mapping[str, Any], name: str) -> dict[str, str]:
    mapping = properties.get(name, {})
    if not isinstance(mapping, dict):
        raise PipelineError(f"property {name} is not a mapping")
    for key, value in mapping.items():
        if not isinstance(value, str):
            raise PipelineError(f"{name}.{key} is not a string")
    return mapping
