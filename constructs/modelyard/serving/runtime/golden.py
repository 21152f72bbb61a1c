"""Golden rows: inputs whose predictions were recorded when the model was trained, in its manifest.

They catch what no error reports: XGBoost 3.0 and older, for one, silently mispredict with models of 3.1.
"""

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from .errors import DeployError

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4_000_000
MAX_ROWS = 1000
_LARGEST = 1e300


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Rows, the predictions that they must give, and how far each number may be off (absolute, and relative
    to numbers above 1)."""

    instances: list[Any]
    predictions: list[Any]
    tolerance: float


def parse_manifest(data: bytes) -> Golden:
    """The golden rows of a manifest (schema 1). Raises DeployError when they are missing or malformed."""
    try:
        manifest = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DeployError(f"{MANIFEST} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != 1:
        raise DeployError(f"{MANIFEST} is not of schema 1")
    golden = manifest.get("golden")
    if not isinstance(golden, dict):
        raise DeployError(f"{MANIFEST} has no golden rows; no version serves unchecked")
    instances, predictions, tolerance = (golden.get(k) for k in ("instances", "predictions", "tolerance"))
    if not isinstance(instances, list) or not isinstance(predictions, list):
        raise DeployError(f"{MANIFEST}: golden.instances and golden.predictions must be lists")
    if not 1 <= len(instances) <= MAX_ROWS or len(instances) != len(predictions):
        counts = f"{len(instances)} rows and {len(predictions)} predictions"
        raise DeployError(f"{MANIFEST}: golden holds {counts}; give 1 to {MAX_ROWS}, one prediction each")
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance <= 1:
        raise DeployError(f"{MANIFEST}: golden.tolerance must be a number from 0 to 1")
    return Golden(instances=instances, predictions=predictions, tolerance=float(tolerance))


def compare(golden: Golden, predictions: Any) -> None:
    """Raises DeployError at the first prediction that is not the recorded one."""
    if not isinstance(predictions, list) or len(predictions) != len(golden.predictions):
        count = len(predictions) if isinstance(predictions, list) else "no list of"
        raise DeployError(f"{len(golden.instances)} golden rows gave {count} predictions")
    for row, (expected, actual) in enumerate(zip(golden.predictions, predictions, strict=True)):
        if not _close(expected, actual, golden.tolerance):
            raise DeployError(
                f"golden row {row}: predicted {_short(actual)}, recorded {_short(expected)}, "
                f"tolerance {golden.tolerance:g}; was it trained with another version than serves?"
            )


def _close(expected: Any, actual: Any, tolerance: float) -> bool:
    if _is_number(expected) and _is_number(actual):
        return bool(abs(expected - actual) <= tolerance * max(1.0, abs(expected)))
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(
            _close(e, a, tolerance) for e, a in zip(expected, actual, strict=True)
        )
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(
            _close(expected[key], actual[key], tolerance) for key in expected
        )
    return type(expected) is type(actual) and bool(expected == actual)


def _is_number(value: Any) -> bool:
    # The bound keeps out infinity, NaN and integers that no float holds.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _short(value: Any) -> str:
    return json.dumps(value)[:80]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
