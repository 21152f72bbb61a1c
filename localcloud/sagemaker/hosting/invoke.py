"""One invocation: from the endpoint's fleet to a container and back.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.context import Cloud
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.hosting.captures import Exchange
from localcloud.sagemaker.hosting.fleet import Fleet, Variant
from localcloud.sagemaker.hosting.http import Answer, Unreachable
from localcloud.sagemaker.hosting.instance import Instance
from localcloud.sagemaker.hosting.metrics import InvocationMetrics
from localcloud.sagemaker.hosting.multimodel import LoadError, ModelCache
from localcloud.sagemaker.hosting.server import ModelServer
from localcloud.sagemaker.hosting.traffic import Traffic

MAX_BODY = 6_291_456
MODEL_SECONDS = 60.0
_CUSTOM = "X-Amzn-SageMaker-Custom-Attributes"
_TARGET = "X-Amzn-SageMaker-Target-Model"
_FORWARDED = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": _CUSTOM,
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
}
_UNSUPPORTED = {
    "TargetContainerHostname": "endpoints of several containers",
    "InferenceComponentName": "inference components",
    "EnableExplanations": "online explainability",
    "SessionId": "stateful sessions",
}


@dataclass(frozen=True, slots=True)
class _Reply:
    """What the container said, and how long it took, in seconds."""

    answer: Answer
    seconds: float


class Invoker:
    """Sends requests of one cloud's callers to its endpoints' containers."""

    def __init__(self, cloud: Cloud, metrics: InvocationMetrics) -> None:
        self._cloud, self._metrics = cloud, metrics

    def invoke(
        self, endpoint: str, traffic: Callable[[], Traffic | None], request: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Answer one InvokeEndpoint.

        Args:
            endpoint: its name.
            traffic: the current one, None when the endpoint is gone.
            request: members of InvokeEndpoint.

        Returns:
            Body, ContentType, CustomAttributes, InvokedProductionVariant.

        Raises:
            ServiceError: ValidationError, ModelError (the container's own failure), ServiceUnavailable.
        """
        began = time.monotonic()
        for member, what in _UNSUPPORTED.items():
            if member in request:
                raise ServiceError("ValidationError", f"{member}: the local SageMaker does not run {what}.")
        body = request.get("Body", b"")
        if len(body) > MAX_BODY:
            raise ServiceError(
                "ValidationError", f"The body has {len(body)} bytes; at most {MAX_BODY} are allowed.", 413
            )
        headers = {header: request[member] for member, header in _FORWARDED.items() if member in request}
        variant, instance, server, cache = self._find(endpoint, traffic, request, began)
        try:
            reply = self._send(endpoint, variant, server, cache, body, headers, request.get("TargetModel"))
        except Unreachable as error:
            # Nobody tries again for the caller: AWS promises no such thing.
            self._count(endpoint, variant, 500, 0.0, began)
            raise self._no_answer(endpoint, instance.stream) from error
        except TimeoutError as error:
            self._count(endpoint, variant, 500, MODEL_SECONDS, began)
            raise self._failed(
                endpoint,
                instance.stream,
                0,
                "Your invocation timed out while waiting for a response from container primary. Review "
                "the latency metrics for each container in Amazon CloudWatch, resolve the issue and try "
                "again.",
            ) from error
        except LoadError as error:
            self._count(endpoint, variant, error.status, 0.0, began)
            text = error.body.decode("utf-8", "replace")
            raise self._failed(endpoint, instance.stream, error.status, text) from error
        finally:
            instance.release()
        self._count(endpoint, variant, reply.answer.status, reply.seconds, began)
        result = self._result(endpoint, variant, instance, reply.answer)
        if variant.capture is not None:
            variant.capture.offer(_exchange(request, body, result))
        return result

    def _find(
        self, endpoint: str, traffic: Callable[[], Traffic | None], request: Mapping[str, Any], began: float
    ) -> tuple[Variant, Instance, ModelServer, ModelCache | None]:
        """An instance that takes the request; `release` it afterwards."""
        seen = None
        while (current := traffic()) is not None:
            for fleet in current.order():
                variant = self._variant(endpoint, fleet, request)
                for instance in variant.candidates():
                    if taken := instance.acquire():
                        return variant, instance, *taken
            # Between the look and the taking, its fleet may have been replaced.
            if current is seen or variant.trial:
                self._count(endpoint, variant, 500, 0.0, began)
                raise self._no_answer(endpoint, variant.spec.name)
            seen = current
        raise ServiceError(
            "ValidationError", f"Endpoint {endpoint} of account {self._cloud.account} not found."
        )

    def _variant(self, endpoint: str, fleet: Fleet, request: Mapping[str, Any]) -> Variant:
        wanted = request.get("TargetVariant")
        variant = fleet.variants.get(wanted) if wanted else fleet.choose()
        if variant is None:
            what = f"Variant {wanted} not found for Request" if wanted else "Every variant has the weight 0"
            raise ServiceError("ValidationError", f"{what} (endpoint {endpoint}).")
        target = request.get("TargetModel")
        if target and not variant.spec.multi_model:
            raise ServiceError(
                "ValidationError",
                f"Endpoint {endpoint} is not a multi-model endpoint and does not support target model "
                "header.",
            )
        if not target and variant.spec.multi_model:
            raise ServiceError(
                "ValidationError", f"Endpoint {endpoint} is a multi-model endpoint; name a TargetModel."
            )
        return variant

    def _send(
        self,
        endpoint: str,
        variant: Variant,
        server: ModelServer,
        cache: ModelCache | None,
        body: bytes,
        headers: dict[str, str],
        target: str | None,
    ) -> _Reply:
        if cache is None or target is None:
            return _post(server, "/invocations", body, headers)
        headers = {**headers, _TARGET: target}
        for _ in range(2):
            with cache.use(target) as (name, hit):
                reply = _post(server, f"/models/{name}/invoke", body, headers)
            self._metrics.multi_model(endpoint, variant.spec.name, hit=hit)
            # A server may have dropped a model that it held before; a fresh 404 is the model's own.
            if reply.answer.status != 404 or not hit:
                break
            cache.forget(target)
        return reply

    def _count(self, endpoint: str, variant: Variant, status: int, seconds: float, began: float) -> None:
        self._metrics.invoked(
            endpoint,
            variant.spec.name,
            config=variant.spec.config if variant.guarded else "",
            status=status,
            model_seconds=seconds,
            total_seconds=time.monotonic() - began,
            instances=len(variant.instances),
        )

    def _result(self, endpoint: str, variant: Variant, instance: Instance, answer: Answer) -> dict[str, Any]:
        if answer.status >= 300:
            text = answer.body.decode("utf-8", "replace")
            raise self._failed(endpoint, instance.stream, answer.status, text)
        result = {
            "Body": answer.body,
            "ContentType": answer.headers.get("content-type", "application/octet-stream"),
            "InvokedProductionVariant": variant.spec.name,
        }
        if attributes := answer.headers.get(_CUSTOM.lower()):
            result["CustomAttributes"] = attributes
        return result

    def _no_answer(self, endpoint: str, stream: str) -> ServiceError:
        """In AWS's words, as quoted in https://github.com/aws/amazon-sagemaker-examples/issues/2815."""
        return self._failed(
            endpoint,
            stream,
            0,
            f"Amazon SageMaker could not get a response from the {endpoint} endpoint. This can occur when "
            "CPU or memory utilization is high. To check your utilization, see Amazon CloudWatch. To fix "
            "this problem, use an instance type with more CPU capacity or memory.",
        )

    def _failed(self, endpoint: str, stream: str, status: int, text: str) -> ServiceError:
        """ModelError in AWS's words; status 0 stands for no answer in time."""
        region, account = self._cloud.region, self._cloud.account
        group = f"/aws/sagemaker/Endpoints/{endpoint}"
        side = "client" if 400 <= status < 500 else "server"
        return ServiceError(
            "ModelError",
            f'Received {side} error ({status}) from primary with message "{text[:2000]}". See '
            f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
            f"#logEventViewer:group={group} in account {account} for more information.",
            424,
            {
                "OriginalStatusCode": status,
                "OriginalMessage": text[:2000],
                "LogStreamArn": f"arn:aws:logs:{region}:{account}:log-group:{group}:log-stream:{stream}",
            },
        )


def _exchange(request: Mapping[str, Any], body: bytes, result: Mapping[str, Any]) -> Exchange:
    return Exchange(
        moment=time.time(),
        body=body,
        content_type=request.get("ContentType", ""),
        answer=result["Body"],
        answer_type=result["ContentType"],
        inference_id=request.get("InferenceId", ""),
        custom_attributes=request.get("CustomAttributes", ""),
    )


def _post(server: ModelServer, path: str, body: bytes, headers: Mapping[str, str]) -> _Reply:
    began = time.monotonic()
    answer = server.request("POST", path, body=body, headers=headers, timeout=MODEL_SECONDS)
    return _Reply(answer, time.monotonic() - began)
