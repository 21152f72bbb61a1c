"""What messages say, in both forms, and that none can make the worker fall over."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.preprocessing.preprocessing_world import SOURCE, event
from training.preprocessing.events import Change, PoisonError, changes_in, order_of

sequencers = st.text("0123456789abcdefABCDEF", min_size=1, max_size=20)
values = st.one_of(
    st.sampled_from([None, True, -1, 10**400, float("inf"), "", "\ud800", "a\nb", [], [[]], {}, {"key": {}}]),
    st.text(max_size=9),
)


@settings(max_examples=60, deadline=None)
@given(sequencers, sequencers)
@example("F", "0F")
@example("1", "10")
def test_sequencers_compare_as_s3_says(one: str, other: str) -> None:
    """The shorter is filled with zeros on the right; then they compare as numbers do."""
    length = max(len(one), len(other))
    expected = int(one.ljust(length, "0"), 16) < int(other.ljust(length, "0"), 16)
    assert (order_of(one) < order_of(other)) == expected


@pytest.mark.parametrize("sequencer", ["", "0x1", "g", "1" * 65, "1\n"])
def test_a_sequencer_that_is_none(sequencer: str) -> None:
    with pytest.raises(PoisonError, match="hexadecimal"):
        order_of(sequencer)


@pytest.mark.parametrize("bridged", [True, False])
@pytest.mark.parametrize("name", ["a/1.png", "a b/ü +%2B.JPG", "a/&=?.jpeg", "x.jpg", "a/b/c.png"])
def test_both_forms_say_the_same(name: str, bridged: bool) -> None:
    body = event("Created:Put", SOURCE.key(name), "1F", version="v 1", size=7, bridged=bridged)
    assert changes_in(body, SOURCE) == [Change(name=name, order=order_of("1F"), version="v 1", size=7)]
    body = event("Removed:Delete", SOURCE.key(name), "20", version="v2", bridged=bridged)
    assert changes_in(body, SOURCE) == [Change(name=name, order=order_of("20"))]


def test_what_expires_is_deleted() -> None:
    body = event("Removed:Delete", SOURCE.key("a/1.png"), "2", bridged=False)
    expired = body.replace("ObjectRemoved:Delete", "LifecycleExpiration:DeleteMarkerCreated")
    assert changes_in(expired, SOURCE) == [Change(name="a/1.png", order=order_of("2"))]


@pytest.mark.parametrize("name", ["a/notes.txt", "a/", "", "a/.hidden.png", ".cache/1.png", "a/png"])
def test_what_is_no_image_is_passed_over(name: str) -> None:
    assert changes_in(event("Created:Put", SOURCE.key(name), "1"), SOURCE) == []


def test_a_notification_of_several_objects() -> None:
    one, two = (
        json.loads(event("Created:Put", SOURCE.key(f"a/{number}.png"), "1", bridged=False))["Records"][0]
        for number in (1, 2)
    )
    names = [change.name for change in changes_in(json.dumps({"Records": [one, two]}), SOURCE)]
    assert names == ["a/1.png", "a/2.png"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("not JSON", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not an event of S3"),
        ("{}", "is not an event of S3: KeyError 'Records'"),
        ('{"Records": [{"eventSource": "aws:sns"}]}', "an event of 'aws:sns'"),
        (event("Created:Put", "dogs/a/1.png", "1", bucket="other"), "'s3://other/dogs/a/1.png', not below"),
        (event("Created:Put", "cats/a/1.png", "1"), "not below 's3://uploads/dogs/': correct the rule"),
        (event("Created:Put", "dogs/a/\ud800.png", "1"), "UnicodeEncodeError"),
        (event("Created:Put", f"dogs/a/{'x' * 1020}.png", "1"), "more than 1024 bytes"),
        (event("Created:Put", "dogs/a/1.png", "?"), "not a hexadecimal number"),
        (event("Tagging:Put", "dogs/a/1.png", "1", bridged=False), "'ObjectTagging:Put', which is neither"),
    ],
)
def test_poison_has_a_reason(body: str, words: str) -> None:
    with pytest.raises(PoisonError) as caught:
        changes_in(body, SOURCE)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_message_breaks_the_worker(data: st.DataObject) -> None:
    """Any member of an event may be anything."""
    document = json.loads(event("Created:Put", SOURCE.key("a/1.png"), "1", bridged=data.draw(st.booleans())))
    where = document
    while True:
        member = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
        inside = where[member]
        if not isinstance(inside, dict | list) or data.draw(st.booleans()):
            where[member] = data.draw(values)
            break
        where = inside
    with suppress(PoisonError):
        for change in changes_in(json.dumps(document), SOURCE):
            assert len(change.order) == 64
            assert change.name.encode()
