"""`AWS::SSM::Document`: checked, named and kept, for commands to the hosts that run.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ssm-document.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from localcloud.cloudformation.register import Created, Properties, physical_name, register_type
from localcloud.ec2 import documents
from localcloud.sagemaker.store import Store

_LONGEST_NAME = 128
_MOST_BYTES = 64 * 1024
# https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-schemas-features.html
_STEPS = {"0.3": "mainSteps", "1.2": "runtimeConfig", "2.0": "mainSteps", "2.2": "mainSteps"}


def install(store: Store) -> None:
    """Let templates use the type; documents go to the store."""
    register_type("AWS::SSM::Document", Document(store), name_property="Name")


class Document:
    """`Ref` is its name. With `UpdateMethod: NewVersion` a change of content is another version."""

    replace_on = frozenset({"Name", "DocumentType"})

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Created:
        document = check(logical_id, properties)
        name = str(properties.get("Name") or physical_name(stack_name, logical_id, _LONGEST_NAME))
        documents.keep(self._store, name, document)
        return name, {}

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Created:
        document = check(physical_id, new)
        if old.get("Content") != new.get("Content") and new.get("UpdateMethod", "Replace") != "NewVersion":
            raise ValueError(
                f"{physical_id}: another content replaces a document; the local cloud changes those with "
                "UpdateMethod NewVersion only"
            )
        documents.keep(self._store, physical_id, document)
        return physical_id, {}

    def delete(self, physical_id: str, _properties: Properties) -> None:
        documents.forget(self._store, physical_id)


def check(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The document. Raises ValueError for what SSM refuses: no JSON, no steps, an undeclared parameter."""
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
    used = set(documents.PLACEHOLDER.findall(json.dumps(document[_STEPS[version]])))
    if missing := sorted(used - known):
        raise ValueError(f"{name}: InvalidDocumentContent: {missing[0]} is no parameter of the document")
    return dict(document)
