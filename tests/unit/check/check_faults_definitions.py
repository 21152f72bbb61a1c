"""Faults planted in the clean definitions: base, rule that must catch it, the mutation.

One list, and longer than other files: whoever adds a rule sees what its neighbours catch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Mutation = Callable[[dict[str, Any]], None]
FAULTS: list[tuple[str, str, str, Mutation]] = []
# Correct definitions beside the faults: base, name, change.
NEIGHBOURS: list[tuple[str, str, Mutation]] = []


def get(path: str) -> dict[str, Any]:
    return {"Get": path}


def steps(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        yield item
        if item["Type"] == "Condition":
            yield from steps(item["Arguments"]["IfSteps"])
            yield from steps(item["Arguments"]["ElseSteps"])


def put(step: str, path: str, value: Any) -> Mutation:
    """Set a member of a step; `path` with |, numbers are indexes; None removes."""

    def mutate(document: dict[str, Any]) -> None:
        node: Any = next(s for s in steps(document["Steps"]) if s["Name"] == step)
        *way, last = [int(p) if p.isdigit() else p for p in path.split("|")]
        for part in way:
            node = node[part]
        if value is None:
            del node[last]
        else:
            node[last] = value

    return mutate


def parameter(name: str, **members: Any) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        found = next((p for p in document["Parameters"] if p["Name"] == name), None)
        if found is None:
            document["Parameters"].append(found := {"Name": name, "Type": "String"})
        found.update(members)

    return mutate


def fault(base: str, rule: str, name: str, mutation: Mutation) -> None:
    FAULTS.append((base, rule, name, mutation))


def right(base: str, name: str, mutation: Mutation) -> None:
    NEIGHBOURS.append((base, name, mutation))


R, U, X = "regression", "tuning", "built_in"
A = "Arguments|"
JOB = A + "TrainingJobDefinition|"
CONFIG = A + "HyperParameterTuningJobConfig|"
CLUSTER = A + "ProcessingResources|ClusterConfig|"
OUTPUTS = A + "ProcessingOutputConfig|Outputs|"
GATE = A + "Conditions|0|"
fault(R, "MYP002", "version of another schema", lambda d: d.update(Version="2021-01-01"))
fault(
    R,
    "MYP003",
    "too many parameters",
    lambda d: d["Parameters"].extend({"Name": f"P{i}", "Type": "String"} for i in range(300)),
)
fault(R, "MYP004", "two steps with one name", put("Evaluate", "Name", "Train"))
fault(R, "MYP005", "name with a space", put("Score", "Name", "Batch score"))
fault(R, "MYP005", "name of 70 letters", put("Score", "Name", "S" * 70))
fault(R, "MYP006", "type of another system", put("Train", "Type", "TrainingJob"))
fault(R, "MYP010", "type that is none", parameter("InputData", Type="Path"))
fault(R, "MYP011", "default of another type", parameter("MseThreshold", DefaultValue="six"))
fault(R, "MYP011", "default outside the enum", parameter("ApprovalStatus", DefaultValue="Rejected"))
fault(R, "MYP012", "unused parameter", parameter("LearningRate", DefaultValue="0.1"))
fault(R, "MYP101", "undeclared parameter", put("Train", A + "HyperParameters|eta", get("Parameters.Eta")))
fault(
    R,
    "MYP102",
    "variable that is none",
    put(
        "Train",
        A + "OutputDataConfig|S3OutputPath",
        {"Std:Join": {"On": "/", "Values": ["s3://data", get("Execution.ExecutionId")]}},
    ),
)
fault(
    R,
    "MYP103",
    "step that does not exist",
    put(
        "Evaluate",
        A + "ProcessingInputs|1|S3Input|S3Uri",
        get("Steps.Training.ModelArtifacts.S3ModelArtifacts"),
    ),
)
fault(R, "MYP103", "depends on nobody", put("Train", "DependsOn", ["Prepare"]))
fault(
    R,
    "MYP104",
    "property that does not exist",
    put("Evaluate", A + "ProcessingInputs|1|S3Input|S3Uri", get("Steps.Train.ModelArtifacts.S3Uri")),
)
fault(
    R,
    "MYP105",
    "output that does not exist",
    put(
        "Train",
        A + "InputDataConfig|1|DataSource|S3DataSource|S3Uri",
        get("Steps.Preprocess.ProcessingOutputConfig.Outputs['validation'].S3Output.S3Uri"),
    ),
)
fault(
    R,
    "MYP106",
    "property file that does not exist",
    put("Gate", GATE + "LeftValue|Std:JsonGet|PropertyFile", get("Steps.Evaluate.PropertyFiles.Evaluation")),
)
fault(R, "MYP107", "property file in no output", put("Evaluate", "PropertyFiles|0|OutputName", "evaluation"))
fault(
    R,
    "MYP107",
    "property file outside",
    put("Evaluate", "PropertyFiles|0|FilePath", "/opt/ml/processing/evaluation.json"),
)
fault(R, "MYP108", "JsonGet without path", put("Gate", GATE + "LeftValue|Std:JsonGet|Path", None))
fault(R, "MYP109", "reads from a branch", put("Evaluate", "DependsOn", ["CreateModel"]))
fault(R, "MYP110", "a circle", put("Preprocess", "DependsOn", ["Evaluate"]))
fault(R, "MYP111", "depends on a failure", put("Score", "DependsOn", ["Refuse"]))
fault(R, "MYP201", "member misspelt", put("Train", A + "ResourceConfig|InstanceTyp", "ml.m5.large"))
fault(R, "MYP202", "no stopping condition", put("Train", A + "StoppingCondition", None))
fault(R, "MYP202", "no role", put("Preprocess", A + "RoleArn", None))
fault(R, "MYP203", "number as hyperparameter", put("Train", A + "HyperParameters|num_round", 100))
fault(R, "MYP203", "text as count", put("Train", A + "ResourceConfig|InstanceCount", "1"))
fault(
    R, "MYP204", "mode that is none", put("Train", A + "AlgorithmSpecification|TrainingInputMode", "Stream")
)
fault(
    R,
    "MYP204",
    "status that is none, by parameter",
    parameter("ApprovalStatus", EnumValues=["PendingManualApproval", "Pending"]),
)
fault(R, "MYP205", "output outside S3", put("Score", A + "TransformOutput|S3OutputPath", "/tmp/scores"))
fault(R, "MYP205", "role by name", put("Train", A + "RoleArn", "pipeline"))
fault(R, "MYP206", "volume of nothing", put("Train", A + "ResourceConfig|VolumeSizeInGB", -1))
fault(
    R,
    "MYP206",
    "argument of 300 letters",
    put("Preprocess", A + "AppSpecification|ContainerArguments", ["x" * 300]),
)
fault(R, "MYP207", "instance type of EC2", put("Train", A + "ResourceConfig|InstanceType", "m5.large"))
fault(R, "MYP207", "default of the parameter is none", parameter("InstanceType", DefaultValue="ml.m5.huge"))
fault(
    R,
    "MYP208",
    "text as count, by parameter",
    put("Train", A + "ResourceConfig|InstanceCount", get("Parameters.InputData")),
)
fault(
    R,
    "MYP208",
    "model's data as name",
    put("Score", A + "ModelName", get("Steps.Train.ModelArtifacts.S3ModelArtifacts")),
)
fault(R, "MYP301", "condition that is none", put("Gate", GATE + "Type", "LessThanOrEqual"))
fault(
    R,
    "MYP302",
    "number against a text",
    lambda d: (
        put("Gate", GATE + "LeftValue", get("Steps.Train.BillableTimeInSeconds"))(d),
        parameter("MseThreshold", Type="String", DefaultValue="6.0")(d),
    ),
)
fault(
    R,
    "MYP303",
    "always true",
    lambda d: (put("Gate", GATE + "LeftValue", 1.0)(d), put("Gate", GATE + "RightValue", 2.0)(d)),
)
fault(
    R,
    "MYP303",
    "value outside the enum",
    put(
        "Gate",
        A + "Conditions|0",
        {"Type": "Equals", "LeftValue": get("Parameters.ApprovalStatus"), "RightValue": "approved"},
    ),
)
fault(
    R,
    "MYP304",
    "no consequences",
    lambda d: (put("Gate", A + "IfSteps", [])(d), put("Gate", A + "ElseSteps", [])(d)),
)
fault(R, "MYP305", "worse models pass", put("Gate", GATE + "Type", "GreaterThanOrEqualTo"))
fault(
    R,
    "MYP306",
    "registers before the gate",
    lambda d: d["Steps"].append(d["Steps"][3]["Arguments"]["IfSteps"].pop(0)),
)
fault(
    R,
    "MYP401",
    "time in a cached argument",
    put("Preprocess", A + "Environment", {"STARTED": get("Execution.StartDateTime")}),
)
fault(
    R,
    "MYP401",
    "execution id in a cached input",
    put(
        "Preprocess",
        A + "ProcessingInputs|0|S3Input|S3Uri",
        {"Std:Join": {"On": "/", "Values": ["s3://data", get("Execution.PipelineExecutionId")]}},
    ),
)
fault(
    R,
    "MYP402",
    "time stamp in a path",
    put("Preprocess", A + "ProcessingInputs|0|S3Input|S3Uri", "s3://code/build-2026-11-21-06-36-19/step.py"),
)
fault(R, "MYP403", "duration of nothing", put("Train", "CacheConfig|ExpireAfter", "30 days"))
fault(
    R,
    "MYP404",
    "fixed output of a cached step",
    put("Preprocess", OUTPUTS + "0|S3Output|S3Uri", "s3://data/train"),
)
fault(R, "MYP405", "too many attempts", put("Train", "RetryPolicies|0|MaxAttempts", 50))
fault(R, "MYP405", "error that is none", put("Train", "RetryPolicies|0|ExceptionType", ["Throttling"]))
fault(
    R,
    "MYP501",
    "output outside the container's folder",
    put("Preprocess", OUTPUTS + "0|S3Output|LocalPath", "/opt/ml/output/train"),
)
fault(
    R,
    "MYP502",
    "outputs in one folder",
    put("Preprocess", OUTPUTS + "1|S3Output|LocalPath", "/opt/ml/processing/output/train"),
)
fault(R, "MYP503", "output twice", put("Preprocess", OUTPUTS + "1|OutputName", "train"))
fault(R, "MYP503", "channel twice", put("Train", A + "InputDataConfig|1|ChannelName", "train"))
fault(R, "MYP504", "output goes nowhere", put("Preprocess", OUTPUTS + "0|S3Output", None))
fault(R, "MYP505", "spot without wait", put("Train", A + "StoppingCondition|MaxWaitTimeInSeconds", None))
fault(R, "MYP505", "wait below the run time", put("Train", A + "StoppingCondition|MaxWaitTimeInSeconds", 600))
fault(R, "MYP506", "spot without checkpoint", put("Train", A + "CheckpointConfig", None))
fault(
    R,
    "MYP507",
    "expression without group",
    put("Train", A + "AlgorithmSpecification|MetricDefinitions|0|Regex", "rmse:[0-9.]+"),
)
fault(
    R,
    "MYP508",
    "one shard of one",
    put("Train", A + "InputDataConfig|0|DataSource|S3DataSource|S3DataDistributionType", "ShardedByS3Key"),
)
fault(
    R,
    "MYP509",
    "password in the environment",
    put("Preprocess", A + "Environment", {"DB_PASSWORD": "hunter2hunter2"}),
)
fault(R, "MYP510", "six days", put("Preprocess", A + "StoppingCondition|MaxRuntimeInSeconds", 520_000))
fault(
    X,
    "MYP521",
    "image for GPUs",
    put(
        "Train",
        A + "AlgorithmSpecification|TrainingImage",
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.5.1-gpu-py311-cu124-ubuntu22.04-sagemaker",
    ),
)
fault(
    R,
    "MYP522",
    "key on NVMe",
    lambda d: (
        put("Train", A + "ResourceConfig|InstanceType", "ml.g5.xlarge")(d),
        put("Train", A + "ResourceConfig|VolumeKmsKeyId", "alias/key")(d),
    ),
)


def trains_images(kind: Any, module: str = "training.vision.train") -> Mutation:
    return lambda d: (
        put("Train", A + "Environment", {"STEP_MODULE": module})(d),
        put("Train", A + "ResourceConfig|InstanceType", kind)(d),
    )


for several in (
    "g4dn.12xlarge",
    "g5.48xlarge",
    "g6e.24xlarge",
    "p3dn.24xlarge",
    "p4de.24xlarge",
    "p5en.48xlarge",
):
    fault(R, "MYP529", f"three or seven idle GPUs of {several}", trains_images(f"ml.{several}"))
fault(
    R,
    "MYP529",
    "idle GPUs, by parameter",
    lambda d: (
        parameter("TrainingInstanceType", DefaultValue="ml.g5.12xlarge")(d),
        trains_images(get("Parameters.TrainingInstanceType"))(d),
    ),
)
for single in ("ml.g4dn.xlarge", "ml.g5.16xlarge", "ml.g6.8xlarge", "ml.p3.2xlarge", "ml.p5.4xlarge"):
    right(R, f"all GPUs of {single}", trains_images(single))
right(R, "other code uses all GPUs", trains_images("ml.g5.12xlarge", "training.other.train"))
fault(
    X,
    "MYP523",
    "registry of another region",
    put(
        "Train",
        A + "AlgorithmSpecification|TrainingImage",
        "683313688378.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1",
    ),
)
fault(
    R,
    "MYP524",
    "image of Docker Hub",
    put("Train", A + "AlgorithmSpecification|TrainingImage", "python:3.13"),
)
fault(X, "MYP525", "no rounds", put("Train", A + "HyperParameters|num_round", None))
fault(X, "MYP525", "channel of another name", put("Train", A + "InputDataConfig|0|ChannelName", "training"))
fault(
    U,
    "MYP601",
    "objective nobody prints",
    put("Tune", CONFIG + "HyperParameterTuningJobObjective|MetricName", "rmse"),
)
fault(
    U, "MYP601", "error maximised", put("Tune", CONFIG + "HyperParameterTuningJobObjective|Type", "Maximize")
)
fault(
    U,
    "MYP602",
    "empty range",
    put("Tune", CONFIG + "ParameterRanges|IntegerParameterRanges|0|MinValue", "20"),
)
fault(
    U,
    "MYP603",
    "logarithm of zero",
    put("Tune", CONFIG + "ParameterRanges|ContinuousParameterRanges|0|MinValue", "0"),
)
fault(
    U,
    "MYP604",
    "more at a time than in all",
    put("Tune", CONFIG + "ResourceLimits|MaxParallelTrainingJobs", 20),
)
fault(U, "MYP605", "fixed and tuned", put("Tune", JOB + "StaticHyperParameters|eta", "0.1"))
fault(U, "MYP606", "grid over a continuum", put("Tune", CONFIG + "Strategy", "Grid"))
fault(U, "MYP606", "nothing to tune", put("Tune", CONFIG + "ParameterRanges", {}))
fault(R, "MYP701", "no metrics", put("Register", A + "ModelMetrics", None))
fault(R, "MYP702", "no group", put("Register", A + "ModelPackageGroupName", None))
fault(
    R,
    "MYP703",
    "model's data is a folder",
    put("CreateModel", A + "PrimaryContainer|ModelDataUrl", "s3://data/models/"),
)
fault(R, "MYP711", "records without split", put("Score", A + "TransformInput|SplitType", "None"))
fault(R, "MYP711", "filter that is no path", put("Score", A + "DataProcessing|InputFilter", "[1:]"))
fault(U, "MYP721", "function by name", put("Notify", "FunctionArn", "notify"))
fault(
    U,
    "MYP105",
    "output that the function does not give",
    put("Judge", GATE + "LeftValue", get("Steps.Notify.OutputParameters['state']")),
)
fault(R, "MYP731", "failure without message", put("Refuse", A + "ErrorMessage", ""))
fault(
    R,
    "MYP013",
    "template's expression left",
    put("Train", A + "OutputDataConfig|S3OutputPath", "s3://data/{{ environment }}"),
)

right(
    R,
    "a range around the metric",
    lambda d: put(
        "Gate",
        "Arguments|Conditions",
        [
            item
            for gate in steps(d["Steps"])
            if gate["Name"] == "Gate"
            for condition in gate["Arguments"]["Conditions"]
            for item in (condition, condition | {"Type": "GreaterThan", "RightValue": 0})
        ],
    )(d),
)
