"""Images to predict, from the files people have: on this machine, where they are uploaded first, or in S3."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3

from modelyard_cli.aws import client
from modelyard_cli.errors import CliError

SUFFIXES = (".jpg", ".jpeg", ".png")
_REMOTE = ("s3://", "https://")


def is_image(name: str) -> bool:
    """Whether a word of the command line is an image, by how it begins or ends.

    >>> [is_image(name) for name in ("s3://data/images/a", "b.JPG", "rows.csv")]
    [True, True, False]
    """
    return name.startswith(_REMOTE) or Path(name).suffix.lower() in SUFFIXES


def check(names: Sequence[str]) -> list[str]:
    """Short names of the images, in order.

    Raises:
        CliError: one of them is no image, or a file that is not there.
    """
    for name in names:
        if not is_image(name):
            raise CliError(f"{name}: not an image; images end in {', '.join(SUFFIXES)}, and rows go alone")
        if not name.startswith(_REMOTE) and not Path(name).is_file():
            raise CliError(f"{name}: no such file")
    return [name.rpartition("/")[2] for name in names]


def upload(
    names: Sequence[str], folder: Callable[[], str], session: boto3.Session | None = None
) -> list[str]:
    """The images' addresses, after those on this machine were put into `folder`, asked for if there are any.

    A file's name there is that of its content: what is there already stays as it is.

    Raises:
        CliError: a file cannot be read.
    """
    local = [name for name in names if not name.startswith(_REMOTE)]
    if not local:
        return list(names)
    place, s3 = folder(), client("s3", session)
    uploaded = {name: _put(s3, place, Path(name)) for name in dict.fromkeys(local)}
    return [uploaded.get(name, name) for name in names]


def _put(s3: Any, folder: str, path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CliError(f"{path}: cannot be read ({error.strerror})") from error
    address = f"{folder}{hashlib.sha256(data).hexdigest()}{path.suffix.lower()}"
    bucket, _, key = address.removeprefix("s3://").partition("/")
    s3.put_object(Bucket=bucket, Key=key, Body=data)
    return address
