"""ARNs in the partition, region and account of a stack, asking Node for those once a stack."""

from __future__ import annotations

import functools
from weakref import WeakKeyDictionary

from aws_cdk import Stack
from constructs import Construct

_stacks: WeakKeyDictionary[Construct, Stack] = WeakKeyDictionary()


def stack_of(construct: Construct) -> Stack:
    """The stack that holds `construct`."""
    if isinstance(construct, Stack):
        return construct
    if construct not in _stacks:
        _stacks[construct] = Stack.of(construct)
    return _stacks[construct]


def inherit_stack(construct: Construct, scope: Construct) -> Stack:
    """The stack of `scope`, in which `construct` was just made: nobody needs to ask Node for that one's.

    Example:
        >>> super().__init__(scope, construct_id)
        >>> self._stack = inherit_stack(self, scope)
    """
    _stacks[construct] = stack_of(scope)
    return _stacks[construct]


def arn_in_stack(scope: Construct, service: str, resource: str) -> str:
    """The ARN of a resource that has no construct here, in the stack of `scope`.

    Args:
        scope: Anything in the stack.
        service: As in ARNs, for example `sagemaker`.
        resource: What stands after the account, for example `model-package-group/loans`.

    Example:
        >>> arn_in_stack(stack, "sagemaker", "pipeline/refinance-interest-rate")

    See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    """
    partition, region, account = _place(stack_of(scope))
    return f"arn:{partition}:{service}:{region}:{account}:{resource}"


def partition_of(scope: Construct) -> str:
    """The partition of the stack of `scope`, for ARNs that have neither region nor account, as S3's."""
    return _place(stack_of(scope))[0]


def region_of(scope: Construct) -> str:
    """The region of the stack of `scope`."""
    return _place(stack_of(scope))[1]


def account_of(scope: Construct) -> str:
    """The account of the stack of `scope`."""
    return _place(stack_of(scope))[2]


@functools.cache
def _place(stack: Stack) -> tuple[str, str, str]:
    return stack.partition, stack.region, stack.account
