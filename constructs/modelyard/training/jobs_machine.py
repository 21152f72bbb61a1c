"""The state machine of an attempt.

    Begin -> WaitForSlots -> Admit -> Launch -> Train -> Watch -> Stop -> Finish -> Over

Each state that does something is one call of the function `modelyard.training.runtime.handler`, whose answer
is the attempt as it is then, with what comes next and after how many seconds. Whatever goes wrong leads to
`Stop`, which ends the hosts, and from there to `Finish`, which gives back the slots; what goes wrong there is
put right by the sweeps. See https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
"""

from __future__ import annotations

from typing import Any

State = dict[str, Any]

# Under which the function's ARN is put in.
FUNCTION = "${Attempts}"

# Functions and tables that do not answer for two minutes are for the sweeps to deal with.
_RETRY = [
    {
        "ErrorEquals": ["States.ALL"],
        "IntervalSeconds": 2,
        "BackoffRate": 2,
        "MaxAttempts": 6,
        "MaxDelaySeconds": 30,
        "JitterStrategy": "FULL",
    }
]


def definition() -> State:
    """As Amazon States Language, with `FUNCTION` where the function's ARN goes."""
    return {
        "Comment": "One attempt to train a job: slots, hosts, watching, and what follows",
        "StartAt": "Begin",
        "States": {
            # An execution may go on with what another began.
            "Begin": _choice({"watch": "Train", "stop": "Stop", "register": "Register"}, "WaitForSlots"),
            "WaitForSlots": _wait("Admit"),
            "Admit": _call("admit", "Admitted"),
            "Admitted": _choice({"launch": "Launch", "admit": "WaitForSlots", "over": "Over"}, "Stop"),
            "Launch": _call("launch", "Launched"),
            "Launched": _choice({"watch": "Train"}, "Stop"),
            "Train": _wait("Watch"),
            "Watch": _call("watch", "Watched"),
            "Watched": _choice({"watch": "Train", "over": "Over"}, "Stop"),
            "Stop": _call("stop", "Stopped", caught="NotStopped"),
            "Stopped": _choice({"finish": "Finish", "over": "Over"}, "HostsEnd"),
            "HostsEnd": _wait("Stop"),
            "Finish": _call("finish", "Finished", caught="NotFinished"),
            "Finished": _choice({"register": "Register"}, "Over"),
            "Register": _call("register", "Over", caught="NotRegistered"),
            "Over": {"Type": "Succeed"},
            "NotStopped": _broken("The hosts may still run; a sweep stops them."),
            "NotFinished": _broken("The slots may still be held; a sweep gives them back."),
            "NotRegistered": _broken(
                "The job is completed, its models are not in the registry: start an execution with this "
                'input, under another name, and "next": "register".'
            ),
        },
    }


def _call(step: str, then: str, *, caught: str = "Stop") -> State:
    return {
        "Type": "Task",
        "Resource": FUNCTION,
        "Parameters": {"step": step, "at.$": "$"},
        "Retry": _RETRY,
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": caught}],
        "Next": then,
    }


def _wait(then: str) -> State:
    return {"Type": "Wait", "SecondsPath": "$.wait", "Next": then}


def _choice(by_next: dict[str, str], otherwise: str) -> State:
    return {
        "Type": "Choice",
        "Choices": [
            {"Variable": "$.next", "StringEquals": value, "Next": state} for value, state in by_next.items()
        ],
        "Default": otherwise,
    }


def _broken(words: str) -> State:
    return {"Type": "Fail", "Error": "Broken", "Cause": words}
