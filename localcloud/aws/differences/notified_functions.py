"""S3 and SNS invoke only functions whose own policy lets them.

MiniStack asks so much of queues and topics alone.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html
https://docs.aws.amazon.com/sns/latest/dg/lambda-console.html
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.aws.differences.event_targets import policy_allows

_log = logging.getLogger(__name__)


def apply() -> None:
    """Wrap both deliveries, and the check of a bucket's notifications."""
    from ministack.services import s3, sns

    validate, deliver, deliver_message = (
        s3._validate_notification_configs,
        s3._deliver_event_to_lambda,
        sns._deliver_to_lambda,
    )

    def validate_notifications(
        configurations: Sequence[Mapping[str, Any]], region: str, bucket: str = "", skip: bool = False
    ) -> Any:
        fault = validate(configurations, region, bucket, skip)
        refused = [
            each["arn"]
            for each in configurations
            if each["type"] == "lambda" and not _may(each["arn"], f"arn:aws:s3:::{bucket}", "s3")
        ]
        if fault is not None or skip or not refused:
            return fault
        return s3._invalid_notification_config(
            f"Unable to validate the following destination configurations: {', '.join(refused)}"
        )

    def deliver_event(arn: str, event: Mapping[str, Any], region: str) -> None:
        if _may(arn, event["Records"][0]["s3"]["bucket"]["arn"], "s3"):
            deliver(arn, event, region)

    def deliver_to_function(arn: str, envelope: str, topic: str, *more: Any) -> None:
        if _may(arn, topic, "sns"):
            deliver_message(arn, envelope, topic, *more)

    s3._validate_notification_configs, s3._deliver_event_to_lambda = validate_notifications, deliver_event
    sns._deliver_to_lambda = deliver_to_function


def _may(function: str, source: str, service: str) -> bool:
    allowed = policy_allows(function, source, f"{service}.amazonaws.com")
    if not allowed:
        _log.warning("the policy of %s does not let %s invoke it", function, source)
    return allowed
