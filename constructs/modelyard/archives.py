"""Archives whose bytes depend on nothing but what is in them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

_LIBRARY = Path(__file__).parent
# Of the machine that made the archive: the same on all of them.
_UNIX = 3


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """An archive of files by name.

    Stored, not deflated: another zlib may pack the same files otherwise, and so under another hash.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = _UNIX, 0o644 << 16
            bundle.writestr(entry, files[name])
    return buffer.getvalue()


def function_code(domain: str) -> bytes:
    """The archive of a domain's function: its `runtime` and what all functions share, below `modelyard/`.

    Args:
        domain: A package of this library, for example `serving`.
    """
    files = {
        path.relative_to(_LIBRARY.parent).as_posix(): path.read_bytes()
        for folder in (_LIBRARY / "runtime", _LIBRARY / domain / "runtime")
        for path in folder.rglob("*.py")
    }
    # The real ones import constructs; without any, a `modelyard` that is installed would be found first.
    above = {"modelyard/__init__.py": b"", f"modelyard/{domain}/__init__.py": b""}
    return zip_of({**files, **above})
