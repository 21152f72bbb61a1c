"""What starts a host for a job, watches it, and ends it in time: a state machine, outside of the host."""

from __future__ import annotations

import math
from typing import Any

# An execution ends at 25,000 events, and a look takes sixteen.
_MOST_POLLS = 1200
# A host that boots, and a job that waits for it.
_SEND_SECONDS, _SEND_MOST_SECONDS = 20, 900
_DELIVERY_SECONDS = 900
# A gap in the service's answers is no reason to leave a host running.
_PATIENT = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 5, "MaxAttempts": 8, "BackoffRate": 2.0}
_GIVE_UP = {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "End"}
_UNKNOWN = ["Ssm.InvalidInstanceIdException", "Ssm.InvalidInstanceId"]
_GOES_ON = ("Pending", "InProgress", "Delayed")
# A line without anything, in base64: a parameter of the command is never empty.
_NO_VARIABLES = "Cg=="
# Of the command on a host that Spot takes back: as of a trainer that SIGTERM ended, with a checkpoint.
INTERRUPTED = 143
# Likewise, where the rendezvous is gone: the trainer's own code, which on the cluster counts as no failure of
# the program either (`runtime.aws_hosts.NO_RENDEZVOUS`). Windows, where people synthesize too, has no
# `os.EX_TEMPFAIL`.
_NO_RENDEZVOUS = 75


def definition(
    *,
    template_id: str,
    template_version: str,
    document_name: str,
    limit_minutes: int,
    watch_seconds: int = 30,
) -> dict[str, Any]:
    """Amazon States Language.

    Input: `{"job", "attempt", "dataset", "checkpoints", "output", "hyperparameters": {...}}`, and `variables`
    where the trainer is to be told more: lines NAME=VALUE, in base64. However it goes on from the start of
    the host, it comes to the step that ends it.

    Args:
        template_id, template_version: Of the host.
        document_name: Of the command.
        limit_minutes: After which the host is ended, whatever the job does.
        watch_seconds: Between two looks at the job, at least.

    See https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
    """
    poll = max(watch_seconds, math.ceil(limit_minutes * 60 / _MOST_POLLS))
    send = min(_SEND_SECONDS, watch_seconds)
    return {
        "Comment": "One training job on one host",
        "StartAt": "Usual",
        "States": {
            "Usual": _pass({"variables": _NO_VARIABLES}, "$.usual", "Given"),
            "Given": {
                "Type": "Pass",
                "Parameters": {"given.$": "States.JsonMerge($.usual, $, false)"},
                "OutputPath": "$.given",
                "Next": "Begin",
            },
            "Begin": _pass({"polls": 0, "status": "NotSent", "code": -1}, "$.watch", "Start"),
            "Start": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:ec2:runInstances",
                "Parameters": {
                    # Of the execution: a step that is tried again starts no second host.
                    "ClientToken.$": "States.Hash($$.Execution.Id, 'SHA-256')",
                    "LaunchTemplate": {"LaunchTemplateId": template_id, "Version": template_version},
                    "MinCount": 1,
                    "MaxCount": 1,
                },
                "ResultSelector": {"id.$": "$.Instances[0].InstanceId"},
                "ResultPath": "$.host",
                # No capacity, mostly.
                "Retry": [
                    {
                        "ErrorEquals": ["States.TaskFailed"],
                        "IntervalSeconds": 60,
                        "MaxAttempts": 5,
                        "BackoffRate": 2.0,
                    }
                ],
                "Next": "Send",
            },
            "Send": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:ssm:sendCommand",
                "Parameters": {
                    "DocumentName": document_name,
                    "InstanceIds.$": "States.Array($.host.id)",
                    "TimeoutSeconds": _DELIVERY_SECONDS,
                    "Parameters": {
                        "Job.$": "States.Array($.job)",
                        "Attempt.$": "States.Array(States.Format('{}', $.attempt))",
                        "Dataset.$": "States.Array($.dataset)",
                        "Checkpoints.$": "States.Array($.checkpoints)",
                        "Output.$": "States.Array($.output)",
                        "Hyperparameters.$": (
                            "States.Array(States.Base64Encode(States.JsonToString($.hyperparameters)))"
                        ),
                        "Variables.$": "States.Array($.variables)",
                    },
                },
                "ResultSelector": {"id.$": "$.Command.CommandId"},
                "ResultPath": "$.command",
                # Until SSM knows the host.
                "Retry": [
                    {
                        "ErrorEquals": _UNKNOWN,
                        "IntervalSeconds": send,
                        "MaxAttempts": _SEND_MOST_SECONDS // send,
                        "BackoffRate": 1.0,
                    },
                    # A gap, or for good, such as a right that is missing: the host is paid meanwhile.
                    {**_PATIENT, "MaxAttempts": 3},
                ],
                "Catch": [
                    {**_GIVE_UP, "ErrorEquals": _UNKNOWN},
                    {**_GIVE_UP, "ResultPath": "$.refusal"},
                ],
                "Next": "Pause",
            },
            "Pause": {"Type": "Wait", "Seconds": poll, "Next": "Look"},
            "Look": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:ssm:getCommandInvocation",
                "Parameters": {"CommandId.$": "$.command.id", "InstanceId.$": "$.host.id"},
                "ResultSelector": {"status.$": "$.Status", "code.$": "$.ResponseCode"},
                "ResultPath": "$.look",
                "Retry": [_PATIENT],
                "Catch": [_GIVE_UP],
                "Next": "LookAtHost",
            },
            # An interrupted host says nothing to SSM any more: its command would be in progress for ever.
            "LookAtHost": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:ec2:describeInstances",
                "Parameters": {"InstanceIds.$": "States.Array($.host.id)"},
                "ResultSelector": {"state.$": "$.Reservations[0].Instances[0].State.Name"},
                "ResultPath": "$.alive",
                "Retry": [_PATIENT],
                "Catch": [_GIVE_UP],
                "Next": "Count",
            },
            "Count": {
                "Type": "Pass",
                "Parameters": {
                    "polls.$": "States.MathAdd($.watch.polls, 1)",
                    "status.$": "$.look.status",
                    "code.$": "$.look.code",
                },
                "ResultPath": "$.watch",
                "Next": "GoesOn",
            },
            "GoesOn": {
                "Type": "Choice",
                "Choices": [
                    {
                        "And": [
                            {"Or": [{"Variable": "$.watch.status", "StringEquals": one} for one in _GOES_ON]},
                            {
                                "Or": [
                                    {"Variable": "$.alive.state", "StringEquals": one}
                                    for one in ("pending", "running")
                                ]
                            },
                            {
                                "Variable": "$.watch.polls",
                                "NumericLessThan": limit_minutes * 60 // poll,
                            },
                        ],
                        "Next": "Pause",
                    }
                ],
                "Default": "End",
            },
            "End": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:ec2:terminateInstances",
                "Parameters": {"InstanceIds.$": "States.Array($.host.id)"},
                "ResultPath": None,
                "Retry": [_PATIENT],
                "Next": "Verdict",
            },
            "Verdict": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.watch.status", "StringEquals": "Success", "Next": "Completed"},
                    # The command is told of before the host is gone.
                    {
                        "Or": [
                            {"Variable": "$.watch.code", "NumericEquals": one}
                            for one in (INTERRUPTED, _NO_RENDEZVOUS)
                        ],
                        "Next": "Lost",
                    },
                    # By itself. One that was never delivered may have failed too, without a code.
                    # https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
                    {
                        "And": [
                            {"Variable": "$.watch.status", "StringEquals": "Failed"},
                            {"Variable": "$.watch.code", "NumericGreaterThan": 0},
                        ],
                        "Next": "Failed",
                    },
                    {"Variable": "$.refusal", "IsPresent": True, "Next": "Refused"},
                    {"Variable": "$.error", "IsPresent": True, "Next": "Unheard"},
                ],
                # Under way yet, not delivered, out of time, cancelled.
                "Default": "Lost",
            },
            "Completed": {"Type": "Succeed"},
            # The next host would fare no better: it counts as a failure of the program.
            "Refused": _told("CommandRefused", "$.refusal"),
            "Unheard": _told("HostEnded", "$.error"),
            "Lost": _fail(
                "HostEnded",
                "The host did not come or was interrupted, or its time was up; started again, the job goes "
                "on from its checkpoint",
            ),
            "Failed": _fail("JobFailed", "The command ended with an error; its log says why"),
        },
    }


def _pass(result: dict[str, Any], path: str, following: str) -> dict[str, Any]:
    return {"Type": "Pass", "Result": result, "ResultPath": path, "Next": following}


def _told(error: str, path: str) -> dict[str, Any]:
    return {"Type": "Fail", "Error": error, "CausePath": f"{path}.Cause"}


def _fail(error: str, cause: str) -> dict[str, Any]:
    return {"Type": "Fail", "Error": error, "Cause": cause}
