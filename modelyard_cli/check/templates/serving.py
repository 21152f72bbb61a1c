"""SageMaker models, endpoint configurations and endpoints.

https://docs.aws.amazon.com/sagemaker/latest/dg/create-multi-model-endpoint.html
https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from localcloud.sagemaker.shapes import compiled, input_shape
from modelyard_cli.check.definitions.instances import _ALGORITHM_NAMES, _ALGORITHMS, _IMAGE, _NVME, GPU
from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.model import Resource, Template, known, number, objects, opaque, part

CONFIG, ENDPOINT, MODEL = (
    "AWS::SageMaker::EndpointConfig",
    "AWS::SageMaker::Endpoint",
    "AWS::SageMaker::Model",
)
_OPERATIONS = {
    MODEL: "CreateModel",
    CONFIG: "CreateEndpointConfig",
    ENDPOINT: "CreateEndpoint",
    "AWS::SageMaker::ModelPackageGroup": "CreateModelPackageGroup",
    "AWS::SageMaker::ModelPackage": "CreateModelPackage",
    "AWS::SageMaker::MonitoringSchedule": "CreateMonitoringSchedule",
    "AWS::SageMaker::FeatureGroup": "CreateFeatureGroup",
    "AWS::SageMaker::InferenceComponent": "CreateInferenceComponent",
}
_MEMORY = {1024, 2048, 3072, 4096, 5120, 6144}


def containers(model: Resource) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, container) of a model."""
    if isinstance(model.properties.get("PrimaryContainer"), dict):
        yield "PrimaryContainer", model.properties["PrimaryContainer"]
    for index, container in enumerate(objects(model.properties.get("Containers"))):
        yield f"Containers[{index}]", container


def production_variants(config: Resource) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, variant) of an endpoint configuration, shadow variants too."""
    for member in ("ProductionVariants", "ShadowProductionVariants"):
        for index, variant in enumerate(objects(config.properties.get(member))):
            yield f"{member}[{index}]", variant


@template_rule(
    "MYT201",
    "A multi-model container whose ModelDataUrl is no prefix",
    "Give s3://BUCKET/PREFIX/ with the slash at its end: models are loaded by their name below it.",
)
def _multi_model(template: Template) -> Hits:
    for model in template.of(MODEL):
        for path, container in containers(model):
            url = container.get("ModelDataUrl")
            if container.get("Mode") != "MultiModel":
                continue
            if url is None and "ModelDataSource" not in container:
                yield model.at(path), "has Mode MultiModel, but no ModelDataUrl"
            elif isinstance(url, str) and not opaque(url) and not url.endswith("/"):
                yield model.at(f"{path}.ModelDataUrl"), f"{url} does not end in /"
            if len(objects(model.properties.get("Containers"))) > 1:
                yield model.at(path), "a pipeline of containers takes no multi-model container"


@template_rule(
    "MYT202",
    "A single model whose ModelDataUrl is no archive",
    "Give the .tar.gz, or Mode MultiModel if it is a prefix with many.",
)
def _single_model(template: Template) -> Hits:
    for model in template.of(MODEL):
        for path, container in containers(model):
            url = container.get("ModelDataUrl")
            single = container.get("Mode", "SingleModel") == "SingleModel"
            if single and isinstance(url, str) and not opaque(url) and re.search(r"/$", url):
                yield model.at(f"{path}.ModelDataUrl"), f"{url} is a prefix, but Mode is not MultiModel"
            elif single and isinstance(url, str) and known(url[-8:]) and not url.endswith(".tar.gz"):
                yield model.at(f"{path}.ModelDataUrl"), f"{url} is no .tar.gz"
            if single and container.get("MultiModelConfig"):
                yield model.at(f"{path}.MultiModelConfig"), "is for Mode MultiModel only"
            if url and container.get("ModelDataSource"):
                yield model.at(path), "has both ModelDataUrl and ModelDataSource"
            if url and container.get("ModelPackageName"):
                yield (
                    model.at(path),
                    "a model package brings its own data: ModelDataUrl beside ModelPackageName",
                )


@template_rule("MYT203", "An S3 address that is none", "Write s3://BUCKET/KEY.")
def _addresses(template: Template) -> Hits:
    for model in template.of(MODEL):
        for path, container in containers(model):
            yield from _s3(model, f"{path}.ModelDataUrl", container.get("ModelDataUrl"))
    for config in template.of(CONFIG):
        yield from _s3(
            config,
            "DataCaptureConfig.DestinationS3Uri",
            part(config.properties, "DataCaptureConfig", "DestinationS3Uri"),
        )
        yield from _s3(
            config,
            "AsyncInferenceConfig.OutputConfig.S3OutputPath",
            part(config.properties, "AsyncInferenceConfig", "OutputConfig", "S3OutputPath"),
        )


def _s3(resource: Resource, path: str, url: Any) -> Hits:
    if isinstance(url, str) and not url.startswith("${") and not re.match(r"(s3|https)://[^/]+(/|$)", url):
        yield resource.at(path), f"{url} is no S3 address"
    elif isinstance(url, str) and ("arn:" in url or "//" in url.partition("://")[2]):
        yield resource.at(path), f"{url} holds an ARN or an empty part"


@template_rule(
    "MYT204",
    "Variants that share no traffic, or have one name",
    "Give each a name of its own, and at least one a weight above 0.",
)
def _weights(template: Template) -> Hits:
    for config in template.of(CONFIG):
        variants = objects(config.properties.get("ProductionVariants"))
        weights = [number(v.get("InitialVariantWeight", 1)) for v in variants]
        if weights and all(w is not None and w <= 0 for w in weights):
            yield config.at("ProductionVariants"), "every InitialVariantWeight is 0: no request is routed"
        names = [v.get("VariantName") for v in variants]
        for name in {n for n in names if n is not None and names.count(n) > 1}:
            yield config.at("ProductionVariants"), f"two variants are called {name!r}"
        if any(w is not None and w < 0 for w in weights):
            yield config.at("ProductionVariants"), "a weight is negative"
        shadows = objects(config.properties.get("ShadowProductionVariants"))
        if shadows and (len(shadows) > 1 or len(variants) > 1):
            yield (
                config.at("ShadowProductionVariants"),
                "one shadow beside one production variant is the limit",
            )


@template_rule(
    "MYT205",
    "A variant without capacity, or with two kinds of it",
    "Give InstanceType and InitialInstanceCount, or ServerlessConfig.",
)
def _capacity(template: Template) -> Hits:
    for config in template.of(CONFIG):
        for path, variant in production_variants(config):
            serverless = variant.get("ServerlessConfig")
            if serverless and ("InstanceType" in variant or "InitialInstanceCount" in variant):
                yield config.at(path), "has a ServerlessConfig and instances"
            elif not serverless and "InstanceType" not in variant:
                yield config.at(path), "has neither InstanceType nor ServerlessConfig"
            elif (
                not serverless
                and number(variant.get("InitialInstanceCount", 1)) == 0
                and "AsyncInferenceConfig" not in config.properties
            ):
                yield (
                    config.at(f"{path}.InitialInstanceCount"),
                    "is 0: the endpoint has nothing to answer with",
                )
            if isinstance(serverless, dict):
                yield from _serverless(config, path, serverless, variant)


def _serverless(config: Resource, path: str, serverless: dict[str, Any], variant: dict[str, Any]) -> Hits:
    memory, most, ready = (
        number(serverless.get(m)) for m in ("MemorySizeInMB", "MaxConcurrency", "ProvisionedConcurrency")
    )
    if memory is not None and memory not in _MEMORY:
        yield (
            config.at(f"{path}.ServerlessConfig.MemorySizeInMB"),
            f"{memory:g} is none of 1024, 2048, ... 6144",
        )
    if most is not None and not 1 <= most <= 200:
        yield config.at(f"{path}.ServerlessConfig.MaxConcurrency"), f"{most:g} is not within 1 to 200"
    if ready is not None and ready < 1:
        yield config.at(f"{path}.ServerlessConfig.ProvisionedConcurrency"), f"is {ready:g}: at least 1"
    if ready is not None and most is not None and ready > most:
        yield (
            config.at(f"{path}.ServerlessConfig.ProvisionedConcurrency"),
            f"{ready:g} is more than MaxConcurrency {most:g}",
        )
    model = config.template.assembly.target(variant.get("ModelName"), MODEL)
    if model and any(c.get("Mode") == "MultiModel" for _, c in containers(model)):
        yield config.at(path), "serverless endpoints take no multi-model container"
    if part(config.properties, "DataCaptureConfig", "EnableCapture") is True:
        yield config.at("DataCaptureConfig"), "serverless endpoints capture no data"


@template_rule(
    "MYT206",
    "A name, enum or bound that SageMaker's API refuses",
    "Stay within the API's model: names of letters, digits and hyphens, at most 63; instance types "
    "that hosting has.",
)
def _shapes(template: Template) -> Hits:
    for resource in template.of(*_OPERATIONS):
        shape = input_shape(_OPERATIONS[resource.type])
        for name, value in resource.properties.items():
            if name in shape.members and name != "Tags":
                for path, message in _walk(value, shape.members[name], name):
                    yield resource.at(path), message


def _walk(value: Any, shape: Any, path: str) -> Hits:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        for name, item in value.items():
            if name in shape.members:
                yield from _walk(item, shape.members[name], f"{path}.{name}")
    elif kind == "list" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, shape.member, f"{path}[{index}]")
    elif kind == "string" and isinstance(value, str) and known(value):
        pattern, enum = shape.metadata.get("pattern"), getattr(shape, "enum", None)
        if enum and value not in enum:
            yield path, f"{value!r} is not one of {', '.join(enum[:6])}{' ...' if len(enum) > 6 else ''}"
        elif pattern and not compiled(pattern).fullmatch(value):
            yield path, f"{value!r} does not match {pattern}"
        elif len(value) > shape.metadata.get("max", len(value)):
            yield path, f"{value!r} is longer than {shape.metadata['max']}"
    elif kind in ("integer", "long", "float", "double"):
        found = number(value)
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if found is not None and ((low is not None and found < low) or (high is not None and found > high)):
            yield path, f"{found:g} is not within {low} to {high}"


@template_rule(
    "MYT207",
    "A disk setting that the instance does not take",
    "Leave VolumeSizeInGB and KmsKeyId out for instances with local NVMe disks.",
)
def _disks(template: Template) -> Hits:
    for config in template.of(CONFIG):
        for path, variant in production_variants(config):
            kind = str(variant.get("InstanceType"))
            if _NVME.match(kind) and "VolumeSizeInGB" in variant:
                yield config.at(f"{path}.VolumeSizeInGB"), f"{kind} has local disks of a fixed size"
            if _NVME.match(kind) and "KmsKeyId" in config.properties:
                yield (
                    config.at("KmsKeyId"),
                    f"{kind} has no volume that a key could encrypt: the endpoint is refused",
                )


@template_rule(
    "MYT212",
    "A model's image of another region, or from no registry that SageMaker pulls",
    "Push it to ECR in the stack's region.",
)
def _images(template: Template) -> Hits:
    for model in template.of(MODEL):
        for path, container in containers(model):
            image = container.get("Image")
            if not isinstance(image, str) or opaque(image):
                continue
            match = _IMAGE.fullmatch(image)
            if (
                match
                and match["name"] in _ALGORITHM_NAMES
                and _ALGORITHMS.get(match["region"], match["account"]) != match["account"]
            ):
                yield (
                    model.at(f"{path}.Image"),
                    f"the registry of {match['name']} in {match['region']} is {_ALGORITHMS[match['region']]}",
                )
            elif known(image) and not match:
                yield model.at(f"{path}.Image"), f"{image} is no image in ECR"
            if match and match["name"].endswith("-training"):
                yield model.at(f"{path}.Image"), f"{match['name']} trains only: no server answers in it"
            config = next(
                (
                    c
                    for c in template.assembly.of(CONFIG)
                    for _, v in production_variants(c)
                    if template.assembly.target(v.get("ModelName"), MODEL) is model
                ),
                None,
            )
            kinds = [str(v.get("InstanceType")) for _, v in production_variants(config)] if config else []
            if re.search(r"-gpu-|-gpu\b|cu1\d\d", image) and any(
                k.startswith("ml.") and not GPU.match(k) for k in kinds
            ):
                yield model.at(f"{path}.Image"), f"is built for GPUs, but runs on {kinds[0]}"
            elif re.search(r"-cpu-|scikit-learn", image) and any(GPU.match(k) for k in kinds):
                yield model.at(f"{path}.Image"), f"is built for CPUs, but runs on {kinds[0]}"
