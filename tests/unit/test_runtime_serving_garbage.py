"""Which artifacts are noted, deleted and left alone."""

from serving_runtime.garbage import parsed, sweep

HOUR = 3600
A, B, C = (f"loans/{version}-{'0' * 11}{version}.tar.gz" for version in (1, 2, 3))


def at(hour, minute=0):
    return f"2026-01-{1 + hour // 24:02}T{hour % 24:02}:{minute:02}:00+00:00"


def notes(present, now, needed=(), unused=None, deleting=None, grace=24 * HOUR):
    swept = sweep(
        needed=frozenset(needed),
        present=frozenset(present),
        unused=unused or {},
        deleting=deleting or {},
        now=now,
        grace_seconds=grace,
    )
    return swept.unused, swept.deleting


def test_what_nobody_needs_is_noted_then_deleted_after_the_grace_period():
    assert notes([A, B], at(0), needed=[B]) == ({A: at(0)}, {})
    assert notes([A, B], at(23, 59), needed=[B], unused={A: at(0)}) == ({A: at(0)}, {})
    assert notes([A, B], at(24), needed=[B], unused={A: at(0)}) == ({}, {A: at(24)})


def test_what_is_needed_again_begins_anew():
    assert notes([A, B], at(10), needed=[A, B], unused={A: at(0)}) == ({}, {})
    assert notes([A, B], at(30), needed=[B]) == ({A: at(30)}, {})


def test_a_name_stays_taken_while_anybody_may_still_delete_it():
    assert notes([A], at(24, 30), deleting={A: at(24)}) == ({}, {A: at(24, 30)})
    assert notes([], at(24, 30), deleting={A: at(24)}) == ({}, {A: at(24)})
    assert notes([], at(24, 59), deleting={A: at(24)}) == ({}, {A: at(24)})
    assert notes([], at(25), deleting={A: at(24)}) == ({}, {})


def test_what_is_gone_is_forgotten():
    assert notes([], at(5), unused={A: at(0)}) == ({}, {})


def test_what_others_put_there_is_left_alone():
    theirs = ["loans/cold.tar.gz", "loans/1-abc.tar.gz", "loans/notes/1-000000000001.tar.gz", "loans/"]
    assert notes([A, *theirs], at(0)) == ({A: at(0)}, {})
    second = f"loans/1-{'a' * 12}-7.tar.gz"
    assert notes([second], at(0)) == ({second: at(0)}, {})


def test_a_record_does_not_grow_without_bound():
    many = [f"loans/{version}-{version:012x}.tar.gz" for version in range(2000)]
    unused, deleting = notes(many, at(0))
    assert (len(unused), len(deleting)) == (500, 0)
    later, gone = notes(many, at(24), unused=unused)
    assert len(later) + len(gone) <= 500
    assert gone


def test_unreadable_moments_count_as_long_ago():
    assert parsed("then") < parsed("1970-01-01T00:00:00")
    assert notes([A], at(0), unused={A: "then"}) == ({}, {A: at(0)})
