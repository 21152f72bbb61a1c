"""An alias with weights sends the other version its share of the requests, and metrics tell who answered.

MiniStack keeps the weights and invokes the first version alone. Its metrics are of the function as a whole,
and leave out what comes through function URLs, events and queues.
https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-view.html
"""

from __future__ import annotations

import contextvars
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_MOST_VERSIONS = 1  # beside the alias's own


@dataclass(frozen=True, slots=True)
class _Invocation:
    """`qualifier` is what was asked for, `version` what a weighted alias chose."""

    function: str
    qualifier: str | None
    version: str | None


_current: contextvars.ContextVar[_Invocation | None] = contextvars.ContextVar(
    "modelyard_invocation", default=None
)


class _Alias(dict[str, Any]):
    """Points at the version that was drawn for the present invocation, if one was."""

    def get(self, name: str, default: Any = None) -> Any:
        drawn = _current.get()
        if name == "FunctionVersion" and drawn is not None and drawn.version is not None:
            return drawn.version
        return super().get(name, default)


def apply(chance: Callable[[], float] = random.random) -> None:
    """Wrap both ways in which functions are looked up to be invoked, their metrics, and aliases' changes."""
    from ministack.services import lambda_svc

    invoke, look_up = lambda_svc._invoke, lambda_svc._get_func_record_for_ref

    def drawn(function: str, qualifier: str | None) -> _Invocation:
        aliases = (lambda_svc._functions.get(function) or {}).get("aliases", {})
        if qualifier not in aliases or not weights_of(aliases[qualifier]):
            return _Invocation(function, qualifier, None)
        if not isinstance(aliases[qualifier], _Alias):
            aliases[qualifier] = _Alias(aliases[qualifier])
        return _Invocation(function, qualifier, draw(aliases[qualifier], chance()))

    async def invoke_drawn(
        name: str,
        event: Any,
        headers: Mapping[str, str],
        path_qualifier: str | None = None,
        query_params: Mapping[str, Any] | None = None,
    ) -> Any:
        asked = path_qualifier or lambda_svc._qp_first(query_params or {}, "Qualifier")
        token = _current.set(drawn(name, asked or None))
        try:
            return await invoke(name, event, headers, path_qualifier, query_params)
        finally:
            _current.reset(token)

    def look_up_drawn(reference: str) -> Any:
        name, qualifier = lambda_svc._resolve_name_and_qualifier(reference)
        # What is looked up is invoked next, in this context or a copy of it.
        _current.set(drawn(name, qualifier))
        return look_up(reference)

    lambda_svc._invoke = invoke_drawn
    lambda_svc._get_func_record_for_ref = look_up_drawn
    _measure()
    _check_aliases()


def _measure() -> None:
    """Metrics of every execution, whatever led to it."""
    from ministack.services import cloudwatch, lambda_svc

    execute = lambda_svc._execute_function

    def execute_measured(function: Mapping[str, Any], event: Any) -> Any:
        config = function.get("config") or function
        # Then it calls itself again, in the function's region.
        if lambda_svc._function_config_scope_mismatch(config):
            return execute(function, event)
        begun = time.monotonic()
        result = execute(function, event)
        throttled = bool(result.get("throttle"))
        values = {
            "Invocations": (int(not throttled), "Count"),
            "Errors": (int(bool(result.get("error")) and not throttled), "Count"),
            "Throttles": (int(throttled), "Count"),
            "Duration": ((time.monotonic() - begun) * 1000, "Milliseconds"),
        }
        if throttled:
            del values["Duration"]
        for dimensions in _dimensions(str(config.get("FunctionName")), _current.get()):
            for metric, (value, unit) in values.items():
                cloudwatch.record_metric("AWS/Lambda", metric, value, unit, dimensions)
        return result

    def nothing(*_: Any, **__: Any) -> None:
        """Measured where it is executed."""

    lambda_svc._execute_function = execute_measured
    lambda_svc._emit_lambda_metrics = nothing


def _check_aliases() -> None:
    from ministack.core.responses import error_response_json
    from ministack.services import lambda_svc

    provision = lambda_svc._put_provisioned_concurrency

    def checked(change: Callable[..., Any]) -> Callable[..., Any]:
        def change_alias(function: str, *arguments: Any) -> Any:
            known = (lambda_svc._functions.get(function) or {}).get("versions", {})
            fault = routing_fault(arguments[-1].get("RoutingConfig") or {}, known)
            if fault:
                return error_response_json("InvalidParameterValueException", fault, 400)
            return change(function, *arguments)

        return change_alias

    def put_provisioned_concurrency(function: str, qualifier: str, data: Mapping[str, Any]) -> Any:
        alias = (lambda_svc._functions.get(function) or {}).get("aliases", {}).get(qualifier)
        if alias and weights_of(alias):
            message = "Alias with weights can not be used with Provisioned Concurrency"
            return error_response_json("InvalidParameterValueException", message, 400)
        return provision(function, qualifier, data)

    lambda_svc._create_alias = checked(lambda_svc._create_alias)
    lambda_svc._update_alias = checked(lambda_svc._update_alias)
    lambda_svc._put_provisioned_concurrency = put_provisioned_concurrency


def weights_of(alias: Mapping[str, Any]) -> Mapping[str, float]:
    """Version -> share of the requests, of the versions beside the alias's own."""
    routing = alias.get("RoutingConfig") or {}
    return routing.get("AdditionalVersionWeights") or {}


def draw(alias: Mapping[str, Any], chance: float) -> str:
    """The version that answers; `chance` is uniform in [0, 1)."""
    for version, weight in weights_of(alias).items():
        if chance < float(weight):
            return version
        chance -= float(weight)
    return str(alias["FunctionVersion"])


def _dimensions(function: str, asked: _Invocation | None) -> list[dict[str, str]]:
    """Of all functions, of the function, of the alias or version asked for, of a weighted alias's version."""
    found: list[dict[str, str]] = [{}, {"FunctionName": function}]
    if asked is not None and asked.function == function and asked.qualifier:
        resource = {"FunctionName": function, "Resource": f"{function}:{asked.qualifier}"}
        found.append(resource)
        if asked.version is not None:
            found.append({**resource, "ExecutedVersion": asked.version})
    return found


def routing_fault(routing: Mapping[str, Any], versions: Mapping[str, Any]) -> str | None:
    """What is wrong with an alias's weights, None if nothing."""
    weights = routing.get("AdditionalVersionWeights") or {}
    if len(weights) > _MOST_VERSIONS:
        return "Number of items in AdditionalVersionWeights cannot be greater than 1"
    for version, weight in weights.items():
        if version not in versions:
            return f"Function version {version} of an alias's weights does not exist"
        if not 0 <= float(weight) <= 1:
            return f"Weight {weight} of version {version} is not between 0 and 1"
    return None
