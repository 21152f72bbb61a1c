"""NumPy: names removed in 1.24 and 2.0, and `np.split` of tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

from . import asked_by_library, say


def names(np: ModuleType) -> dict[str, Any]:
    """What each removed name stood for.

    https://numpy.org/doc/stable/release/1.24.0-notes.html
    https://numpy.org/doc/stable/numpy_2_0_migration_guide.html
    """
    return {
        **{"float": float, "int": int, "object": object, "str": str, "complex": complex, "unicode": str},
        **{"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "string_": np.bytes_},
        **{"NaN": np.nan, "Inf": np.inf, "Infinity": np.inf, "infty": np.inf, "PINF": np.inf},
        **{"NINF": -np.inf, "alltrue": np.all, "sometrue": np.any, "product": np.prod},
        **{"cumproduct": np.cumprod, "trapz": np.trapezoid, "round_": np.round, "mat": np.asmatrix},
        "asfarray": lambda a, dtype=np.float64: np.asarray(a, dtype=dtype),
        "asscalar": lambda a: a.item(),
        "in1d": lambda a, b, **options: np.isin(np.ravel(a), b, **options),
        "msort": lambda a: np.sort(a, axis=0),
    }


def patch(np: ModuleType) -> None:
    """Put them back, for scripts alone: libraries decide by what a NumPy has."""
    removed, unknown = names(np), np.__getattr__

    def found(name: str) -> Any:
        if name not in removed or asked_by_library():
            return unknown(name)
        say(f"np.{name} is no more in NumPy {np.__version__}; it stands for what it was")
        return removed[name]

    np.__getattr__ = found  # type: ignore[method-assign]
    for name in ("split", "array_split"):
        setattr(np, name, _of_tables(np, getattr(np, name)))


def _of_tables(np: ModuleType, split: Callable[..., Any]) -> Callable[..., Any]:
    """Tables in, tables out, as pandas below 3 had it."""

    @wraps(split)
    def wrapped(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
        if not hasattr(ary, "iloc") or axis != 0:
            return split(ary, indices_or_sections, axis)
        return [ary.iloc[places] for places in split(np.arange(len(ary)), indices_or_sections)]

    return wrapped
