"""Ends of hosts, through the `ec2` client."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from modelyard.runtime.log import log

from .aws_errors import code, reason

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
_GONE, _FORBIDDEN = "InvalidInstanceID.NotFound", "UnauthorizedOperation"


class Fate(StrEnum):
    """What becomes of an instance that was to end."""

    ENDS = "ends"  # or has ended
    UNKNOWN = "unknown"  # long gone, or so new that EC2 does not know it everywhere yet
    LIVES = "lives"


def terminate(ec2: Any, instance: str) -> Fate:
    """End an instance, as far as one may.

    The right is given by a tag, and an instance that has ended loses its tags: EC2 then denies what no longer
    needs to be done. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/terminating-instances.html
    """
    try:
        ec2.terminate_instances(InstanceIds=[instance])
    except ClientError as error:
        if code(error) not in (_GONE, _FORBIDDEN):
            raise
        fate = Fate.UNKNOWN if code(error) == _GONE else _fate(ec2, instance)
        log("instance not terminated", instance=instance, fate=fate.value, error=reason(error))
        return fate
    return Fate.ENDS


def _fate(ec2: Any, instance: str) -> Fate:
    # Known for an hour. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
    try:
        found = ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    except ClientError as error:
        if code(error) != _GONE:
            raise
        return Fate.UNKNOWN
    states = {one["State"]["Name"] for reservation in found for one in reservation["Instances"]}
    if not states:
        return Fate.UNKNOWN
    return Fate.ENDS if states <= {"shutting-down", "terminated"} else Fate.LIVES
