"""`AWS::SSM::Document`: checked and named, so that templates which bring commands deploy.

Nothing runs behind the instances of the local EC2, so no document is ever sent to one.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ssm-document.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from localcloud.cloudformation.register import Created, Properties, physical_name, register_type

_LONGEST_NAME = 128
_MOST_BYTES = 64 * 1024
# https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-schemas-features.html
_STEPS = {"0.3": "mainSteps", "1.2": "runtimeConfig", "2.0": "mainSteps", "2.2": "mainSteps"}
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def install() -> None:
    """Let templates use the type."""
    register_type("AWS::SSM::Document", Document(), name_property="Name")


class Document:
    """`Ref` is its name. With `UpdateMethod: NewVersion` a change of content is another version."""

    replace_on = frozenset({"Name", "DocumentType"})

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Created:
        check(logical_id, properties)
        name = properties.get("Name") or physical_name(stack_name, logical_id, _LONGEST_NAME)
        return str(name), {}

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Created:
        check(physical_id, new)
        if old.get("Content") != new.get("Content") and new.get("UpdateMethod", "Replace") != "NewVersion":
            raise ValueError(
                f"{physical_id}: another content replaces a document; the local cloud changes those with "
                "UpdateMethod NewVersion only"
            )
        return physical_id, {}

    def delete(self, _physical_id: str, _properties: Properties) -> None:
        """There is nothing but the stack's own record."""


def check(name: str, properties: Mapping[str, Any]) -> None:
    """Raise ValueError for what SSM refuses: no JSON, no steps, a parameter that is not declared."""
    content = properties["Content"]
    try:
        document = json.loads(content) if isinstance(content, str) else content
    except ValueError as error:
        raise ValueError(f"{name}: InvalidDocumentContent: the document is not JSON: {error}") from None
    if len(json.dumps(document)) > _MOST_BYTES:
        raise ValueError(f"{name}: MaxDocumentSizeExceeded: it has more than {_MOST_BYTES} bytes")
    version = document.get("schemaVersion")
    if version not in _STEPS or not document.get(_STEPS[version]):
        raise ValueError(f"{name}: InvalidDocumentContent: schema {version} or its steps are missing")
    parameters = document.get("parameters") or {}
    for parameter, declared in parameters.items():
        try:
            re.compile(declared.get("allowedPattern", ""))
        except re.error as error:
            raise ValueError(
                f"{name}: InvalidDocumentContent: allowedPattern of {parameter}: {error}"
            ) from None
    known = parameters.keys() | {"global", "platformType"}
    used = set(_PLACEHOLDER.findall(json.dumps(document[_STEPS[version]])))
    if missing := sorted(used - known):
        raise ValueError(f"{name}: InvalidDocumentContent: {missing[0]} is no parameter of the document")
