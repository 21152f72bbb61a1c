"""Validation and preprocessing: what is usable is used, what is not is counted, and folders that make no
sense are refused with one line."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from tests.unit.vision.vision_support import SIZE, draw_folders, drawn, encoded
from training.vision import folders, preprocess, validate
from training.vision.classes import read_classes
from training.vision.shards import read_shards

SPLITS = ("train", "validation", "test")
BASE = ["--image-size", str(SIZE)]


def entries(container):
    return {name: read_shards(container.output(name)) for name in SPLITS}


def test_the_report_counts_classes(container, raw):
    container.link_input("data", raw)
    validate.main([])
    report = container.document("report", "data_report.json")
    assert (report["rows"], report["valid"], report["problems"]) == (120, True, [])
    assert report["classes"] == {"blue sky": 40, "grün": 40, "red": 40}
    assert report["rejected"] == {"count": 0, "reasons": {}}


def test_the_version_of_the_data_changes_with_it(container, other_container, raw):
    versions = set()
    for name in ("same", "again", "renamed", "changed"):
        here = other_container(name)
        draw_folders(here.data, 6)
        if name == "renamed":
            (here.data / "red" / "000.jpg").rename(here.data / "red" / "x.jpg")
        if name == "changed":
            here.put("red/001.png", encoded(drawn((0, 0, 0), 1)))
        validate.main([])
        versions.add(here.document("report", "data_report.json")["sha256"])
    assert len(versions) == 3


def spoil(container):
    """Five images that cannot be used, and files that are none."""
    whole = encoded(drawn((9, 9, 9), 5))
    container.put("red/empty.png", b"")
    container.put("red/text.jpg", b"not an image")
    container.put("red/cut.png", whole[:500])
    container.put("grün/really a gif.png", encoded(drawn((1, 2, 3), 1), "GIF"))
    frames = [drawn((9, 9, 9), n) for n in range(2)]
    container.put("grün/film.png", encoded(frames[0], save_all=True, append_images=frames[1:]))
    container.put("red/notes.txt", b"hello")
    container.put("red/.DS_Store", b"x")
    container.put(".hidden/a.png", whole)
    return 5


def test_bad_images_are_left_out_and_counted(container):
    draw_folders(container.data, 10)
    bad = spoil(container)
    validate.main([])
    report = container.document("report", "data_report.json")
    assert (report["rows"], report["rejected"]["count"], report["ignored_files"]) == (30, bad, 1)
    assert {item["name"] for item in report["examples"]} >= {"red/cut.png", "grün/film.png"}
    preprocess.main(BASE)
    rejected = container.document("quarantine", "rejected-00000.json")
    assert {item["name"]: item["reason"].split(":")[0] for item in rejected} == {
        "grün/film.png": "is animated (2 frames)",
        "grün/really a gif.png": "is neither a JPEG nor a PNG image",
        "red/cut.png": "is truncated or broken",
        "red/empty.png": "is empty",
        "red/text.jpg": "is neither a JPEG nor a PNG image",
    }
    assert sum(map(len, entries(container).values())) == 30


def test_copies_are_counted_and_never_in_two_splits(container):
    draw_folders(container.data, 10)
    for number in range(10):
        source = sorted((container.data / "red").iterdir())[number]
        container.put(f"red/copy {number}{source.suffix}", source.read_bytes())
        container.put(f"zebra/wrong {number}{source.suffix}", source.read_bytes())
    validate.main([])
    report = container.document("report", "data_report.json")
    assert (report["duplicates"], report["conflicting_labels"]) == (10, 10)
    preprocess.main(BASE)
    found = {name: {entry.read() for entry in split} for name, split in entries(container).items()}
    assert not found["train"] & found["test"]
    assert not found["train"] & found["validation"]


def test_images_that_are_added_move_no_other(other_container):
    """Neither does a new class, nor new names between and before the old ones."""

    def prepared(name, *, more):
        here = other_container(name)
        draw_folders(here.data, 30)
        if more:
            for number in range(5):
                here.put(f"red/000-{number}.png", encoded(drawn((210, 40, 30), 7000 + number)))
                here.put(f"a new class/{number}.png", encoded(drawn((9, 9, 9), 8000 + number)))
        preprocess.main(["--image-size", str(SIZE), "--validation-share", "0.2", "--test-share", "0.2"])
        return {entry.name: (split, entry.read()) for split, of in entries(here).items() for entry in of}

    before, after = prepared("before", more=False), prepared("after", more=True)
    assert {split for split, _ in before.values()} == set(SPLITS)
    assert (len(before), len(after)) == (90, 100)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("step", [validate.main, preprocess.main])
@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "no image: InputData must hold <class>/<name>.jpg or .png; 0 other files"),
        ({"readme.txt": b"x", "data.csv": b"y"}, "2 other files"),
        ({"a.png": b"x"}, "'a.png' lies in no class folder"),
        ({"train/red/a.png": b"x"}, "'train/red/a.png' lies in no class folder"),
        ({f"red/{n}.png": encoded(drawn((9, 9, 9), n)) for n in range(9)}, "one class folder, 'red'"),
    ],
)
def test_a_folder_that_makes_no_sense_is_refused(container, refused, step, files, reason):
    container.data.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        container.put(name, data)
    assert reason in refused(step)


def test_a_class_without_usable_images_is_refused(container, refused):
    draw_folders(container.data, 10)
    container.put("owl/a.png", b"")
    assert "class 'owl' has 0 usable images, at least 5 are needed" in refused(validate.main)
    assert container.document("report", "data_report.json")["valid"] is False


def test_a_folder_mostly_unreadable_is_refused(container, refused):
    for number in range(9):
        container.put(f"a/{number}.jpg", b"<html>Access denied</html>")
    container.put("b/1.png", encoded(drawn((1, 1, 1), 1)))
    text = refused(validate.main)
    assert "9 of 10 images cannot be used, the first: 'a/0.jpg' is neither a JPEG nor a PNG" in text


def test_images_beside_class_folders_are_counted(container):
    draw_folders(container.data, 6)
    container.put("stray.png", b"")
    container.put("red/deep/er.png", b"")
    validate.main([])
    assert container.document("report", "data_report.json")["misplaced"] == 2


def test_every_image_is_in_one_split_with_its_class(container, raw):
    container.link_input("data", raw)
    preprocess.main([*BASE, "--validation-share", "0.2", "--test-share", "0.3"])
    found = entries(container)
    assert sum(map(len, found.values())) == 120
    assert all(found.values())
    for split in found.values():
        for entry in split:
            assert entry.name.startswith(f"{entry.label}/")
    classes = read_classes(container.output("classes"))
    assert (classes.names, classes.image_size, classes.side) == (("blue sky", "grün", "red"), 32, 37)


def test_images_are_scaled_and_stay_lossless_where_they_were(container, raw):
    container.link_input("data", raw)
    preprocess.main(BASE)
    for entry in entries(container)["train"]:
        image = Image.open(io.BytesIO(entry.read()))
        assert image.format == ("PNG" if entry.name.endswith("png") else "JPEG")
        assert min(image.size) == 37


def test_several_hosts_write_what_one_writes(other_container, raw):
    one = other_container("one")
    one.link_input("data", raw)
    preprocess.main(BASE)
    expected = {
        name: [(entry.key, entry.label, entry.read()) for entry in split]
        for name, split in entries(one).items()
    }
    found = {name: [] for name in SPLITS}
    for rank in range(3):
        host = other_container(f"host-{rank}")
        host.link_input("data", raw)
        host.hosts(3, rank)
        preprocess.main(BASE)
        assert host.output("classes").joinpath("classes.json").exists() == (rank == 0)
        for name, split in entries(host).items():
            found[name] += [(entry.key, entry.label, entry.read()) for entry in split]
    assert {name: sorted(split) for name, split in found.items()} == expected


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--image-size", "7"], "ImageSize must be 8 to 1024 pixels, got 7"),
        (["--image-size", "big"], "invalid int value: 'big'"),
        (["--test-share", "0"], "TestShare must be above 0 and below 1, got 0"),
        (["--validation-share", "nan"], "ValidationShare must be above 0"),
        (["--test-share", "0.5", "--validation-share", "0.5"], "leave nothing to train on"),
        (["--image", "32"], "unrecognized arguments: --image 32"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(container, raw, refused, arguments, reason):
    container.link_input("data", raw)
    assert reason in refused(preprocess.main, *arguments)


def test_too_few_images_to_split_are_refused(container, refused):
    for name in ("a", "b"):
        container.put(f"{name}/1.png", encoded(drawn((1, 2, 3), 1)))
    assert "2 images are too few: none fell into" in refused(preprocess.main, *BASE)


def test_a_file_that_cannot_be_read_is_left_out(container, monkeypatch):
    draw_folders(container.data, 10)
    path = container.data / "red" / "001.png"
    reading = type(path).read_bytes

    def read(self):
        if self.name == "001.png" and self.parent.name == "red":
            raise PermissionError(13, "Permission denied")
        return reading(self)

    monkeypatch.setattr(type(path), "read_bytes", read)
    preprocess.main(BASE)
    rejected = json.loads((container.output("quarantine") / "rejected-00000.json").read_text())
    assert rejected == [{"name": "red/001.png", "reason": "cannot be read: Permission denied"}]


def test_only_a_few_images_are_in_memory(container, raw, monkeypatch):
    """However many there are: those that are being decoded, and those that wait for the writer."""
    container.link_input("data", raw)
    alive, most = 0, 0
    prepare = folders.prepare

    def counted(photo, side):
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return prepare(photo, side)

    class Writer(preprocess.ShardWriter):
        def write(self, sample):
            nonlocal alive
            alive -= 1
            super().write(sample)

    monkeypatch.setattr(preprocess, "prepare", counted)
    monkeypatch.setattr(preprocess, "ShardWriter", Writer)
    preprocess.main(BASE)
    assert most <= 20
