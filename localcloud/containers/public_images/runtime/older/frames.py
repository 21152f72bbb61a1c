"""pandas: methods removed in 2.0 and 3.0, and what assignments to a column's copy did.

https://pandas.pydata.org/docs/whatsnew/v2.0.0.html
https://pandas.pydata.org/docs/whatsnew/v3.0.0.html
"""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any

from . import asked_by_library, say

_PARENT = "_older_parent"


def patch(pd: Any) -> None:
    """Put it back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pd.set_option("future.infer_string", False)  # text is `object`
    for kind in (pd.DataFrame, pd.Series):
        kind.append = _append(pd)
        kind.iteritems = kind.items
        kind.mad = lambda self, axis=0: (self - self.mean(axis=axis)).abs().mean(axis=axis)
        kind.fillna = _fillna(kind.fillna)
        kind.to_csv = _renaming(kind.to_csv, {"line_terminator": "lineterminator"})
    pd.DataFrame.applymap = pd.DataFrame.map
    pd.Index.is_monotonic = property(lambda self: self.is_monotonic_increasing)
    pd.read_csv = _read_csv(pd.read_csv)
    if os.environ.get("MODELYARD_PANDAS") == "1":
        pd.get_dummies = _get_dummies(pd.get_dummies)
    _write_through(pd)


def _append(pd: Any) -> Callable[..., Any]:
    def append(
        self: Any,
        other: Any,
        ignore_index: bool = False,
        verify_integrity: bool = False,
        sort: bool = False,
    ) -> Any:
        say("append is no more in pandas; it does what pandas.concat does")
        if isinstance(self, pd.DataFrame):
            if isinstance(other, dict):
                other = pd.Series(other)
            if isinstance(other, pd.Series):
                other = other.to_frame().T.infer_objects()
            elif isinstance(other, list) and other and not hasattr(other[0], "iloc"):
                other = pd.DataFrame(other)
        others = list(other) if isinstance(other, list | tuple) else [other]
        return pd.concat(
            [self, *others], ignore_index=ignore_index, verify_integrity=verify_integrity, sort=sort
        )

    return append


def _fillna(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def fillna(self: Any, value: Any = None, *arguments: Any, **options: Any) -> Any:
        method = options.pop("method", None)
        if method is None:
            return original(self, value, *arguments, **options)
        return (self.ffill if method in {"ffill", "pad"} else self.bfill)(**options)

    return fillna


def _renaming(original: Callable[..., Any], names: dict[str, str]) -> Callable[..., Any]:
    @wraps(original)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        return original(*arguments, **{names.get(name, name): value for name, value in options.items()})

    return wrapped


def _read_csv(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def read_csv(*arguments: Any, **options: Any) -> Any:
        squeeze = options.pop("squeeze", False)
        if options.pop("error_bad_lines", True) is False:
            options["on_bad_lines"] = "skip"
        if options.pop("delim_whitespace", False):
            options["sep"] = r"\s+"
        for name in ("warn_bad_lines", "infer_datetime_format", "mangle_dupe_cols", "keep_date_col"):
            options.pop(name, None)
        table = original(*arguments, **options)
        return table.squeeze("columns") if squeeze else table

    return read_csv


def _get_dummies(original: Callable[..., Any]) -> Callable[..., Any]:
    """Zeros and ones, not truth values, whose text XGBoost's own algorithm does not read."""

    @wraps(original)
    def get_dummies(*arguments: Any, **options: Any) -> Any:
        if options.get("dtype") is None and not asked_by_library():
            options["dtype"] = "uint8"
        return original(*arguments, **options)

    return get_dummies


def _write_through(pd: Any) -> None:
    """`table["a"].fillna(0, inplace=True)` and `table["a"][rows] = 0` change the table, as before 3.0."""

    def remembering(get: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(get)
        def wrapped(self: Any, key: Any) -> Any:
            found = get(self, key)
            if isinstance(found, pd.Series) and not asked_by_library():
                object.__setattr__(found, _PARENT, (weakref.ref(self), key))
            return found

        return wrapped

    for name in ("__getitem__", "__getattr__"):
        setattr(pd.DataFrame, name, remembering(getattr(pd.DataFrame, name)))

    def through(name: str) -> None:
        original = getattr(pd.Series, name)

        @wraps(original)
        def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
            result = original(self, *arguments, **options)
            parent, key = self.__dict__.get(_PARENT, (None, None))
            table = parent() if parent else None
            if table is not None and (options.get("inplace") or name == "__setitem__"):
                say("a column that was changed in place changes its table, as in pandas before 3.0")
                table[key] = self
            return result

        setattr(pd.Series, name, wrapped)

    for name in ("__setitem__", "fillna", "replace", "clip", "mask", "where", "interpolate"):
        through(name)
