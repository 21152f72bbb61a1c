"""What a pipeline goes up in: one archive with its definition and the archives of its steps' code."""

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import PipelineError

DEFINITION = "definition.json"
_CODE = re.compile(r"code/([0-9a-f]{64})\.zip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """`definition` as stored, and `code`: archives by their SHA-256 in hex."""

    definition: bytes
    code: Mapping[str, bytes]


def code_member(sha256: str) -> str:
    """Where the archive of a step lies in the bundle."""
    return f"code/{sha256}.zip"


def read(content: bytes, place: str) -> Bundle:
    """The bundle's parts, each checked against its name. Raises PipelineError naming `place`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise PipelineError(f"{place} is no bundle of a pipeline: {error}") from error
    definition = members.pop(DEFINITION, None)
    if definition is None:
        raise PipelineError(f"{place} is no bundle of a pipeline: it holds no {DEFINITION}")
    code = {}
    for name, body in members.items():
        match = _CODE.fullmatch(name)
        if match is None or hashlib.sha256(body).hexdigest() != match[1]:
            raise PipelineError(f"{place}: {name} is not code/<SHA-256 of its content>.zip; deploy again")
        code[match[1]] = body
    return Bundle(definition=definition, code=code)
