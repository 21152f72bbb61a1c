"""Repeats what IAM denies for a while: a permission written moments ago is not known everywhere yet.

The template writes the function's policy right before the event that needs it.
https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
"""

import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import ClientError

from modelyard.runtime.log import log

from .errors import PipelineError

Result = TypeVar("Result")
_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})  # S3's word, SageMaker's word
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 8.0


def patiently(
    action: Callable[[], Result],
    *,
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """The action's result; the action must be one that may be repeated from its start.

    Raises whatever it raises, a denial only when it would be repeated later than `seconds` from now.
    """
    deadline = clock() + seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            return action()
        except (PipelineError, ClientError) as error:
            if not _is_denied(error) or clock() + pause > deadline:
                raise
            log("denied, and repeated in case the permission is on its way", pause=pause, error=str(error))
        sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _is_denied(error: BaseException) -> bool:
    cause = error if isinstance(error, ClientError) else error.__cause__
    return isinstance(cause, ClientError) and cause.response["Error"]["Code"] in _DENIED
