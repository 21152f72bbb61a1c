"""Archives from strangers."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.containers.archives import ArchiveError, files_below, open_below, pack, unpack

NAME = st.text(alphabet="ab.-_é", min_size=1, max_size=6).filter(lambda name: name not in {".", ".."})
TREES = st.dictionaries(
    st.lists(NAME, min_size=1, max_size=3).map("/".join), st.binary(max_size=50), max_size=6
).filter(lambda tree: not any(a != b and b.startswith(a + "/") for a in tree for b in tree))


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def extract(tmp_path: Path, content: bytes, **limits: int) -> Path:
    source, folder = tmp_path / "in.tar.gz", tmp_path / "inside" / "out"
    source.write_bytes(content)
    unpack(source, folder, **limits)
    return folder


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(tree=TREES)
def test_what_is_packed_comes_out_and_bytes_repeat(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes]
) -> None:
    base = tmp_path_factory.mktemp("pack")
    folder = base / "in"
    folder.mkdir()
    for path, content in tree.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    assert pack(folder, base / "1.tar.gz") == len(tree)
    pack(folder, base / "2.tar.gz")
    assert (base / "1.tar.gz").read_bytes() == (base / "2.tar.gz").read_bytes()
    (base / "out").mkdir()
    unpack(base / "1.tar.gz", base / "out")
    assert {path: file.read_bytes() for path, file in files_below(base / "out")} == tree


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (member("/etc/evil"), "leaves its folder"),
        (member("../evil"), "leaves its folder"),
        (member("a/../../evil"), "leaves its folder"),
        (member("link", tarfile.SYMTYPE, "/etc/passwd"), "link that leaves"),
        (member("a/link", tarfile.SYMTYPE, "../../evil"), "link that leaves"),
        (member("link", tarfile.LNKTYPE, "../evil"), "link that leaves"),
        (member("link", tarfile.LNKTYPE, "other"), "link to nothing"),
        (member("link", tarfile.SYMTYPE, "link"), "link to itself"),
        (member("a/link", tarfile.SYMTYPE, "."), "link to itself"),
        (member("fifo", tarfile.FIFOTYPE), "is a device"),
        (member("device", tarfile.CHRTYPE), "is a device"),
    ],
)
def test_members_that_are_refused(tmp_path: Path, bad: tarfile.TarInfo, words: str) -> None:
    with pytest.raises(ArchiveError, match=words):
        extract(tmp_path, tar((bad, b"")))
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "inside" / "evil").exists()


def test_bounds(tmp_path: Path) -> None:
    many = tar(*((member(str(index)), b"") for index in range(11)))
    with pytest.raises(ArchiveError, match="more than 10 members"):
        extract(tmp_path, many, max_members=10)
    with pytest.raises(ArchiveError, match="more than 1000 bytes"):
        extract(tmp_path, tar((member("bomb"), b"0" * 100_000)), max_bytes=1000)


@pytest.mark.parametrize("content", [b"", b"not an archive", tar((member("a"), b"x" * 5000))[:60]])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ArchiveError):
        extract(tmp_path, content)


def test_a_file_where_a_folder_is(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="both a file and a folder"):
        extract(tmp_path, tar((member("a"), b""), (member("a/b"), b"")))


def test_links_in_what_is_packed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "real").write_text("1")
    (folder / "alias").symlink_to("real")
    assert [name for name, _ in files_below(folder)] == ["alias", "real"]
    (folder / "leak").symlink_to("/etc/passwd")
    with pytest.raises(ArchiveError, match="leak is a link"):
        pack(folder, tmp_path / "out.tar.gz")
    (folder / "leak").unlink()
    (folder / "loop").symlink_to(".")
    (tmp_path / "out.tar.gz").unlink()
    with pytest.raises(ArchiveError, match="loop is a link"):
        pack(folder, tmp_path / "out.tar.gz")


def test_links_that_stay_in_the_archive_become_what_they_name(tmp_path: Path) -> None:
    folder = extract(
        tmp_path,
        tar(
            (member("latest", tarfile.SYMTYPE, "versions/two"), b""),
            (member("versions/two", tarfile.SYMTYPE, "2"), b""),
            (member("versions/2/model.bin"), b"weights"),
            (member("versions/2/again.bin", tarfile.LNKTYPE, "versions/2/model.bin"), b""),
        ),
    )
    assert (folder / "latest" / "again.bin").read_bytes() == b"weights"
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_links_cannot_multiply_what_is_unpacked(tmp_path: Path) -> None:
    links = [(member(f"l{index}", tarfile.LNKTYPE, "big"), b"") for index in range(10)]
    with pytest.raises(ArchiveError, match="links counted"):
        extract(tmp_path, tar((member("big"), b"0" * 900), *links), max_bytes=1000)


def test_a_folder_that_became_a_link_is_not_packed(tmp_path: Path) -> None:
    outside, base = tmp_path / "outside", tmp_path / "ml"
    outside.mkdir()
    base.mkdir()
    (outside / "secret").write_text("1")
    (base / "model").symlink_to(outside)
    (base / "output").symlink_to(tmp_path)
    for folder in (base / "model", base / "output" / "outside"):
        with pytest.raises(ArchiveError, match="is a link"):
            list(files_below(folder, base))
        with pytest.raises(ArchiveError):
            open_below(base, folder / "secret")


def test_a_pipe_where_a_file_was_does_not_hold_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArchiveError, match="regular"):
        open_below(tmp_path, tmp_path / "pipe")
