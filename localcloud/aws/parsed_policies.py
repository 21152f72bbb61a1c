"""A policy is parsed once, not at every request.

MiniStack parses each document of the caller's whenever it decides. What a text says does not change, so
nothing has to be forgotten when IAM is: a changed policy is another text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

_KEPT = 1024


def apply() -> None:
    """Wrap the parser of policies."""
    from ministack.core import iam_evaluator

    parse = iam_evaluator.parse_policy_document
    parse_text = lru_cache(maxsize=_KEPT)(parse)

    def parse_policy_document(document: Any) -> Any:
        # A list of its own each: whoever adds to it adds for himself.
        return list(parse_text(document)) if isinstance(document, str) else parse(document)

    iam_evaluator.parse_policy_document = parse_policy_document
