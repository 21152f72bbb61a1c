"""Stack operations that a stop of the cloud cut off."""

from __future__ import annotations

_FAILED = {
    # Not CREATE_FAILED, which stands for a creation that was asked to pause on failure: from this state the
    # CDK CLI deletes the stack and makes it anew, without asking.
    "CREATE_IN_PROGRESS": "ROLLBACK_FAILED",
    "UPDATE_IN_PROGRESS": "UPDATE_FAILED",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_FAILED",
    "DELETE_IN_PROGRESS": "DELETE_FAILED",
    "ROLLBACK_IN_PROGRESS": "ROLLBACK_FAILED",
    "UPDATE_ROLLBACK_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
}
_REASON = "The local cloud was stopped during this operation; delete the stack or deploy it again."


def fail() -> None:
    """Say so on the stacks just restored: nobody works on them any more, and clients would wait for ever."""
    from ministack.services.cloudformation import _stacks

    for stack in _stacks._data.values():
        failed = _FAILED.get(stack.get("StackStatus", ""))
        if failed is not None:
            stack["StackStatus"] = failed
            stack["StackStatusReason"] = _REASON
