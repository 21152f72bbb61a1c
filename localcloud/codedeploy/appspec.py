"""What a revision says: the function, its alias, and the versions to go from and to. Pure.

https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-resources.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.sagemaker.errors import ServiceError

_MEMBERS = ("Name", "Alias", "CurrentVersion", "TargetVersion")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An alias that is to go from one version to another."""

    function: str
    alias: str
    current: str
    target: str

    def reversed(self) -> Target:
        """The way back."""
        return Target(function=self.function, alias=self.alias, current=self.target, target=self.current)


def revision(target: Target) -> dict[str, Any]:
    """As CloudFormation writes it for an alias."""
    values = (target.function, target.alias, target.current, target.target)
    properties = dict(zip(_MEMBERS, values, strict=True))
    content = json.dumps(
        {
            "version": 0.0,
            "Resources": [{target.alias: {"Type": "AWS::Lambda::Function", "Properties": properties}}],
        }
    )
    digest = hashlib.sha256(content.encode()).hexdigest()
    return {"revisionType": "AppSpecContent", "appSpecContent": {"content": content, "sha256": digest}}


def target_of(asked: Mapping[str, Any]) -> Target:
    """What a revision asks for.

    Raises:
        ServiceError: It is not one for a function, or has hooks, which are not run here.
    """
    content = (asked.get("appSpecContent") or {}).get("content") or (asked.get("string") or {}).get("content")
    if content is None:
        raise _invalid("a revision of a function is its AppSpec: appSpecContent, or string")
    try:
        document = json.loads(content)
        (resource,) = [value for entry in document["Resources"] for value in entry.values()]
        properties = resource["Properties"]
        function, alias, current, target = (str(properties[name]) for name in _MEMBERS)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(f"the AppSpec is not JSON with one function and its {', '.join(_MEMBERS)}") from error
    if document.get("Hooks"):
        raise _invalid("the local CodeDeploy runs no hooks")
    return Target(function=function, alias=alias, current=current, target=target)


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidRevisionException", f"The revision cannot be deployed: {message}.")
