"""What IAM is told about a request, where MiniStack leaves out what grants are written in.

A function that is invoked by a version or alias is that version or alias; MiniStack asks about the function.
https://docs.aws.amazon.com/lambda/latest/dg/lambda-api-permissions-ref.html

Metrics are sent to a namespace, which `cloudwatch:namespace` names; MiniStack has no such key, so that a
grant with it grants nothing. Nobody but AWS may send to `AWS/`.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

_INVOCATIONS = "/invocations"


def apply() -> None:
    """Wrap the two functions that gather these facts, and the one that takes metrics."""
    from ministack.core import iam_actions

    resource_of, context_of = iam_actions.extract_resource_arn, iam_actions.request_tag_context

    def extract_resource_arn(
        service: str, method: str, path: str, headers: Any, body: bytes, query: Mapping[str, Any], *more: Any
    ) -> str:
        arn = str(resource_of(service, method, path, headers, body, query, *more))
        qualifier = _first(query.get("Qualifier"))
        if service == "lambda" and path.endswith(_INVOCATIONS) and qualifier and arn.count(":") == 6:
            return f"{arn}:{qualifier}"
        return arn

    def request_tag_context(service: str, action: str, body: bytes, parameters: Mapping[str, Any]) -> Any:
        context = context_of(service, action, body, parameters)
        if action == "cloudwatch:PutMetricData":
            return {**context, "cloudwatch:namespace": _namespace(body, parameters)}
        return context

    iam_actions.extract_resource_arn = extract_resource_arn
    iam_actions.request_tag_context = request_tag_context
    _close_aws_namespaces()


def _close_aws_namespaces() -> None:
    from ministack.services import cloudwatch

    put = cloudwatch._put_metric_data

    def put_metric_data(
        parameters: Any, data: Mapping[str, Any], is_cbor: bool, is_json: bool = False
    ) -> Any:
        namespace = data.get("Namespace") or _first(parameters.get("Namespace")) or ""
        if namespace.startswith("AWS/"):
            text = "The value AWS/ for parameter Namespace is invalid."
            return cloudwatch._error("InvalidParameterValue", text, 400, use_json=is_json, use_cbor=is_cbor)
        return put(parameters, data, is_cbor, is_json)

    cloudwatch._put_metric_data = put_metric_data


def _namespace(body: bytes, parameters: Mapping[str, Any]) -> str:
    """Of a request in JSON or as a form; CloudWatch's third protocol, CBOR, needs more of MiniStack."""
    try:
        data = json.loads(body) if body.startswith(b"{") else {**parse_qs(body.decode()), **parameters}
    except ValueError:
        return ""
    return _first(data.get("Namespace"))


def _first(value: Any) -> str:
    return str(value[0] if isinstance(value, list) else value) if value else ""
