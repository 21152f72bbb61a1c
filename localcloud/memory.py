"""Freed memory, given back to the system.

The C library keeps it for the next large object. Where small ones follow, which Python takes from elsewhere,
the process would grow by all that it frees.
"""

from __future__ import annotations

import ctypes
from typing import Any


def give_back() -> None:
    """Give back whole free pages; on systems without glibc nothing."""
    trim = _trim()
    if trim is not None:
        trim(0)


def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
