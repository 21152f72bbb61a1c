"""Registration, models, batch transform, Lambda, Callback and Fail steps."""

from __future__ import annotations

import re
from typing import Any

from modelyard_cli.check.definitions.jobs import items
from modelyard_cli.check.definitions.model import Definition, literal
from modelyard_cli.check.registry import Advice, Hits, definition_rule

_QUEUE = re.compile(r"https://sqs\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/\d{12}/[\w.-]{1,80}")
_FUNCTION = re.compile(r"arn:aws[\w-]*:lambda:[a-z0-9-]+:\d{12}:function:[\w-]{1,64}(:[\w$-]+)?")
_OUTPUT_PATH = "OutputDataConfig.S3OutputPath"
_OUTPUT_TYPES = ("String", "Integer", "Float", "Boolean")


@definition_rule(
    "MYP701",
    "A registered model without metrics",
    "Give ModelMetrics: who approves the version sees nothing else of its quality.",
)
def _metrics(definition: Definition) -> Hits:
    for step in definition.of("RegisterModel"):
        if not step.arguments.get("ModelMetrics"):
            yield step.at("Arguments"), Advice("has no ModelMetrics")


@definition_rule(
    "MYP702",
    "A model package that cannot be deployed",
    "Give a group, and containers with Image and ModelDataUrl, content types and response types.",
)
def _package(definition: Definition) -> Hits:
    for step in definition.of("RegisterModel"):
        arguments = step.arguments
        if "ModelPackageGroupName" not in arguments and "ModelPackageName" not in arguments:
            yield step.at("Arguments"), "names no ModelPackageGroupName: the package gets no version"
        if "ModelPackageGroupName" in arguments and "ModelPackageName" in arguments:
            yield step.at("Arguments"), "ModelPackageGroupName and ModelPackageName exclude each other"
        specification = arguments.get("InferenceSpecification")
        if not isinstance(specification, dict):
            if not arguments.get("SourceAlgorithmSpecification"):
                yield step.at("Arguments"), "has no InferenceSpecification"
            continue
        for index, container in enumerate(items(specification, "Containers")):
            if not (container.get("ModelDataUrl") or container.get("ModelDataSource")):
                yield step.at(f"Arguments.InferenceSpecification.Containers[{index}]"), "has no ModelDataUrl"
        for member in ("SupportedContentTypes", "SupportedResponseMIMETypes"):
            if not specification.get(member):
                yield (
                    step.at(f"Arguments.InferenceSpecification.{member}"),
                    "is missing or empty: clients do not learn what to send",
                )


@definition_rule(
    "MYP703",
    "A model's data that is not what its container loads",
    "One model: the .tar.gz of a training step; many models: a prefix that ends in /, with Mode MultiModel.",
)
def _model_data(definition: Definition) -> Hits:
    for step in definition.of("Model", "RegisterModel"):
        containers = [step.arguments.get("PrimaryContainer"), *items(step.arguments, "Containers")]
        containers += items(step.arguments, "InferenceSpecification", "Containers")
        for container in containers:
            if not isinstance(container, dict):
                continue
            if problem := _computed(
                container.get("ModelDataUrl"), many=container.get("Mode") == "MultiModel"
            ):
                yield step.at("Arguments"), problem
            if not literal(container.get("ModelDataUrl")):
                continue
            url, many = str(container["ModelDataUrl"]), container.get("Mode") == "MultiModel"
            if many and not url.endswith("/"):
                yield step.at("Arguments"), f"{url} is no prefix: it must end in /"
            elif not many and not url.endswith(".tar.gz"):
                yield step.at("Arguments"), f"{url} is no .tar.gz"


def _computed(url: Any, *, many: bool) -> str:
    """What is wrong with a model's data that another step makes."""
    if not isinstance(url, dict):
        return ""
    source = str(url.get("Get", ""))
    if "ProcessingOutputConfig.Outputs[" in source:
        return f"{source} is a folder, not an archive: join the archive's name to it"
    if source.endswith(_OUTPUT_PATH) and not many:
        return f"{source} is the folder of all jobs' output: ModelArtifacts.S3ModelArtifacts is the archive"
    values = url.get("Std:Join", {}).get("Values") if isinstance(url.get("Std:Join"), dict) else None
    values = values if isinstance(values, list) else []
    sources = [str(item.get("Get", "")) for item in values if isinstance(item, dict)]
    last = values[-1] if values else None
    if isinstance(last, str) and literal(last) and not last.endswith((".tar.gz", "/")):
        return f"the address ends in {last!r}, which is no .tar.gz"
    if any(s.endswith(_OUTPUT_PATH) for s in sources) and not any("Job" in s for s in sources) and not many:
        return "a job's archive lies below its own name: take ModelArtifacts.S3ModelArtifacts"
    return ""


@definition_rule(
    "MYP711",
    "A batch transform whose settings exclude each other",
    "MultiRecord and AssembleWith Line need a SplitType; joins need records; 100 MB at most in flight.",
)
def _transform(definition: Definition) -> Hits:
    for step in definition.of("Transform"):
        arguments = step.arguments
        split = (arguments.get("TransformInput") or {}).get("SplitType", "None")
        assemble = (arguments.get("TransformOutput") or {}).get("AssembleWith", "None")
        processing = arguments.get("DataProcessing") or {}
        if split == "None" and arguments.get("BatchStrategy") == "MultiRecord":
            yield (
                step.at("Arguments.BatchStrategy"),
                "MultiRecord without a SplitType sends whole files anyway",
            )
        if split == "None" and assemble == "Line":
            yield (
                step.at("Arguments.TransformOutput.AssembleWith"),
                "Line without SplitType: there are no records to assemble",
            )
        if processing.get("JoinSource") == "Input":
            if split not in ("Line", "RecordIO", "TFRecord"):
                yield step.at("Arguments.DataProcessing"), "JoinSource Input needs a SplitType"
            elif assemble not in (split, "Line"):
                yield (
                    step.at("Arguments.TransformOutput.AssembleWith"),
                    f"JoinSource Input with SplitType {split} and AssembleWith {assemble}",
                )
            content = str((arguments.get("TransformInput") or {}).get("ContentType", ""))
            accept = str((arguments.get("TransformOutput") or {}).get("Accept", ""))
            if (
                content
                and accept
                and content.split(";", maxsplit=1)[0] != accept.split(";", maxsplit=1)[0]
                and "csv" in content + accept
            ):
                yield (
                    step.at("Arguments.TransformOutput.Accept"),
                    f"joins {content} with {accept}: both must be of one format",
                )
        for member in ("InputFilter", "OutputFilter"):
            value = processing.get(member)
            if literal(value) and not str(value).startswith("$"):
                yield (
                    step.at(f"Arguments.DataProcessing.{member}"),
                    f"{value!r} is no JSONPath: it starts with $",
                )
        if (
            processing.get("OutputFilter")
            and "SageMakerOutput" in str(processing["OutputFilter"])
            and processing.get("JoinSource") != "Input"
        ):
            yield (
                step.at("Arguments.DataProcessing.OutputFilter"),
                "SageMakerOutput exists only with JoinSource Input",
            )
        payload, concurrent = (
            definition.value(arguments.get(m)) for m in ("MaxPayloadInMB", "MaxConcurrentTransforms")
        )
        if isinstance(payload, int) and isinstance(concurrent, int) and payload * concurrent > 100:
            yield (
                step.at("Arguments.MaxPayloadInMB"),
                f"{payload} MB times {concurrent} transforms is more than 100 MB",
            )


@definition_rule(
    "MYP721",
    "A Lambda or Callback step without a target that can answer",
    "FunctionArn is the ARN of a function, SqsQueueUrl the URL of a queue.",
)
def _targets(definition: Definition) -> Hits:
    for step in definition.of("Lambda", "Callback"):
        member, pattern = ("FunctionArn", _FUNCTION) if step.type == "Lambda" else ("SqsQueueUrl", _QUEUE)
        value = step.body.get(member)
        if value is None:
            yield step.at(), f"has no {member}"
        elif literal(value) and not pattern.fullmatch(str(value)):
            yield step.at(member), f"{value!r} is none"
        outputs = step.body.get("OutputParameters")
        names: set[Any] = set()
        for index, item in enumerate(outputs if isinstance(outputs, list) else []):
            at = step.at(f"OutputParameters[{index}]")
            if not isinstance(item, dict) or item.get("OutputType") not in _OUTPUT_TYPES:
                yield at, f"the OutputType is none of {', '.join(_OUTPUT_TYPES)}"
            elif item.get("OutputName") in names:
                yield at, f"{item.get('OutputName')!r} is declared twice"
            else:
                names.add(item.get("OutputName"))


@definition_rule(
    "MYP731",
    "A Fail step that does not say why",
    "Give an ErrorMessage of at most 3072 characters that names the value that failed.",
)
def _fail(definition: Definition) -> Hits:
    for step in definition.of("Fail"):
        message = step.arguments.get("ErrorMessage")
        if not message:
            yield step.at("Arguments.ErrorMessage"), "is missing or empty"
        elif isinstance(message, str) and len(message) > 3072:
            yield step.at("Arguments.ErrorMessage"), f"has {len(message)} characters"
