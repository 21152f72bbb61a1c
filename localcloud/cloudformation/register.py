"""Resource types that MiniStack's CloudFormation lacks.

Its engine does what CloudFormation does around them: order, `Ref` and `Fn::GetAtt`, change sets,
replacement with the old resource deleted in the clean-up phase, rollback, deletion policies.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-update-behaviors.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Properties = Mapping[str, Any]
# What Ref returns, and what Fn::GetAtt finds by name.
Created = tuple[str, dict[str, Any]]

_blocking: set[str] = set()


class ResourceType(Protocol):
    """How resources of one type come, change and go; an exception fails the operation with its text."""

    @property
    def replace_on(self) -> frozenset[str]:
        """Properties whose documentation says "Update requires: Replacement"."""
        ...

    def create(self, logical_id: str, properties: Properties, stack_name: str, /) -> Created:
        """Create the resource and wait until it is stable."""
        ...

    def update(self, physical_id: str, old: Properties, new: Properties, stack_name: str, /) -> Created:
        """Change it in place; never called when a property of `replace_on` changed."""
        ...

    def delete(self, physical_id: str, properties: Properties, /) -> None:
        """Delete it; one that is gone already is no error."""
        ...


def register_type(
    name: str, handler: ResourceType, *, name_property: str | None = None, tags: bool = True
) -> None:
    """Let templates use a type, for example `AWS::SageMaker::Model`.

    Handlers may block: they run on a thread of their own, not on the server's event loop.

    Args:
        handler: see `ResourceType`.
        name_property: the property that names the resource, if it has one. CloudFormation refuses to
            replace a resource whose template names it and keeps the name.
        tags: whether the type has a property `Tags`, a list, where the tags of the stack go too.

    Example:
        >>> register_type("AWS::SageMaker::Model", ModelType(sagemaker), name_property="ModelName")
    """
    from ministack.services.cloudformation import provisioners

    provisioners._RESOURCE_HANDLERS[name] = {
        "create": handler.create,
        "update": handler.update,
        "delete": handler.delete,
    }
    provisioners._REPLACING_PROPERTIES[name] = tuple(sorted(handler.replace_on))
    if tags:
        provisioners._STACK_TAG_PROPERTY[name] = ("Tags", "list")
    if name_property is not None:
        provisioners._CUSTOM_NAME_REPLACEMENT[name] = {"name": name_property}
    run_on_thread(name)


def run_on_thread(name: str) -> None:
    """Let the handlers of a type block: they run on a thread of their own from now on."""
    from ministack.services.cloudformation import stacks

    if not _blocking:
        _install(stacks)
    _blocking.add(name)


def _install(stacks: Any) -> None:
    original = stacks._runs_on_worker_thread

    def runs_on_worker_thread(resource_type: str) -> bool:
        return resource_type in _blocking or bool(original(resource_type))

    stacks._runs_on_worker_thread = runs_on_worker_thread


def physical_name(stack_name: str, logical_id: str, max_length: int) -> str:
    """The name of a resource that its template does not name: stack, logical id and a suffix.

    Call it within `create` only: a replacement then gets a new name.

    Args:
        max_length: of the service, for example 63 for SageMaker.
    """
    from ministack.services.cloudformation import provisioners

    return str(provisioners._physical_name(stack_name, logical_id, max_len=max_length))
