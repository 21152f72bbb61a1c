"""Unpacking: hostile and broken archives never write outside their folder, nor more than allowed."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.common.archive import MAX_HEAD_BYTES, ArchiveError, _inside, _Member, unpack


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
        path = _inside(_Member(name, 0))
    except ArchiveError:
        return
    assert not path.is_absolute()
    assert ".." not in path.parts


def test_a_small_archive_that_grows_too_much_is_refused(tmp_path):
    path = tar_of(tmp_path / "bomb.tar.gz", (entry("zeros"), b"\0" * 20_000_000))
    with pytest.raises(ArchiveError, match=r"bomb.tar.gz: unpacks to more than 100 times its size"):
        unpack(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_folders_count_too(tmp_path):
    path = tar_of(tmp_path / "a.tar.gz", *[(entry(f"f{index}", tarfile.DIRTYPE), b"") for index in range(12)])
    with pytest.raises(ArchiveError, match="more than 10 files"):
        unpack(path, tmp_path / "out", max_files=10)


@pytest.mark.parametrize("name", ["x" * 256, "x/" * 600 + "y"])
def test_huge_names_are_refused(tmp_path, name):
    with pytest.raises(ArchiveError, match="too long"):
        unpack(tar_of(tmp_path / "a.tar.gz", (entry(name), b"1")), tmp_path / "tar")
    with pytest.raises(ArchiveError, match="too long"):
        unpack(zip_of(tmp_path / "a.zip", (name, b"1")), tmp_path / "zip")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("claim", [MAX_HEAD_BYTES * 64, 2**40])
def test_a_head_is_not_held_in_memory_at_whatever_size_it_claims(tmp_path, kind, claim):
    head = tarfile.TarInfo("x")
    head.type, head.size = kind, claim
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", 1) as stream:
        stream.write(head.tobuf(tarfile.GNU_FORMAT))
        for _ in range(3):
            stream.write(b"\0" * MAX_HEAD_BYTES)
    with pytest.raises(ArchiveError, match="a head of more than"):
        unpack(path, tmp_path / "out")


def test_a_sparse_file_is_refused(tmp_path):
    """Of a terabyte, in a kilobyte."""
    info = entry("holes", tarfile.GNUTYPE_SPARSE)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o\0" % 2**32
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(bytes(block) + b"\0" * 1024))
    with pytest.raises(ArchiveError, match="'holes' is a sparse file"):
        unpack(path, tmp_path / "out")


def test_a_negative_size_is_refused(tmp_path):
    block = bytearray(entry("x").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 10 + b"\xfe\x00"
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(bytes(block) * 3 + b"\0" * 1024))
    with pytest.raises(ArchiveError):
        unpack(path, tmp_path / "out")
    assert not any(found.stat().st_size for found in (tmp_path / "out").iterdir())


def test_encryption_and_rare_methods_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as bundle:
        bundle.writestr("x", b"1")
    with pytest.raises(ArchiveError, match="encrypted, or packed"):
        unpack(path, tmp_path / "out")


def test_an_index_is_not_read_at_whatever_size(tmp_path):
    path = zip_of(tmp_path / "a.zip", *[(f"{index:0900}", b"") for index in range(15)])
    with pytest.raises(ArchiveError, match="more than 10 files"):
        unpack(path, tmp_path / "out", max_files=10)


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["tar", "zip"]),
    changes=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 2000),
)
def test_whatever_is_broken_is_refused_or_unpacks_to_plain_files(tmp_path_factory, kind, changes, cut):
    """Heads changed at will, packed correctly: only bounds and plain files may come of it."""
    folder = tmp_path_factory.mktemp("broken")
    members = [("x/y.txt", b"hello" * 20), ("z", b"1" * 600)]
    if kind == "tar":
        packed = tar_of(folder / "good", *[(entry(name), content) for name, content in members])
        data = bytearray(gzip.decompress(packed.read_bytes()))
    else:
        data = bytearray(zip_of(folder / "good", *members).read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    data = data[: len(data) - cut % 300]
    path = folder / f"broken.{kind}"
    path.write_bytes(gzip.compress(bytes(data)) if kind == "tar" else bytes(data))
    with suppress(ArchiveError):
        unpack(path, folder / "out", max_bytes=1_000_000)
    for found in (folder / "out").rglob("*"):
        assert found.is_dir() or (found.is_file() and not found.is_symlink())
    assert {found.name for found in folder.iterdir()} <= {"good", f"broken.{kind}", "out"}
