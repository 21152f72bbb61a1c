"""What looks around in the background."""

from __future__ import annotations

import threading
import time

from localcloud.ticking import Ticking


class Clock(Ticking):
    """Ticks without a pause, each tick as long as it is held."""

    def __init__(self) -> None:
        super().__init__("clock")
        self.begun, self.held, self.ended = threading.Semaphore(0), threading.Event(), 0

    def pause(self) -> float:
        return 0.0

    def tick(self) -> None:
        self.begun.release()
        assert self.held.wait(30)
        self.ended += 1


def test_it_ticks_again_and_again_until_it_is_closed() -> None:
    clock = Clock()
    clock.held.set()
    clock.start()
    assert all(clock.begun.acquire(timeout=30) for _ in range(3))
    clock.close()
    assert clock.ended >= 3
    assert "clock" not in {thread.name for thread in threading.enumerate()}


def test_closing_waits_for_a_tick_that_runs() -> None:
    clock = Clock()
    clock.start()
    assert clock.begun.acquire(timeout=30)

    def let_go() -> None:
        # Not before it is closed: another tick would begin.
        assert clock._closed.wait(30)
        time.sleep(0.05)
        clock.held.set()

    threading.Thread(target=let_go).start()
    clock.close()
    assert clock.ended == 1


def test_what_never_started_closes() -> None:
    clock = Clock()
    clock.close()
    assert clock.ended == 0
