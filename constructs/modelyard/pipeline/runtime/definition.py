"""From the stored definition to the text that SageMaker gets."""

import hashlib
import json
from typing import Any, NoReturn

from .bundle import DEFINITION
from .checks import check
from .errors import PipelineError
from .parameters import set_defaults
from .placeholders import substitute
from .request import Desired

# CreatePipeline takes at most this many characters.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreatePipeline.html
MAX_CHARACTERS = 1_048_576
# Definitions nest some ten levels; steps in branches of branches add four each.
_MAX_DEPTH = 200


def render(stored: bytes, desired: Desired) -> str:
    """The definition ready for CreatePipeline; the same input gives the same text.

    Raises PipelineError, naming step or parameter, for whatever SageMaker would refuse or choke on later.
    """
    digest = hashlib.sha256(stored).hexdigest()
    place = f"{DEFINITION} of s3://{desired.bucket}/{desired.key}"
    if digest != desired.sha256:
        raise PipelineError(
            f"{place} has SHA-256 {digest}, the template expects {desired.sha256}; deploy again"
        )
    try:
        definition = _parse(stored, place)
        check(definition)
        definition = set_defaults(substitute(definition, desired.values), desired.defaults)
        text = json.dumps(definition, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError as error:
        raise PipelineError(f"{place} is nested too deeply") from error
    if len(text) > MAX_CHARACTERS:
        raise PipelineError(f"the definition has {len(text)} characters; SageMaker takes {MAX_CHARACTERS}")
    return text


def _parse(stored: bytes, place: str) -> dict[str, Any]:
    try:
        definition = json.loads(stored, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except ValueError as error:
        raise PipelineError(f"{place} is not a JSON document: {error}") from error
    if not isinstance(definition, dict):
        raise PipelineError(f"{place} holds no JSON object")
    if _deeper_than(definition, _MAX_DEPTH):
        raise PipelineError(f"{place} is nested too deeply")
    return definition


def _deeper_than(value: Any, limit: int) -> bool:
    """Level by level, since how deep Python recurses differs from process to process."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return result
