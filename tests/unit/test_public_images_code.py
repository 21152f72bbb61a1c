"""The user's code archive in AWS's images: unpacked below its folder, and nothing of it beside."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from localcloud.containers.public_images.runtime.environment import UserError
from localcloud.containers.public_images.runtime.script import fetch_code


def _archive(path: Path, *members: tarfile.TarInfo) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            member.size = 2 if member.isfile() else 0
            archive.addfile(member, io.BytesIO(b"ok"))
    return str(path)


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def test_an_archive_is_unpacked_with_its_folders(tmp_path: Path) -> None:
    source = _archive(
        tmp_path / "code.tar.gz", _member("lib", tarfile.DIRTYPE), _member("./lib/deep/train.py")
    )
    fetch_code(source, tmp_path / "code")
    assert (tmp_path / "code" / "lib" / "deep" / "train.py").read_bytes() == b"ok"


@pytest.mark.parametrize(
    "member",
    [
        _member("../escaped.py"),
        _member("/tmp/escaped.py"),
        _member("link", tarfile.SYMTYPE, "/etc"),
        _member("hard", tarfile.LNKTYPE, "train.py"),
        _member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda member: member.name,
)
def test_what_would_leave_the_folder_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    with pytest.raises(UserError, match="is no file or folder below it"):
        fetch_code(_archive(tmp_path / "code.tar.gz", member), tmp_path / "code")
    assert not (tmp_path / "escaped.py").exists()
