"""Unpacking: hostile and broken archives never write outside their folder, nor more than allowed."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.common.archive import ArchiveError, _inside, _Member, unpack


def tar_of(path, *members):
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def entry(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zip_of(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in members:
            bundle.writestr(name, content)
    return path


def test_plain_files_are_unpacked(tmp_path):
    unpack(tar_of(tmp_path / "a.tar.gz", (entry("x/y.txt"), b"hello"), (entry("z"), b"")), tmp_path / "tar")
    unpack(zip_of(tmp_path / "a.zip", ("x/y.txt", b"hello"), ("z", b"")), tmp_path / "zip")
    for folder in ("tar", "zip"):
        assert (tmp_path / folder / "x" / "y.txt").read_bytes() == b"hello"
        assert (tmp_path / folder / "z").read_bytes() == b""


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (entry("../evil"), "lies outside"),
        (entry("a/../../evil"), "lies outside"),
        (entry("/etc/evil"), "lies outside"),
        (entry("evil\\..\\..\\x"), "lies outside"),
        (entry("evil", tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
        (entry("evil", tarfile.LNKTYPE, "x"), "is a link or a device"),
        (entry("evil", tarfile.FIFOTYPE), "is a link or a device"),
        (entry("evil", tarfile.CHRTYPE), "is a link or a device"),
    ],
)
def test_members_that_reach_out_are_refused(tmp_path, member, expected):
    path = tar_of(tmp_path / "a.tar.gz", (entry("ok"), b"1"), (member, b""))
    with pytest.raises(ArchiveError, match=expected):
        unpack(path, tmp_path / "inner" / "out")
    assert not list(tmp_path.rglob("evil*"))


def test_links_in_a_zip_are_refused(tmp_path):
    info = zipfile.ZipInfo("evil")
    info.external_attr = 0o120777 << 16
    with pytest.raises(ArchiveError, match="is a link"):
        unpack(zip_of(tmp_path / "a.zip", (info, b"/etc/passwd")), tmp_path / "out")


def test_a_member_that_appears_twice_is_refused(tmp_path):
    path = tar_of(tmp_path / "a.tar.gz", (entry("x"), b"1"), (entry("./x"), b"2"))
    with pytest.raises(ArchiveError, match="appears twice"):
        unpack(path, tmp_path / "out")


def test_bounds_hold(tmp_path):
    bomb = zip_of(tmp_path / "bomb.zip", ("zeros", b"\0" * 3_000_000))
    assert bomb.stat().st_size < 10_000
    with pytest.raises(ArchiveError, match="unpacks to more than 1,000,000 bytes"):
        unpack(bomb, tmp_path / "a", max_bytes=1_000_000)
    assert not list((tmp_path / "a").iterdir())
    many = tar_of(tmp_path / "many.tar.gz", *[(entry(f"f{index}"), b"") for index in range(12)])
    with pytest.raises(ArchiveError, match="more than 10 files"):
        unpack(many, tmp_path / "b", max_files=10)


def test_a_cut_archive_is_refused(tmp_path):
    whole = tar_of(tmp_path / "a.tar.gz", (entry("x"), bytes(range(256)) * 400))
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[:300])
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpack(cut, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04broken"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpack(path, tmp_path / "out")


@settings(deadline=None)
@given(name=st.text(alphabet="./\\ab\0", max_size=12))
def test_an_accepted_name_stays_inside(name):
    try:
        path = _inside(_Member(name, 0, True, False, None))
    except ArchiveError:
        return
    assert not path.is_absolute()
    assert ".." not in path.parts
