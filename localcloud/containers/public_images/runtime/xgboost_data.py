"""Training and validation channels as XGBoost matrices.

https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html#InputOutput-XGBoost
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from .environment import UserError

_TYPES = {
    "csv": "csv",
    "text/csv": "csv",
    "libsvm": "libsvm",
    "text/libsvm": "libsvm",
    "text/x-libsvm": "libsvm",
    "parquet": "parquet",
    "application/x-parquet": "parquet",
}


def kind_of(content_type: str | None) -> str:
    """`csv`, `libsvm` or `parquet`; libsvm if the channel names none. UserError for any other.

    >>> kind_of("text/csv; label_size=1")
    'csv'
    """
    if content_type is None:
        return "libsvm"
    name, *options = (part.strip() for part in content_type.lower().split(";"))
    if name not in _TYPES:
        raise UserError(f"{content_type} is not an accepted ContentType here: {', '.join(_TYPES)}.")
    for option in options:
        if option.startswith("label_size") and option.partition("=")[2].strip() != "1":
            raise UserError(
                f"{content_type} is not an accepted csv ContentType. Optional parameter label_size must be "
                "equal to 1"
            )
    return _TYPES[name]


def files_of(folder: Path) -> list[Path]:
    """The data files below a channel's folder, in order: none that begins with `.` or `_`."""
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_"))
    )


def load(folder: Path, kind: str, *, weights: bool) -> xgboost.DMatrix | None:
    """Read a channel: label first, then the weight if there are weights, then the features.

    Args:
        folder: of the channel.
        kind: from `kind_of`.
        weights: the second column of CSV is the instance's weight.

    Returns:
        None if the channel has no data.

    Raises:
        UserError: the files are not of that kind.
    """
    files = [path for path in files_of(folder) if path.stat().st_size]
    if not files:
        return None
    if kind == "libsvm":
        return _libsvm(files)
    table = _csv(files) if kind == "csv" else _parquet(files)
    first = 2 if weights and kind == "csv" else 1
    if table.shape[1] <= first:
        raise UserError(
            f"{files[0].name} has {table.shape[1]} columns; the label comes first, features follow"
        )
    matrix = xgboost.DMatrix(table[:, first:], label=table[:, 0])
    if first == 2:
        matrix.set_weight(table[:, 1])
    return matrix


def _csv(files: Sequence[Path]) -> Any:
    import pandas

    tables = []
    for path in files:
        with path.open(errors="replace") as lines:
            line = lines.readline()
        separator = max(",;\t |", key=line.count) if line.strip() else ","
        try:
            table = pandas.read_csv(path, header=None, sep=separator, dtype=np.float32)
        except (ValueError, pandas.errors.ParserError) as error:
            raise UserError(
                f"Failed to load csv data from {path.name}: {error}. Files hold numbers only, no header, the "
                "label in the first column"
            ) from error
        tables.append(table.to_numpy())
    if len({table.shape[1] for table in tables}) > 1:
        raise UserError(
            f"The csv files differ in their number of columns: {', '.join(p.name for p in files)}"
        )
    return np.concatenate(tables)


def _parquet(files: Sequence[Path]) -> Any:
    import pandas

    try:
        return np.concatenate([pandas.read_parquet(path).to_numpy(dtype=np.float32) for path in files])
    except ImportError as error:
        raise UserError(
            "parquet needs pyarrow, which is not installed beside the local cloud; install it, or use "
            "text/csv"
        ) from error
    except (ValueError, OSError) as error:
        raise UserError(f"Failed to load parquet data: {error}") from error


def _libsvm(files: Sequence[Path]) -> xgboost.DMatrix:
    for path in files:
        with path.open(errors="replace") as lines:
            line = next((line for line in lines if line.strip()), "")
        if not _is_libsvm(line):
            raise UserError(
                f"First line '{line.strip()[:50]}...' of file '{path.name}' is not 'LIBSVM' format. Please "
                "ensure the file is in 'LIBSVM' format, or name the channel's content type (text/csv)."
            )
    try:
        return xgboost.DMatrix(f"{';'.join(str(path) for path in files)}?format=libsvm")
    except xgboost.core.XGBoostError as error:
        raise UserError(f"Failed to load libsvm data: {error}") from error


def _is_libsvm(line: str) -> bool:
    """Whether a line reads `label[:weight] index:value ...`."""
    label, *features = line.split("#", maxsplit=1)[0].split()
    try:
        for part in label.split(":", 1):
            float(part)
        for feature in features:
            if not feature.startswith("qid:"):
                index, _, value = feature.partition(":")
                int(index), float(value)
    except ValueError:
        return False
    return True
