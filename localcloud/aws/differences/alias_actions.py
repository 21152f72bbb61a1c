"""Aliases and provisioned concurrency have actions of their own, and that is of an alias or version.

To MiniStack, reading, changing and deleting an alias is listing them all, and provisioned concurrency is the
function's code.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_ALIAS = re.compile(r"/functions/[^/]+/aliases/[^/]+/?$")
_PROVISIONED = re.compile(r"/functions/[^/]+/provisioned-concurrency/?$")
_COLONS = 6  # in the ARN of a function without qualifier
_ACTIONS = (
    (_ALIAS, {"GET": "GetAlias", "PUT": "UpdateAlias", "DELETE": "DeleteAlias"}),
    (
        _PROVISIONED,
        {
            "GET": "GetProvisionedConcurrencyConfig",
            "PUT": "PutProvisionedConcurrencyConfig",
            "DELETE": "DeleteProvisionedConcurrencyConfig",
        },
    ),
)


def apply() -> None:
    """Wrap the mapping of Lambda's requests to actions and resources."""
    from ministack.core import iam_actions

    action_of, resource_of = iam_actions._lambda_action, iam_actions.extract_resource_arn

    def lambda_action(method: str, path: str) -> str | None:
        for form, actions in _ACTIONS:
            if form.search(path):
                return actions.get(method)
        known: str | None = action_of(method, path)
        return known

    def extract_resource_arn(
        service: str, method: str, path: str, headers: Any, body: bytes, query: Mapping[str, Any], *more: Any
    ) -> str:
        arn = str(resource_of(service, method, path, headers, body, query, *more))
        if service == "lambda" and _PROVISIONED.search(path) and arn.count(":") == _COLONS:
            qualifier = query.get("Qualifier")
            return f"{arn}:{qualifier[0] if isinstance(qualifier, list) else qualifier}" if qualifier else arn
        return arn

    iam_actions._lambda_action = lambda_action
    iam_actions.extract_resource_arn = extract_resource_arn
