"""Waiting for the rendezvous: it has no standby, and its service may take minutes to start another one."""

from __future__ import annotations

import socket
import time

from training.common.failure import say

ASK_SECONDS = 5.0  # for an answer: an address that is no longer anybody's gives none
PAUSE_SECONDS = 1.0
SAY_SECONDS = 60.0


class AbsentError(Exception):
    """Nobody listened in time."""


def await_rendezvous(endpoint: str, seconds: float) -> None:
    """Return once somebody listens there. Until then its name may be missing, or be that of one that is gone.

    Args:
        endpoint: host:port.
        seconds: to wait at most; it is asked once in any case.

    Raises:
        AbsentError: with the last reason.

    Example:
        >>> await_rendezvous("127.0.0.1:1", seconds=0)
        Traceback (most recent call last):
        training.vision.elastic.meeting.AbsentError: [Errno 111] Connection refused
    """
    host, _, port = endpoint.rpartition(":")
    began = told = time.monotonic()
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=ASK_SECONDS).close()
        except OSError as error:
            reason, now = str(error), time.monotonic()
        else:
            if told > began:
                say(f"the rendezvous {endpoint} is there, after {time.monotonic() - began:.0f} s")
            return
        left = began + seconds - now
        if left <= 0:
            raise AbsentError(reason)
        if told == began or now - told >= SAY_SECONDS:
            say(f"waits for the rendezvous {endpoint}, for {left:.0f} s at most: {reason}")
            told = now
        time.sleep(min(PAUSE_SECONDS, left))
