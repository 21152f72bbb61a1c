"""The store keeps what was written, all of it or nothing, and tells everybody in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.sagemaker.store import AlreadyExists, NotFound, Store

NAMES = st.sampled_from(["a", "b", "a/1", "a/2", "b/1", "é"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["create", "update", "delete", "fail"]), NAMES, st.integers(0, 9)), max_size=30
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "sagemaker.db")
    yield made
    made.close()


def apply(store: Store, expected: dict[str, dict[str, Any]], step: tuple[str, str, int]) -> None:
    """One step on the store and on a plain dictionary."""
    what, name, value = step
    if what == "create":
        if name in expected:
            with pytest.raises(AlreadyExists):
                store.create("k", name, {"name": name, "value": value})
        else:
            store.create("k", name, {"name": name, "value": value})
            expected[name] = {"name": name, "value": value}
    elif what == "delete":
        if name in expected:
            store.delete("k", name)
            del expected[name]
        else:
            with pytest.raises(NotFound):
                store.delete("k", name)
    elif name in expected:
        if what == "update":
            expected[name] = {"name": name, "value": value}
            assert store.update("k", name, lambda record: record.update(value=value)) == expected[name]
        else:
            with pytest.raises(ZeroDivisionError):
                store.update("k", name, lambda record: record.update(value=value, broken=1 / 0))


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_behaves_like_a_dictionary_and_tells_every_change_in_order(steps: list[tuple[str, str, int]]) -> None:
    store = Store(Path(":memory:"))
    heard: dict[str, dict[str, Any]] = {}
    continued: list[bool] = []

    def listen(_kind: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        name = (new or old or {})["name"]
        continued.append(heard.get(name) == old)
        if new is None:
            del heard[name]
        else:
            heard[name] = new

    store.subscribe(listen)
    expected: dict[str, dict[str, Any]] = {}
    for step in steps:
        apply(store, expected, step)
    assert store.query("k") == list(expected.values())
    for name in ("a", "b"):
        prefixed = [record for key, record in expected.items() if key.startswith(f"{name}/")]
        assert store.query("k", prefix=f"{name}/") == prefixed
    store.close()
    assert all(continued)
    assert heard == expected


@settings(max_examples=10, deadline=None)
@given(workers=st.integers(2, 6), rounds=st.integers(1, 15))
def test_no_update_is_lost_and_subscribers_hear_commits_in_order(workers: int, rounds: int) -> None:
    store = Store(Path(":memory:"))
    heard: list[tuple[int, int]] = []
    store.create("k", "n", {"count": 0})
    store.subscribe(lambda _kind, old, new: heard.append(((old or {})["count"], (new or {})["count"])))

    def work() -> None:
        for _ in range(rounds):
            store.update("k", "n", lambda record: record.update(count=record["count"] + 1))

    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(work) for _ in range(workers)]:
            future.result()
    total = workers * rounds
    assert store.get("k", "n")["count"] == total
    store.close()
    assert heard == [(count, count + 1) for count in range(total)]


def test_transaction_is_all_or_nothing(store: Store) -> None:
    heard: list[Any] = []
    store.subscribe(lambda *change: heard.append(change))
    store.create("k", "old", {"value": 1})

    def break_off() -> None:
        with store.transaction():
            store.create("k", "new", {})
            store.update("k", "old", lambda record: record.update(value=2))
            with store.transaction():
                store.delete("k", "old")
            raise RuntimeError("off")

    with pytest.raises(RuntimeError, match="off"):
        break_off()
    assert store.query("k") == [{"value": 1}]
    store.close()
    assert heard == [("k", None, {"value": 1})]


def test_state_survives_a_restart(tmp_path: Path) -> None:
    first = Store(tmp_path / "s.db")
    first.create("k", "n", {"value": 1.5})
    first.close()
    second = Store(tmp_path / "s.db")
    assert second.get("k", "n") == {"value": 1.5}
    second.close()


def test_documents_are_copies(store: Store) -> None:
    store.create("k", "n", {"list": [1]})
    store.get("k", "n")["list"].append(2)
    store.query("k")[0]["list"].append(2)
    assert store.get("k", "n") == {"list": [1]}


def test_wait_sees_another_threads_write(store: Store) -> None:
    store.create("k", "n", {"status": "InProgress"})
    timer = threading.Timer(0.05, lambda: store.update("k", "n", lambda r: r.update(status="Completed")))
    timer.start()
    assert store.wait("k", "n", lambda record: record["status"] == "Completed", 60)["status"] == "Completed"
    timer.join()


def test_wait_ends_when_the_document_goes_or_time_is_up(store: Store) -> None:
    store.create("k", "n", {})
    with pytest.raises(TimeoutError, match=r"k n did not get there in 0\.01 s"):
        store.wait("k", "n", lambda _record: False, 0.01)
    timer = threading.Timer(0.05, lambda: store.delete("k", "n"))
    timer.start()
    with pytest.raises(NotFound):
        store.wait("k", "n", lambda _record: False, 60)
    timer.join()


def test_wait_inside_a_transaction_is_refused(store: Store) -> None:
    store.create("k", "n", {})
    with store.transaction(), pytest.raises(RuntimeError, match="never see"):
        store.wait("k", "n", lambda _record: True)


def test_a_failing_subscriber_keeps_nothing_from_the_others(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def fail(*_change: object) -> None:
        raise ValueError("broken subscriber")

    store.subscribe(fail)
    store.subscribe(lambda kind, _old, _new: heard.append(kind))
    store.create("k", "n", {})
    store.close()
    assert heard == ["k"]
    assert "broken subscriber" in caplog.text


def test_subscribers_may_write(store: Store) -> None:
    done = threading.Event()

    def follow(kind: str, _old: object, _new: object) -> None:
        if kind == "first":
            store.create("second", "n", {})
        else:
            done.set()

    store.subscribe(follow)
    store.create("first", "n", {})
    assert done.wait(60)


def test_names_that_differ_in_case_only_are_alike(store):
    store.create("model", "MyModel", {"ModelName": "MyModel"})
    assert store.find_alike("model", "mymodel") == {"ModelName": "MyModel"}
    assert store.find_alike("model", "MyModel")
    assert store.find_alike("model", "mymodel-2") is None
    assert store.find_alike("endpoint", "MyModel") is None


def test_whether_a_name_is_taken_is_asked_of_an_index(store):
    """Else each job would cost more than the one before it."""
    seen: list[str] = []
    store._connection.set_trace_callback(seen.append)
    store.find_alike("model", "m")
    store._connection.set_trace_callback(None)
    (plan,) = store._connection.execute(f"EXPLAIN QUERY PLAN {seen[0]}").fetchall()
    assert plan[3] == "SEARCH documents USING INDEX alike (kind=? AND name=?)"
