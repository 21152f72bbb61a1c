"""Constructs of which a stack has one."""

from __future__ import annotations

import functools
from typing import Any, Self

from aws_cdk import Stack
from constructs import Construct

from modelyard.arns import inherit_stack, stack_of


class StackSingleton(Construct):
    """What the constructs of a stack share, made when the first of them asks for it.

    A subclass takes a scope and an id, and nothing else; its id is its name.

    Example:
        >>> provider = PipelineProvider.of(self)
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)

    @classmethod
    def of(cls, scope: Construct) -> Self:
        """The one in the stack that holds `scope`."""
        the_one: Self = _of(cls, stack_of(scope))
        return the_one


@functools.cache
def _of(kind: type[StackSingleton], stack: Stack) -> Any:
    return kind(stack, kind.__name__)
