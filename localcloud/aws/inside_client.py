"""Calls of a JSON service as a boto3 client makes them, without one: making it costs as much as the calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from botocore.exceptions import ClientError

from localcloud.aws import inside
from localcloud.context import Cloud, Credentials

_TARGETS = {"ecr": "AmazonEC2ContainerRegistry_V20150921"}


class InsideClient:
    """Takes the place of `cloud.client(service, credentials)` where that is asked a few times only.

    Answers are as JSON has them: times stay numbers, and nothing is tried again.

    Args:
        cloud: which is asked.
        credentials: of a session that this process has made.
        service: `ecr`.

    Example:
        >>> InsideClient(cloud, session(), "ecr").batch_get_image(repositoryName="r", imageIds=[...])
    """

    def __init__(self, cloud: Cloud, credentials: Credentials, service: str) -> None:
        self._cloud, self._credentials, self._service = cloud, credentials, service

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        return partial(self._call, method)

    def _call(self, method: str, /, **members: Any) -> dict[str, Any]:
        operation = "".join(word.capitalize() for word in method.split("_"))
        request = inside.Request(
            method="POST",
            service=self._service,
            headers={
                "content-type": "application/x-amz-json-1.1",
                "x-amz-target": f"{_TARGETS[self._service]}.{operation}",
            },
            body=json.dumps(members).encode(),
        )
        answers = inside.ask(self._cloud, self._credentials, [request])
        if answers is None:
            client = self._cloud.client(self._service, self._credentials)
            return cast(dict[str, Any], getattr(client, method)(**members))
        content: dict[str, Any] = json.loads(answers[0].body or b"{}")
        if answers[0].status >= 300:
            raise _refusal(answers[0].status, content, operation)
        return content


def _refusal(status: int, content: dict[str, Any], operation: str) -> ClientError:
    code = str(content.get("__type", "")).rpartition("#")[2]
    message = str(content.get("message") or content.get("Message", ""))
    error = {"Code": code, "Message": message}
    return ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
