"""What libraries had when AWS's images were made, for scripts that still ask for it.

Images hold libraries of their time, containers here those of today. What was renamed or removed meanwhile,
and is asked for by published scripts, is put back when its module is imported. A line in the log says which.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# By the module after whose import it happens: where the function for it lies.
_PATCHES = {
    "numpy": "arrays",
    "pandas": "frames",
    "sklearn.base": "estimators",
    "sklearn.calibration": "estimators",
    "sklearn.cluster": "estimators",
    "sklearn.ensemble": "estimators",
    "sklearn.externals": "estimators",
    "sklearn.impute": "estimators",
    "sklearn.linear_model": "estimators",
    "sklearn.metrics": "estimators",
    "sklearn.model_selection": "estimators",
    "sklearn.preprocessing": "estimators",
    "xgboost": "boosting",
}
_said: set[str] = set()


def say(text: str) -> None:
    """A line in the log, once a process."""
    if text not in _said:
        _said.add(text)
        sys.stdout.write(f"[local cloud] {text}\n")
        sys.stdout.flush()


def asked_by_library(depth: int = 2) -> bool:
    """Whether the caller's caller is an installed library, which must see what it was made for."""
    return "site-packages" in sys._getframe(depth).f_code.co_filename


class _Finder(MetaPathFinder):
    """Lets the module be found as ever, and adds to it once it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _PATCHES:
            return None
        found = None
        for finder in sys.meta_path:
            if finder is not self and (found := finder.find_spec(name, path, target)) is not None:
                break
        if found is None or found.loader is None:
            return found
        load = found.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            patch: Callable[[ModuleType], None] = importlib.import_module(
                f"{__name__}.{_PATCHES[name]}"
            ).patch
            patch(module)

        # On the loader, not in place of it: who asks the loader for sources or resources finds its own.
        found.loader.exec_module = exec_module  # type: ignore[method-assign]
        return found


def install() -> None:
    """From now on; modules that are loaded already stay as they are."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
