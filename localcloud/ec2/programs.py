"""The other programs of a host: `shutdown`, `systemctl`, `dnf`."""

from __future__ import annotations

import threading
from collections.abc import Callable

from localcloud.ec2.desk import Say

_UNITS = ("ecs", "docker", "amazon-ssm-agent")


class Shutdown:
    """`shutdown`: one at most is planned, a later call takes the place of an earlier one.

    Args:
        end: shuts the host down.

    https://www.freedesktop.org/software/systemd/man/latest/shutdown.html
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._planned: threading.Timer | None = None

    def run(self, arguments: list[str], say: Say) -> int:
        """One call; its exit code."""
        words = [word for word in arguments if not word.startswith("-")]
        if "-c" in arguments:
            self.cancel()
            return 0
        when = words[0] if words else "+1"
        minutes = "0" if when == "now" else when.removeprefix("+")
        if not minutes.isdecimal():
            say(err=f"Failed to parse time specification: {when}; give now or +MINUTES\n")
            return 1
        with self._lock:
            self._drop()
            self._planned = threading.Timer(int(minutes) * 60, self._end)
            self._planned.daemon = True
            self._planned.start()
        say(err=f"Shutdown scheduled in {minutes} minutes, use 'shutdown -c' to cancel.\n")
        return 0

    def cancel(self) -> None:
        """Nothing is planned any more."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None


def systemctl(arguments: list[str], say: Say) -> int:
    """Takes orders for the units of ECS's image, which are no processes here."""
    words = [word for word in arguments if not word.startswith("-")]
    for unit in words[1:]:
        if unit.removesuffix(".service") not in _UNITS:
            say(err=f"Unit {unit.removesuffix('.service')}.service could not be found.\n")
            return 5
    return 0


def dnf(arguments: list[str], say: Say) -> int:
    """Installs nothing: a host's programs are this machine's."""
    words = [word for word in arguments if not word.startswith("-")]
    say(err=f"Unable to find a match: {' '.join(words[1:])} (hosts of the local cloud install nothing)\n")
    return 1
