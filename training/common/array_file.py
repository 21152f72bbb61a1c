"""Reads a .npz that nobody vouches for: no pickle, and no more memory than the file has bytes.

`np.load` reserves the memory that the head of an array claims, and raises what zipfile and ast make of a
broken file.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
MAX_HEADER = 512  # bytes; in a longer one Python's parser may run out of its stack, which it calls memory


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays that `np.savez` wrote to `path`, read-only; raises ValueError with the reason."""
    try:
        with zipfile.ZipFile(path) as bundle:
            items = bundle.infolist()
            if any(item.compress_type != zipfile.ZIP_STORED for item in items):
                raise ValueError("its arrays are compressed")
            if sum(item.file_size for item in items) > path.stat().st_size:
                raise ValueError("its arrays overlap")
            return {item.filename.removesuffix(".npy"): _array(bundle.read(item)) for item in items}
    except (ValueError, MemoryError):  # no room is not the file's fault
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {str(error)[:200]}") from error


def _array(content: bytes) -> NDArray[Any]:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array has version {version} of NumPy's format, not (1, 0)")
    shape, by_column, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=MAX_HEADER)
    found = np.frombuffer(content, dtype, offset=stream.tell())  # refuses objects
    return found.reshape(shape, order="F" if by_column else "C")
