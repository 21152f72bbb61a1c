"""What is done to a log stream needs a grant on the stream, as of `LogGroup.Arn`, which ends in `:*`.

MiniStack asks for it on the group, in a form that such a grant does not cover, and on everything where the
group is named by its ARN.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html
"""

from __future__ import annotations

import json
from typing import Any

_ACTIONS = frozenset({"CreateLogStream", "DeleteLogStream", "GetLogEvents", "PutLogEvents"})


def apply() -> None:
    """Wrap the mapping of requests to resources."""
    from ministack.core import iam_actions

    resource_of = iam_actions.extract_resource_arn

    def extract_resource_arn(
        service: str, method: str, path: str, headers: Any, body: bytes, query: Any, *where: Any
    ) -> str:
        found = str(resource_of(service, method, path, headers, body, query, *where))
        if service != "logs" or headers.get("x-amz-target", "").rpartition(".")[2] not in _ACTIONS:
            return found
        try:
            asked = json.loads(body)
            group = asked.get("logGroupName") or asked.get("logGroupIdentifier")
            stream = asked.get("logStreamName")
        except (ValueError, AttributeError):
            return found
        if not isinstance(group, str) or not isinstance(stream, str):
            return found  # the service itself refuses it
        region, account = where
        if not group.startswith("arn:"):
            group = f"arn:aws:logs:{region}:{account}:log-group:{group}"
        return f"{group.removesuffix(':*')}:log-stream:{stream}"

    iam_actions.extract_resource_arn = extract_resource_arn
