"""Events of AWS services on the default bus of EventBridge."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.context import Cloud

_log = logging.getLogger(__name__)


def emit(
    cloud: Cloud, source: str, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]
) -> None:
    """Put one event of an AWS service on the default bus; rules of any stack match it unmodified.

    Args:
        source: for example `aws.sagemaker`, which customers cannot send through PutEvents.
        detail: of the shape that the service documents.
        resources: ARNs.
    """
    from ministack.core.responses import request_scope
    from ministack.services import eventbridge

    entry = {
        "Source": source,
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
        "EventBusName": "default",
        "Resources": list(resources),
    }
    with request_scope(cloud.account, cloud.region):
        _status, _headers, body = eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    answer = json.loads(body)
    if answer.get("FailedEntryCount") != 0:
        _log.error("EventBridge refused %s of %s: %s", detail_type, source, answer)
