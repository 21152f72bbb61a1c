"""Images for `modelyard predict`: what counts as one, and where those of this machine are put."""

import hashlib

import pytest

from modelyard_cli import images
from modelyard_cli.errors import CliError


@pytest.fixture
def stored(monkeypatch):
    """What was put into S3, by bucket and key."""
    found = {}

    class S3:
        def put_object(self, Bucket, Key, Body):
            found[Bucket, Key] = Body

    monkeypatch.setattr(images, "client", lambda *_: S3())
    return found


def test_files_are_uploaded_under_the_name_of_their_content(tmp_path, stored):
    for name, content in (("a.PNG", b"one"), ("b.jpg", b"two"), ("c.png", b"one")):
        (tmp_path / name).write_bytes(content)
    given = [
        str(tmp_path / "a.PNG"),
        "s3://data/images/x.png",
        *(str(tmp_path / n) for n in ("b.jpg", "c.png")),
    ]
    assert images.check(given) == ["a.PNG", "x.png", "b.jpg", "c.png"]
    one, two = (hashlib.sha256(content).hexdigest() for content in (b"one", b"two"))
    assert images.upload(given, lambda: "s3://data/images/") == [
        f"s3://data/images/{one}.png",
        "s3://data/images/x.png",
        f"s3://data/images/{two}.jpg",
        f"s3://data/images/{one}.png",
    ]
    assert stored == {("data", f"images/{one}.png"): b"one", ("data", f"images/{two}.jpg"): b"two"}


def test_what_is_in_s3_needs_no_folder(stored):
    def folder():
        raise AssertionError("asked for the folder")

    given = ["s3://data/images/x.png", "https://data.s3.eu-west-1.amazonaws.com/images/y.png"]
    assert images.upload(given, folder) == given
    assert stored == {}


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a.png", "rows.csv"], "rows.csv: not an image"), (["a.png", "none.jpg"], "none.jpg: no such file")],
)
def test_what_is_no_image_is_said_before_anything_is_sent(tmp_path, monkeypatch, names, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(CliError, match=message):
        images.check(names)


def test_a_file_that_cannot_be_read_is_named(tmp_path, stored):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(CliError, match=r"a\.png: cannot be read"):
        images.upload([str(tmp_path / "a.png")], lambda: "s3://data/images/")
