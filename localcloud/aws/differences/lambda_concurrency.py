"""Concurrency is reserved and provisioned within the account's and the function's bounds.

MiniStack takes any numbers, provisions for `$LATEST`, and lets who names a version or an alias past what is
reserved.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of an account's 1,000 by default, so many stay for functions without a reservation.
_ACCOUNT, _UNRESERVED = 1000, 100


def apply() -> None:
    """Wrap what sets either; templates' aliases come this way, too."""
    from ministack.core.responses import error_response_json
    from ministack.services import lambda_svc

    reserve, provision = lambda_svc._put_function_concurrency, lambda_svc._put_provisioned_concurrency
    reserved = lambda_svc._reserved_concurrency

    def put_function_concurrency(name: str, data: Mapping[str, Any]) -> Any:
        fault = reservation_fault(name, int(data.get("ReservedConcurrentExecutions", 0)))
        if fault is not None:
            return error_response_json("InvalidParameterValueException", fault, 400)
        return reserve(name, data)

    def put_provisioned_concurrency(name: str, qualifier: str, data: Mapping[str, Any]) -> Any:
        fault = _provision_fault(name, qualifier, int(data.get("ProvisionedConcurrentExecutions", 0)))
        if fault is not None:
            return error_response_json("InvalidParameterValueException", fault, 400)
        return provision(name, qualifier, data)

    def reserved_concurrency(record: Mapping[str, Any], config: Mapping[str, Any]) -> int | None:
        # A version's record does not hold it.
        found: int | None = reserved(lambda_svc._functions.get(config.get("FunctionName")) or record, config)
        return found

    lambda_svc._reserved_concurrency = reserved_concurrency
    lambda_svc._put_function_concurrency = put_function_concurrency
    lambda_svc._put_provisioned_concurrency = put_provisioned_concurrency


def reservation_fault(name: str, reserved: int) -> str | None:
    """What is wrong with reserving so much for a function, in Lambda's words; None if nothing."""
    from ministack.services import lambda_svc

    others = sum(
        function.get("concurrency") or 0 for other, function in lambda_svc._functions.items() if other != name
    )
    if others + reserved > _ACCOUNT - _UNRESERVED:
        return (
            "Specified ReservedConcurrentExecutions for function decreases account's "
            f"UnreservedConcurrentExecution below its minimum value of [{_UNRESERVED}]."
        )
    return None


def _provision_fault(name: str, qualifier: str, provisioned: int) -> str | None:
    from ministack.services import lambda_svc

    if qualifier in ("", "$LATEST"):
        return "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    function = lambda_svc._functions.get(name) or {}
    reserved, kept = function.get("concurrency"), function.get("provisioned_concurrency") or {}
    others = sum(
        config["RequestedProvisionedConcurrentExecutions"]
        for other, config in kept.items()
        if other != qualifier
    )
    if reserved is not None and others + provisioned > reserved:
        return (
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution "
            "for function"
        )
    return None
