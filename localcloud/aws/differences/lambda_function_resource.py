"""A function of a template gets its reserved concurrency and its dead-letter queue, and takes its processes
along when it goes.

MiniStack's `AWS::Lambda::Function` ignores the first two and leaves the others running.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-function.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.aws.differences.failure_targets import dead_letters_fault
from localcloud.aws.differences.lambda_concurrency import reservation_fault

Properties = Mapping[str, Any]


def apply() -> None:
    """Wrap MiniStack's handlers of the type."""
    from ministack.services import lambda_svc
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    create, update, delete = handlers["create"], handlers["update"], handlers["delete"]

    def reserve(name: str, properties: Properties) -> None:
        reserved = properties.get("ReservedConcurrentExecutions")
        fault = None if reserved is None else reservation_fault(name, int(reserved))
        if fault is not None:
            raise ValueError(f"{fault} (Service: Lambda, Status Code: 400)")
        lambda_svc._functions[name]["concurrency"] = None if reserved is None else int(reserved)

    def set_dead_letters(name: str, properties: Properties) -> None:
        config = lambda_svc._functions[name]["config"]
        target = (properties.get("DeadLetterConfig") or {}).get("TargetArn")
        if target is None:
            config.pop("DeadLetterConfig", None)
            return
        if fault := dead_letters_fault(config, str(target)):
            raise ValueError(fault)
        config["DeadLetterConfig"] = {"TargetArn": target}

    def create_function(logical_id: str, properties: Properties, stack_name: str) -> Any:
        name, attributes = create(logical_id, properties, stack_name)
        try:
            reserve(name, properties)
            set_dead_letters(name, properties)
        except ValueError:
            delete(name, properties)
            raise
        return name, attributes

    def update_function(*arguments: Any) -> Any:
        name, attributes = update(*arguments)
        physical_id, old, new = arguments[:3]
        if new.get("ReservedConcurrentExecutions") != old.get("ReservedConcurrentExecutions"):
            reserve(name, new)
        if new.get("DeadLetterConfig") != old.get("DeadLetterConfig") or name != physical_id:
            set_dead_letters(name, new)
        return name, attributes

    def delete_function(physical_id: str, properties: Properties) -> None:
        lambda_svc.invalidate_worker(physical_id)
        delete(physical_id, properties)

    handlers.update(create=create_function, update=update_function, delete=delete_function)
