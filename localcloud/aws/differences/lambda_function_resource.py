"""A function of a template gets its reserved concurrency, and takes its processes along when it goes.

MiniStack's `AWS::Lambda::Function` ignores the one and leaves the others running.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-function.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Properties = Mapping[str, Any]


def apply() -> None:
    """Wrap MiniStack's handlers of the type."""
    from ministack.services import lambda_svc
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    create, update, delete = handlers["create"], handlers["update"], handlers["delete"]

    def reserve(name: str, properties: Properties) -> None:
        reserved = properties.get("ReservedConcurrentExecutions")
        lambda_svc._functions[name]["concurrency"] = None if reserved is None else int(reserved)

    def create_function(logical_id: str, properties: Properties, stack_name: str) -> Any:
        name, attributes = create(logical_id, properties, stack_name)
        reserve(name, properties)
        return name, attributes

    def update_function(*arguments: Any) -> Any:
        name, attributes = update(*arguments)
        _physical_id, old, new = arguments[:3]
        if new.get("ReservedConcurrentExecutions") != old.get("ReservedConcurrentExecutions"):
            reserve(name, new)
        return name, attributes

    def delete_function(physical_id: str, properties: Properties) -> None:
        lambda_svc.invalidate_worker(physical_id)
        delete(physical_id, properties)

    handlers.update(create=create_function, update=update_function, delete=delete_function)
