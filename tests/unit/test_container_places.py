"""Folders of containers on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from localcloud.containers import places as places_module
from localcloud.containers.places import Places


def test_each_folder_is_its_own_and_nothing_is_left_of_what_was_tried(tmp_path: Path) -> None:
    places = Places(tmp_path / "new" / "jobs")
    made = [places.make("job", ["ml", "tmp"]) for _ in range(20)]
    assert len(set(made)) == 20
    assert sorted((tmp_path / "new" / "jobs").iterdir()) == sorted(made)
    for place in made:
        assert place.name.startswith("job-")
        assert sorted(part.name for part in place.iterdir()) == ["ml", "tmp"]


@pytest.mark.parametrize(
    ("choice", "costs", "chosen"),
    [
        # The first time all are tried, then the first that is as quick as any.
        (True, [[5, 9, 5, 4, 1, 5, 5, 5], [2], [9, 3], [9, 9, 9, 9, 8, 9, 9, 9]], [4, 0, 1, 4]),
        (False, [[9], [1], [9]], [0, 0, 0]),
    ],
    ids=["spread", "another file system"],
)
def test_a_folder_lies_where_making_it_was_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: bool, costs: list[list[int]], chosen: list[int]
) -> None:
    places = Places(tmp_path)
    places._choice = choice
    timed = places_module._timed
    for cost, index in zip(costs, chosen, strict=True):
        tried: list[Path] = []

        def known(place: Path, parts: Sequence[str], cost=cost, tried=tried) -> float:  # type: ignore[no-untyped-def]
            timed(place, parts)
            tried.append(place)
            return float(cost[len(tried) - 1])

        monkeypatch.setattr(places_module, "_timed", known)
        assert places.make("a", ["ml"]) == tried[index]
        assert len(tried) == len(cost)
        assert [place.exists() for place in tried].count(True) == 1


def test_a_file_system_without_such_a_choice_is_as_good() -> None:
    for folder in (Path("/proc"), Path("/sys")):
        if folder.is_dir():
            assert not places_module._spread(folder)
