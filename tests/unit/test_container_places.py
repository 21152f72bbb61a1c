"""Folders of containers on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.containers import places as places_module
from localcloud.containers.places import Places


def test_each_folder_is_its_own(tmp_path: Path) -> None:
    places = Places(tmp_path / "new" / "jobs")
    made = [places.make("job") for _ in range(20)]
    assert len(set(made)) == 20
    assert sorted((tmp_path / "new" / "jobs").iterdir()) == sorted(made)
    assert all(place.name.startswith("job-") for place in made)
    places.leave(made[0])
    made[0].rmdir()
    places.leave(made[0])  # gone already


@pytest.fixture
def parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """On a disk whose first part is the first choice, then the second, and so on, as long as names last."""
    parts: dict[Path, int] = {}

    def part(place: Path) -> int:
        return parts.setdefault(place, len([known for known in parts if known.exists()]))

    monkeypatch.setattr(places_module, "_part", part)
    places = Places(tmp_path)
    places._choice = True
    return places


def test_where_something_was_deleted_lately_nothing_is_made(parted: Places) -> None:
    first = parted.make("a")
    parted.leave(first)
    first.rmdir()
    second = parted.make("b")
    assert parted._left.keys() == {0}
    assert places_module._part(second) == 1
    # What was tried is gone.
    assert [place.name[0] for place in second.parent.iterdir()] == ["b"]


def test_where_no_choice_is_left_the_oldest_is_taken(parted: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    parted._left.update({part: 1000.0 + 10 * (part != 3) for part in range(20)})
    monkeypatch.setattr(places_module.time, "monotonic", lambda: 1100.0)
    assert places_module._part(parted.make("a")) == 3
    assert len(list(parted._folder.iterdir())) == 1


def test_minutes_later_all_is_as_before(parted: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    parted._left[0] = 1000.0
    monkeypatch.setattr(places_module.time, "monotonic", lambda: 1000.0 + places_module._RECENT_S)
    assert places_module._part(parted.make("a")) == 0


def test_a_file_system_without_such_a_choice_is_as_good() -> None:
    for folder in (Path("/proc"), Path("/sys")):
        if folder.is_dir():
            assert not places_module._spread(folder)
