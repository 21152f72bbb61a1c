"""Images, instances and disks that do not fit each other.

https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/sagemaker-algo-docker-registry-paths.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.definitions.jobs import items, training_parts
from modelyard_cli.check.definitions.model import Definition, Step, literal
from modelyard_cli.check.registry import Hits, definition_rule

_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.(?P<suffix>amazonaws\.com(?:\.cn)?)/(?P<name>[a-z0-9._/-]+?)(?::(?P<tag>[\w.-]+))?(?:@sha256:[0-9a-f]{64})?"
)
GPU = re.compile(r"ml\.(p[2-9]\w*|g[3-9]\w*)\.")
_NEURON = re.compile(r"ml\.(trn|inf)\d\w*\.")
_NVME = re.compile(
    r"ml\.(p4d|p4de|p5\w*|g4dn|g5|g6\w*|trn1n?|trn2|c5d|m5d|r5d|c6gd|m6gd|r6gd|c6id|m6id|r6id|m7gd|c7gd|r7gd|inf1|i3\w*|i4\w*)\."
)
# https://aws.amazon.com/sagemaker/ai/pricing/ ; sizes between these have one GPU, however large.
_SEVERAL_GPUS = re.compile(
    r"ml\.(p2\.(8|16)|p3\.(8|16)|p3dn\.24|p4\w*\.24|p[56][\w-]*\.48|g4dn\.12|g[56]e?\.(12|24|48))xlarge"
)
# This project's, which start one process on each host (training/README.md).
_ONE_GPU = ("training.vision.train",)
_CPU_ONLY = re.compile(
    r"sagemaker-scikit-learn|-cpu\b|sagemaker-sparkml|linear-learner-cpu|factorization-machines|knn|pca-cpu|sagemaker-spark-processing"
)
_GPU_ONLY = re.compile(
    r"-gpu-|-gpu\b|cu1\d\d|image-classification$|object-detection$|semantic-segmentation$|djl-"
)
# The first-party registries of scikit-learn and XGBoost.
_ALGORITHMS = {
    "us-east-1": "683313688378",
    "us-east-2": "257758044811",
    "us-west-1": "746614075791",
    "us-west-2": "246618743249",
    "eu-west-1": "141502667606",
    "eu-west-2": "764974769150",
    "eu-west-3": "659782779980",
    "eu-central-1": "492215442770",
    "eu-north-1": "662702820516",
    "eu-south-1": "978288397137",
    "ap-northeast-1": "354813040037",
    "ap-northeast-2": "366743142698",
    "ap-south-1": "720646828776",
    "ap-southeast-1": "121021644041",
    "ap-southeast-2": "783357654285",
    "ap-east-1": "651117190479",
    "ca-central-1": "341280168497",
    "sa-east-1": "737474898029",
    "af-south-1": "510948584623",
    "me-south-1": "801668240914",
}
_ALGORITHM_NAMES = ("sagemaker-xgboost", "sagemaker-scikit-learn", "sagemaker-sparkml-serving")
_DEEP_LEARNING = "763104351884"


def _resources(definition: Definition) -> Iterator[tuple[Step, str, Any, Any, dict[str, Any]]]:
    """(step, path, image, instance type, resources) of every job."""
    for step in definition.of("Processing"):
        cluster = step.arguments.get("ProcessingResources")
        cluster = cluster.get("ClusterConfig") if isinstance(cluster, dict) else None
        app = step.arguments.get("AppSpecification")
        if isinstance(cluster, dict):
            image = app.get("ImageUri") if isinstance(app, dict) else None
            yield (
                step,
                "Arguments.ProcessingResources.ClusterConfig",
                image,
                cluster.get("InstanceType"),
                cluster,
            )
    for step, at, job in training_parts(definition):
        algorithm = job.get("AlgorithmSpecification")
        image = algorithm.get("TrainingImage") if isinstance(algorithm, dict) else None
        resources = job.get("ResourceConfig")
        if isinstance(resources, dict):
            yield step, f"{at}.ResourceConfig", image, resources.get("InstanceType"), resources
        tuning = job.get("HyperParameterTuningResourceConfig")
        if isinstance(tuning, dict):
            yield step, f"{at}.HyperParameterTuningResourceConfig", image, tuning.get("InstanceType"), tuning
    for step in definition.of("Transform"):
        transform = step.arguments.get("TransformResources")
        if isinstance(transform, dict):
            yield step, "Arguments.TransformResources", None, transform.get("InstanceType"), transform


@definition_rule(
    "MYP521",
    "An image for GPUs on an instance without one, or the other way round",
    "Choose the image and the instance for the same processor.",
)
def _processors(definition: Definition) -> Hits:
    for step, at, image, instance, _ in _resources(definition):
        if not literal(image):
            continue
        name = image.split("/", 1)[-1]
        for kind in definition.choices(instance):
            gpu = bool(GPU.match(str(kind)))
            if not gpu and not _NEURON.match(str(kind)) and "${" not in str(kind) and _GPU_ONLY.search(name):
                yield step.at(at), f"{name} needs a GPU, {kind} has none"
            elif gpu and (_CPU_ONLY.search(name)):
                yield step.at(at), f"{name} runs on the CPU, the GPU of {kind} stays idle"
            elif _NEURON.match(str(kind)) and "neuron" not in name:
                yield step.at(at), f"{kind} needs an image for Neuron, {name} is none"


@definition_rule(
    "MYP522",
    "A volume's key on an instance with local disks only",
    "Leave VolumeKmsKeyId out: local NVMe disks are encrypted by the hardware.",
)
def _volumes(definition: Definition) -> Hits:
    for step, at, _, instance, resources in _resources(definition):
        for kind in definition.choices(instance):
            if _NVME.match(str(kind)) and "VolumeKmsKeyId" in resources:
                yield (
                    step.at(f"{at}.VolumeKmsKeyId"),
                    f"{kind} has no volume that a key could encrypt: the job is refused",
                )


@definition_rule(
    "MYP523",
    "An image of another region or registry",
    "Take the registry of the region that the pipeline runs in; jobs pull images of their own region only.",
)
def _registries(definition: Definition) -> Hits:
    found = list(_images(definition))
    regions: dict[str, int] = {}
    for _, _, parts in found:
        regions[parts["region"]] = regions.get(parts["region"], 0) + 1
    usual = max(regions, key=lambda region: regions[region]) if regions else ""
    for step, path, parts in found:
        name, region, account = parts["name"], parts["region"], parts["account"]
        wanted = _ALGORITHMS.get(region) if name in _ALGORITHM_NAMES else None
        if wanted and wanted != account:
            yield step.at(path), f"the registry of {name} in {region} is {wanted}, not {account}"
        if region != usual:
            yield step.at(path), f"the image lies in {region}, the others in {usual}"


def _images(definition: Definition) -> Iterator[tuple[Step, str, dict[str, str]]]:
    from modelyard_cli.check.definitions.model import walk

    for step in definition.steps:
        for path, value in walk(dict(step.arguments)):
            if isinstance(value, str) and (match := _IMAGE.fullmatch(value)):
                yield step, path, match.groupdict()


@definition_rule(
    "MYP524", "An image that is none of ECR, or has no tag", "Push it to ECR and name a tag or a digest."
)
def _uris(definition: Definition) -> Hits:
    for step, at, image, _, _ in _resources(definition):
        if image is None or not literal(image):
            continue
        match = _IMAGE.fullmatch(image)
        if match is None:
            yield step.at(at), f"{image} is no image in ECR"
        elif match["tag"] == "latest" and match["account"] not in (*_ALGORITHMS.values(), _DEEP_LEARNING):
            yield (
                step.at(at),
                f"{image}: latest is another image tomorrow, while the cache and the lineage say it "
                "is the same",
            )


@definition_rule(
    "MYP527",
    "An image for training that shall serve, or the other way round",
    "Train with the framework's -training image, and serve with its -inference image of the same version.",
)
def _purposes(definition: Definition) -> Hits:
    for step, path, parts in _images(definition):
        serves = "Containers[" in path or "PrimaryContainer" in path
        if serves and parts["name"].endswith("-training"):
            yield step.at(path), f"{parts['name']} trains only: no server answers in it"
        elif path.endswith("TrainingImage") and parts["name"].endswith("-inference"):
            yield step.at(path), f"{parts['name']} serves only"


@definition_rule(
    "MYP528",
    "A model offered for instances that its image cannot use",
    "Instances with Neuron want an image for Neuron; GPUs want an image for GPUs.",
)
def _offers(definition: Definition) -> Hits:
    for step in definition.of("RegisterModel"):
        given = step.arguments.get("InferenceSpecification")
        specification: dict[str, Any] = given if isinstance(given, dict) else {}
        for container in items(specification, "Containers"):
            image = str(container.get("Image"))
            found = _IMAGE.fullmatch(image)
            if found is None or "neuron" in image:
                continue
            cpu_only = found["name"] in _ALGORITHM_NAMES or bool(_CPU_ONLY.search(image))
            for member in ("SupportedRealtimeInferenceInstanceTypes", "SupportedTransformInstanceTypes"):
                offered = specification.get(member)
                for kind in filter(literal, offered if isinstance(offered, list) else ()):
                    if cpu_only and _NEURON.match(kind):
                        message = f"{kind} needs an image for Neuron, {found['name']} is none"
                    elif _GPU_ONLY.search(image) and not GPU.match(kind):
                        message = f"{found['name']} needs a GPU, {kind} has none"
                    else:
                        continue
                    yield step.at(f"Arguments.InferenceSpecification.{member}"), message


@definition_rule(
    "MYP529",
    "A machine with several GPUs for a trainer that computes on one",
    "Take more instances of a type with one GPU, such as ml.g5.xlarge, or train on a training cluster, "
    "where each GPU has a process.",
)
def _idle(definition: Definition) -> Hits:
    for step, at, job in training_parts(definition):
        environment, resources = job.get("Environment"), job.get("ResourceConfig")
        if not isinstance(environment, dict) or not isinstance(resources, dict):
            continue
        module = definition.value(environment.get("STEP_MODULE"))
        if module not in _ONE_GPU:
            continue
        kinds = [resources.get("InstanceType")]
        kinds += [group.get("InstanceType") for group in items(resources, "InstanceGroups")]
        for kind in [choice for given in kinds for choice in definition.choices(given)]:
            if _SEVERAL_GPUS.fullmatch(str(kind)):
                yield step.at(f"{at}.ResourceConfig"), f"{module} uses one GPU of {kind}, the others are idle"
