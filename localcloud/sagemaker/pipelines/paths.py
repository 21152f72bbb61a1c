"""Paths into JSON documents, as property references and `Std:JsonGet` write them.

The grammar is `Member.Other['key with any character'][3]`, with an optional leading `$`.
"""

import re
from typing import Any

_TOKEN = re.compile(r"""\.?([^.\[\]'"]+)|\.?\[(?:'([^']*)'|"([^"]*)"|(\d+))\]""")

# A list whose items carry a name may be indexed by that name: Outputs['train'], FinalMetricDataList['rmse'].
_ITEM_NAMES = ("OutputName", "InputName", "ChannelName", "MetricName", "Name", "Key")


class PathError(ValueError):
    """A path that cannot be read, or that leads nowhere in a document."""


def parse_path(text: str) -> tuple[str | int, ...]:
    """Split a path into member names, keys and indexes.

    Example: `parse_path("Outputs['train'].S3Output[0]")` is `("Outputs", "train", "S3Output", 0)`.

    Raises:
        PathError: the text is empty or does not follow the grammar.
    """
    position = 1 if text.startswith("$") else 0
    parts: list[str | int] = []
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise PathError(f"cannot read {text!r} at {text[position:]!r}")
        name, single, double, index = match.groups()
        parts.append(
            int(index) if index is not None else next(p for p in (name, single, double) if p is not None)
        )
        position = match.end()
    if not parts:
        raise PathError("the path is empty")
    return tuple(parts)


def lookup(document: Any, path: str) -> Any:
    """The value at a path of a JSON document.

    Raises:
        PathError: there is nothing at that path; the message says where it ends and what is there.
    """
    value = document
    walked = ""
    for part in parse_path(path):
        value = _enter(value, part, walked or "the top")
        walked += f"[{part}]" if isinstance(part, int) else f".{part}" if walked else part
    return value


def _enter(value: Any, part: str | int, walked: str) -> Any:
    if isinstance(value, dict):
        if str(part) in value:
            return value[str(part)]
        raise PathError(f"{walked} has no {str(part)!r}, it has: {', '.join(map(str, value)) or 'nothing'}")
    if isinstance(value, list):
        if isinstance(part, int):
            if part < len(value):
                return value[part]
            raise PathError(f"{walked} has {len(value)} items, there is no [{part}]")
        for item in value:
            if isinstance(item, dict) and any(item.get(name) == part for name in _ITEM_NAMES):
                return item
        raise PathError(f"no item of {walked} is named {part!r}")
    raise PathError(f"{walked} is {value!r}, there is no {str(part)!r} in it")
