"""What is published about a queue, and when."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.aws.minutely import until_next
from localcloud.aws.queue_metrics import measured

NOW = 1_000_000.0


def message(age: float, *, hidden: float = 0.0, receives: int = 0, **members: Any) -> dict[str, Any]:
    return {"sent_at": NOW - age, "visible_at": NOW + hidden, "receive_count": receives, **members}


def values(*messages: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, (value, _) in measured(messages, NOW, retention=100.0).items()}


def test_messages_are_counted_by_who_may_see_them() -> None:
    found = values(message(10), message(20), message(30, hidden=5, receives=1), message(5, hidden=5))
    assert found == {
        "ApproximateNumberOfMessagesVisible": 2,
        "ApproximateNumberOfMessagesNotVisible": 1,
        "ApproximateNumberOfMessagesDelayed": 1,
        "ApproximateAgeOfOldestMessage": 30,
    }


def test_an_empty_queue_is_zeros() -> None:
    assert set(values().values()) == {0}


def test_what_was_kept_for_its_time_is_gone() -> None:
    found = values(message(100), message(99))
    assert found["ApproximateNumberOfMessagesVisible"] == 1
    assert found["ApproximateAgeOfOldestMessage"] == 99


def test_in_a_dead_letter_queue_of_first_in_first_out_the_age_begins_anew() -> None:
    assert values(message(90, enqueued_at=NOW - 7))["ApproximateAgeOfOldestMessage"] == 7


@pytest.mark.parametrize("every", [60.0, 1.0])
@pytest.mark.parametrize("now", [0.0, 0.3, 53.9, 54.0, 59.999, 1_000_017.3])
def test_each_minute_is_measured_once_before_it_ends(every: float, now: float) -> None:
    first = now + until_next(now, every)
    assert now < first <= now + every
    assert first / every % 1 == pytest.approx(0.9, abs=1e-3)
    assert until_next(first + every * 1e-6, every) == pytest.approx(every, rel=1e-3)
