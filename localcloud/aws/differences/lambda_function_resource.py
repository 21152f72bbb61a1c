"""A function of a template gets its reserved concurrency and its dead-letter queue, and takes its processes
along when it goes.

MiniStack's `AWS::Lambda::Function` ignores the first two and leaves the others running.
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

    def set_dead_letters(name: str, properties: Properties) -> None:
        config = lambda_svc._functions[name]["config"]
        target = (properties.get("DeadLetterConfig") or {}).get("TargetArn")
        if target is None:
            config.pop("DeadLetterConfig", None)
            return
        _check_dead_letters(config, str(target))
        config["DeadLetterConfig"] = {"TargetArn": target}

    def create_function(logical_id: str, properties: Properties, stack_name: str) -> Any:
        name, attributes = create(logical_id, properties, stack_name)
        reserve(name, properties)
        try:
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


def _check_dead_letters(config: dict[str, Any], target: str) -> None:
    from localcloud.aws.differences import execution_role

    service = target.split(":")[2] if target.count(":") >= 5 else ""
    operation = {"sqs": "SendMessage", "sns": "Publish"}.get(service)
    if operation is None:
        raise ValueError(f"{target} is neither a queue nor a topic")
    if not execution_role.may(config, f"{service}:{operation}", target):
        raise ValueError(
            f"The provided execution role does not have permissions to call {operation} on {service.upper()}"
        )
