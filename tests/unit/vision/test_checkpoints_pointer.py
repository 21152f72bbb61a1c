"""The pointer under concurrent and stale writers, lost answers and full disks, over both kinds of store."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.vision.checkpoint_support import MemoryS3, Unreliable, entry_of, pointer_in
from training.common.failure import UserError
from training.vision.checkpoints.folder import FolderStore
from training.vision.checkpoints.format import DamagedError
from training.vision.checkpoints.journal import Journal, SupersededError, Survey, newest
from training.vision.checkpoints.pointer import POINTER, Entry, Keep
from training.vision.checkpoints.s3 import S3Store
from training.vision.checkpoints.store import ConflictError, Store, StoreError, open_store

RUNS = st.integers(0, 2)


@dataclass
class Run:
    """A process: its journal, and how far it is with a claim or a checkpoint."""

    name: str
    journal: Journal
    survey: Survey | None = None
    to_sweep: Survey | None = None
    written: Entry | None = None
    to_prune: bool = False


class Writers(RuleBasedStateMachine):
    """Three runs, each step of each at any time; a run that sleeps between two steps is a stale one."""

    def make_store(self) -> Store:
        raise NotImplementedError

    @initialize(last=st.integers(1, 3), every=st.sampled_from([0, 4]))
    def begin(self, last: int, every: int) -> None:
        self.truth = self.make_store()
        self.store = Unreliable(self.truth)
        self.keep = Keep(last=last, every=every)
        self.count = self.step = 0
        self.runs = [self.make_run() for _ in range(3)]
        self.generation = 0
        self.contents: dict[str, bytes] = {}
        self.take_over(0)

    def make_run(self) -> Run:
        self.count += 1
        name = f"run-{self.count}"
        return Run(name, Journal(self.store, name, self.keep))

    @rule(fault=st.sampled_from(["before", "after"]))
    def fail_next(self, fault: str) -> None:
        self.store.faults = [fault]

    @rule(number=RUNS)
    def start_again(self, number: int) -> None:
        self.runs[number] = self.make_run()

    @rule(number=RUNS)
    def look_around(self, number: int) -> None:
        run = self.runs[number]
        try:
            run.survey = run.journal.survey()
        except StoreError:
            run.survey = None

    @rule(number=RUNS)
    def claim(self, number: int) -> None:
        run = self.runs[number]
        if run.survey is None:
            return
        survey, run.survey = run.survey, None
        before = self.truth.read(POINTER)
        try:
            taken = run.journal.take(survey)
        except StoreError:
            return
        if taken:
            assert pointer_in(self.truth).run == run.name
            # A claim is a run's beginning: nothing that it wrote before is named after it.
            run.to_sweep, run.to_prune, run.written = survey, False, None
        else:
            # Sent twice, the second time is refused; the next look around finds out.
            assert self.truth.read(POINTER) == before or pointer_in(self.truth).run == run.name

    @rule(number=RUNS)
    def sweep(self, number: int) -> None:
        run = self.runs[number]
        if run.to_sweep is not None:
            survey, run.to_sweep = run.to_sweep, None
            run.journal.sweep(survey)

    @rule(number=RUNS, top1=st.sampled_from([None, None, 0.5]))
    def write(self, number: int, top1: float | None) -> None:
        """Only a run that holds a claim, or thinks so."""
        run = self.runs[number]
        if not run.journal.pointer.run or run.to_sweep is not None:
            return
        self.step += 1
        entry, data = entry_of(run.name, self.step, top1)
        run.journal._known.add(entry.name)
        try:
            self.store.add(entry.name, data)
        except StoreError:
            return
        self.contents[entry.name] = data
        run.written = entry

    @rule(number=RUNS)
    def name_it(self, number: int) -> None:
        run = self.runs[number]
        if run.written is None:
            return
        entry, run.written, run.to_prune = run.written, None, False
        before = pointer_in(self.truth)
        try:
            run.journal.advance(entry)
        except SupersededError:
            assert before.run != run.name
            assert pointer_in(self.truth) == before
        except StoreError:
            assert before.run == run.name or pointer_in(self.truth) == before
        else:
            assert before.run == run.name
            assert pointer_in(self.truth).kept[-1] == entry
            assert entry.top1 is None or pointer_in(self.truth).best == entry.name
            run.to_prune = True

    @rule(number=RUNS)
    def prune(self, number: int) -> None:
        """What was decided with the write, however long ago that was."""
        run = self.runs[number]
        if run.to_prune:
            run.to_prune = False
            run.journal.prune()

    @rule(number=RUNS)
    def take_over(self, number: int) -> None:
        """A claim without anything between its steps."""
        self.look_around(number)
        self.claim(number)
        self.sweep(number)

    @rule(number=RUNS, top1=st.sampled_from([None, None, 0.5]))
    def checkpoint(self, number: int, top1: float | None) -> None:
        """A checkpoint without anything between its steps."""
        self.write(number, top1)
        self.name_it(number)
        self.prune(number)

    @precondition(lambda self: hasattr(self, "truth"))
    @invariant()
    def what_is_named_is_there(self) -> None:
        pointer = pointer_in(self.truth)
        for entry in pointer.kept:
            found = self.truth.read(entry.name)
            assert found is not None
            assert found.data == self.contents[entry.name]
        assert pointer.best is None or pointer.best in {entry.name for entry in pointer.kept}
        assert [entry.step for entry in pointer.kept] == sorted(entry.step for entry in pointer.kept)

    @precondition(lambda self: hasattr(self, "truth"))
    @invariant()
    def nobody_rolls_back(self) -> None:
        generation = pointer_in(self.truth).generation
        assert generation >= self.generation
        self.generation = generation


class WritersInFolder(Writers):
    def make_store(self) -> Store:
        self.folder = tempfile.TemporaryDirectory()
        return FolderStore(Path(self.folder.name))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


class WritersInS3(Writers):
    def make_store(self) -> Store:
        self.client = MemoryS3()
        return S3Store(self.client, "bucket", "job")

    @rule(fault=st.sampled_from(["busy", "closed before", "closed after", "sent twice"]))
    def s3_fails_next(self, fault: str) -> None:
        self.client.faults = [fault]


STEPS = settings(
    deadline=None, max_examples=20, stateful_step_count=25, suppress_health_check=list(HealthCheck)
)
TestWritersInFolder = WritersInFolder.TestCase
TestWritersInFolder.settings = STEPS
TestWritersInS3 = WritersInS3.TestCase
TestWritersInS3.settings = settings(STEPS, max_examples=60)


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path):
    return FolderStore(tmp_path / "a" / "b") if request.param == "folder" else S3Store(MemoryS3(), "b", "p/")


def test_a_store_replaces_only_what_it_was_told(store):
    tag = store.replace("x", b"1", None)
    for wrong in (None, "other"):
        with pytest.raises(ConflictError):
            store.replace("x", b"2", wrong)
    with pytest.raises(ConflictError):
        store.replace("y", b"2", tag)
    assert store.read("x").data == b"1"
    store.replace("x", b"2", tag)
    assert store.read("x").data == b"2"
    assert store.read("y") is None
    assert "x" in store.names()
    store.remove("x")
    store.remove("x")
    assert store.read("x") is None


def test_a_store_has_folders(store):
    tag = store.replace("run/files/x", b"1", None)
    store.replace("run/files/x", b"2", tag)
    store.add("run/y", b"3")
    assert store.read("run/files/x").data == b"2"
    assert store.read("run/y").data == b"3"
    assert "x" not in store.names()


def claimed(store, run, keep=None):
    journal = Journal(store, run, keep or Keep())
    journal.claim()
    return journal


def test_a_run_that_was_given_up_ends(store):
    old = claimed(store, "old")
    old.add(*entry_of("old", 1))
    new = claimed(store, "new")
    with pytest.raises(SupersededError, match="belongs to another run of this job now"):
        old.add(*entry_of("old", 2))
    new.add(*entry_of("new", 2))
    assert [entry.step for entry in pointer_in(store).kept] == [1, 2]
    assert pointer_in(store).run == "new"


def test_what_a_killed_run_never_named_is_removed(store):
    old = claimed(store, "old")
    old.add(*entry_of("old", 1))
    orphan, data = entry_of("old", 2)
    store.add(orphan.name, data)
    store.add("notes.txt", b"somebody else's")
    claimed(store, "new")
    assert orphan.name not in store.names()
    assert {entry_of("old", 1)[0].name, "notes.txt"} <= set(store.names())


def test_a_write_without_an_answer_is_found_out(store):
    unreliable = Unreliable(store)
    journal = claimed(unreliable, "a", Keep(last=1))
    journal.add(*entry_of("a", 1))
    entry, data = entry_of("a", 2)
    store.add(entry.name, data)
    unreliable.faults = ["after"]
    with pytest.raises(StoreError):
        journal.advance(entry)
    assert pointer_in(store).kept == (entry,)
    journal.add(*entry_of("a", 3))
    assert [entry.step for entry in pointer_in(store).kept] == [3]
    assert [name for name in store.names() if name.endswith(".ckpt")] == [entry_of("a", 3)[0].name]


def whole(_name, _data):
    """What `entry_of` makes has no state to be damaged."""


def test_a_checkpoint_that_did_not_arrive_is_passed_over(store, capsys):
    old = claimed(store, "old")
    for step in (1, 2, 3):
        old.add(*entry_of("old", step))
    store.remove(entry_of("old", 3)[0].name)
    journal = claimed(store, "new")
    assert newest(journal, store.read, whole)[0].step == 2
    assert "is named, but is not there" in capsys.readouterr().out
    journal.add(*entry_of("new", 3))
    assert [entry.step for entry in pointer_in(store).kept] == [1, 2, 3]
    for entry in pointer_in(store).kept:
        store.remove(entry.name)
    with pytest.raises(
        UserError,
        match=r"none of the 3 checkpoints that latest\.json names can be used, the newest is not there",
    ):
        newest(claimed(store, "third"), store.read, whole)


def test_a_checkpoint_that_was_damaged_on_its_way_is_read_again(store, capsys):
    journal = claimed(store, "a")
    journal.add(*entry_of("a", 1))
    faults = [DamagedError("step-1", "is cut off")]

    def check(*_given):
        if faults:
            raise faults.pop()

    assert newest(journal, store.read, check)[0].step == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"schema": 9}', b'{"schema": 1, "kept": [{"name": "../../x", "step": 1}]}']
)
def test_a_damaged_pointer_is_refused(store, data):
    store.add(POINTER, data)
    with pytest.raises(UserError, match=r"latest\.json is no pointer to checkpoints"):
        claimed(store, "a")


def test_an_address_that_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(UserError, match="names no bucket"):
        open_store("s3:///prefix")
    with pytest.raises(UserError, match="neither a folder nor s3"):
        open_store("gs://bucket/prefix")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StoreError, match=r"File exists|Not a directory"):
        open_store(str(file)).names()
