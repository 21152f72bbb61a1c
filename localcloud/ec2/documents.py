"""SSM's documents of type Command: kept by name, with the parameters of a command filled in.

https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-syntax-data-elements-parameters.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.sagemaker.store import Store

DOCUMENT = "document"
PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
_ACTION = "aws:runShellScript"
_DEFAULT_SECONDS = "3600"
_SECONDS = "[1-9][0-9]{0,5}"
# The one of AWS's own that is served.
_SHELL: dict[str, Any] = {
    "schemaVersion": "2.2",
    "parameters": {
        "commands": {"type": "StringList"},
        # https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-command-ssm-plugin-reference.html
        "executionTimeout": {"type": "String", "default": _DEFAULT_SECONDS, "allowedPattern": _SECONDS},
    },
    "mainSteps": [
        {
            "name": "runShellScript",
            "action": _ACTION,
            "inputs": {"timeoutSeconds": "{{ executionTimeout }}", "runCommand": "{{ commands }}"},
        }
    ],
}


class DocumentError(Exception):
    """A document or parameters that SSM refuses: its code and its words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def keep(store: Store, name: str, content: Mapping[str, Any]) -> None:
    """Keep a document, or another version of it."""
    with store.transaction():
        forget(store, name)
        store.create(DOCUMENT, name, dict(content))


def forget(store: Store, name: str) -> None:
    """Keep it no more; one that is gone is no error."""
    if store.find(DOCUMENT, name) is not None:
        store.delete(DOCUMENT, name)


def document_arn(reference: str, region: str, account: str) -> str:
    """Of a document, by name or ARN; AWS's own belong to no account."""
    if reference.startswith("arn:"):
        return reference
    owner = "" if reference.startswith("AWS-") else account
    return f"arn:aws:ssm:{region}:{owner}:document/{reference}"


def find(store: Store, reference: str, region: str, account: str) -> Mapping[str, Any]:
    """By name, or the ARN that this name has: it is what IAM was asked about. Raises DocumentError."""
    name = reference.rpartition("/")[2] if reference.startswith("arn:") else reference
    found = None
    if _NAME.fullmatch(name) and document_arn(name, region, account) == document_arn(
        reference, region, account
    ):
        found = _SHELL if name == "AWS-RunShellScript" else store.find(DOCUMENT, name)
    if found is None:
        raise DocumentError("InvalidDocument", f"Document with name {reference} does not exist.")
    return found


def script_of(document: Mapping[str, Any], given: Mapping[str, Sequence[str]]) -> tuple[str, str, float]:
    """The step's name, its script and the seconds that it may take.

    Args:
        given: values by parameter, each a list, as `SendCommand` takes them.

    Raises:
        DocumentError: a value is missing, unknown or not of its pattern; or the steps are not one script.
    """
    steps: Sequence[Any] = document.get("mainSteps") or ()
    if len(steps) != 1 or steps[0].get("action") != _ACTION:
        raise DocumentError(
            "UnsupportedPlatformType", f"The local cloud runs documents of one step {_ACTION}."
        )
    values = _values(document.get("parameters") or {}, given)
    inputs = steps[0]["inputs"]
    lines = inputs["runCommand"]
    if isinstance(lines, str):
        filled = values.get(PLACEHOLDER.sub(r"\1", lines), [lines])
    else:
        filled = [_fill(line, values) for line in lines]
    seconds = _fill(str(inputs.get("timeoutSeconds", "")), values) or _DEFAULT_SECONDS
    if not re.fullmatch(_SECONDS, seconds):
        raise DocumentError("InvalidParameters", f"timeoutSeconds is {seconds!r} and no number of seconds.")
    return str(steps[0]["name"]), "\n".join(filled) + "\n", float(seconds)


def _values(declared: Mapping[str, Any], given: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    if unknown := sorted(given.keys() - declared.keys()):
        raise DocumentError("InvalidParameters", f"The document has no parameter {unknown[0]}.")
    values = {}
    for name, about in declared.items():
        if name in given:
            found = list(given[name])
        elif "default" in about:
            default = about["default"]
            found = list(default) if isinstance(default, list) else [str(default)]
        else:
            raise DocumentError("InvalidParameters", f"The parameter {name} has no value.")
        if about.get("type") == "String" and len(found) != 1:
            raise DocumentError("InvalidParameters", f"The parameter {name} takes one value.")
        pattern = about.get("allowedPattern")
        if pattern and not all(re.fullmatch(pattern, one) for one in found):
            raise DocumentError("InvalidParameters", f"The value of {name} does not match {pattern}.")
        allowed = about.get("allowedValues")
        if allowed and not set(found) <= set(allowed):
            raise DocumentError("InvalidParameters", f"The value of {name} is none of {', '.join(allowed)}.")
        values[name] = found
    return values


def _fill(text: str, values: Mapping[str, Sequence[str]]) -> str:
    return PLACEHOLDER.sub(lambda found: " ".join(values.get(found[1], [found[0]])), text)
