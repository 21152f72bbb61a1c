"""Faults of gates, objectives, counts and the data of models; beside them what is right."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.check.check_faults_definitions import (
    CLUSTER,
    CONFIG,
    GATE,
    JOB,
    A,
    Mutation,
    R,
    U,
    fault,
    get,
    parameter,
    put,
    right,
    steps,
)

OBJECTIVE = CONFIG + "HyperParameterTuningJobObjective"
METRIC = JOB + "AlgorithmSpecification|MetricDefinitions|0|Name"


def both(*changes: Mutation) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        for change in changes:
            change(document)

    return mutate


def step(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(s for s in steps(document["Steps"]) if s["Name"] == name)


def retried(document: dict[str, Any]) -> None:
    """A second round in the gate's other branch, which registers too."""
    arguments = step(document, "Gate")["Arguments"]
    train, register = (dict(step(document, name)) for name in ("Train", "Register"))
    model = get("Steps.TrainAgain.ModelArtifacts.S3ModelArtifacts")
    register["Arguments"] = register["Arguments"] | {
        "InferenceSpecification": register["Arguments"]["InferenceSpecification"]
        | {
            "Containers": [
                register["Arguments"]["InferenceSpecification"]["Containers"][0] | {"ModelDataUrl": model}
            ]
        }
    }
    arguments["ElseSteps"] = [train | {"Name": "TrainAgain"}, register | {"Name": "RegisterAgain"}]


def without_registration(document: dict[str, Any]) -> None:
    arguments = step(document, "Gate")["Arguments"]
    arguments["IfSteps"] = [s for s in arguments["IfSteps"] if s["Type"] != "RegisterModel"]
    document["Parameters"] = [p for p in document["Parameters"] if p["Name"] != "ApprovalStatus"]


TURNED = put("Gate", GATE + "Type", "GreaterThanOrEqualTo")
fault(R, "MYP305", "worse models pass, others are trained again", both(retried, TURNED))
right(R, "what fails is trained again", retried)
fault(R, "MYP305", "what is good fails", both(without_registration, TURNED))
right(R, "what is bad fails", without_registration)

fault(R, "MYP206", "no instance", put("Train", A + "ResourceConfig|InstanceCount", 0))
COUNT = get("Parameters.Count")
NONE = parameter("Count", Type="Integer", DefaultValue=0)
fault(
    R,
    "MYP206",
    "no instance to train on, by parameter",
    both(put("Train", A + "ResourceConfig|InstanceCount", COUNT), NONE),
)
fault(
    R,
    "MYP206",
    "no instance to process on, by parameter",
    both(put("Preprocess", CLUSTER + "InstanceCount", COUNT), NONE),
)
fault(
    R,
    "MYP206",
    "no instance to transform on, by parameter",
    both(put("Score", A + "TransformResources|InstanceCount", COUNT), NONE),
)
right(
    R,
    "two instances, by parameter",
    both(
        put("Preprocess", CLUSTER + "InstanceCount", COUNT),
        parameter("Count", Type="Integer", DefaultValue=2),
    ),
)


def objective(kind: str, metric: str) -> Mutation:
    return both(put("Tune", METRIC, metric), put("Tune", OBJECTIVE, {"Type": kind, "MetricName": metric}))


for wrong, name in (
    ("Minimize", "cv:score"),
    ("Minimize", "ValidationAccuracy"),
    ("Minimize", "validation:roc-auc"),
    ("Minimize", "r_squared"),
    ("Minimize", "top1"),
    ("Maximize", "valLoss"),
    ("Maximize", "binary_logloss"),
    ("Maximize", "mean_squared_error"),
):
    fault(U, "MYP601", f"{name} with {wrong}", objective(wrong, name))
    right(U, f"{name} the other way", objective("Maximize" if wrong == "Minimize" else "Minimize", name))


def algorithms(*kinds: str) -> Mutation:
    """One search for each kind of objective, on one metric whose name says nothing."""

    def mutate(document: dict[str, Any]) -> None:
        arguments = step(document, "Tune")["Arguments"]
        job = arguments.pop("TrainingJobDefinition")
        config = arguments["HyperParameterTuningJobConfig"]
        ranges = config.pop("ParameterRanges")
        config.pop("HyperParameterTuningJobObjective")
        job["AlgorithmSpecification"]["MetricDefinitions"][0]["Name"] = "gain"
        arguments["TrainingJobDefinitions"] = [
            job
            | {
                "DefinitionName": f"a{number}",
                "TuningObjective": {"Type": kind, "MetricName": "gain"},
                "HyperParameterRanges": ranges,
            }
            for number, kind in enumerate(kinds)
        ]

    return mutate


fault(U, "MYP601", "one of three goes the other way", algorithms("Maximize", "Minimize", "Maximize"))
right(U, "three that go one way", algorithms("Maximize", "Maximize", "Maximize"))

FOLDER = get("Steps.Train.OutputDataConfig.S3OutputPath")


def joined(*values: Any) -> dict[str, Any]:
    return {"Std:Join": {"On": "/", "Values": list(values)}}


DATA = A + "PrimaryContainer|ModelDataUrl"
fault(R, "MYP703", "folder of the job's output", put("CreateModel", DATA, FOLDER))
fault(
    R,
    "MYP703",
    "folder of the job's output, registered",
    put("Register", A + "InferenceSpecification|Containers|0|ModelDataUrl", FOLDER),
)
fault(
    R,
    "MYP703",
    "folder of the job's output without the job",
    put("CreateModel", DATA, joined(FOLDER, "model.tar.gz")),
)
right(
    R,
    "the archive's address spelt out",
    put("CreateModel", DATA, joined(FOLDER, get("Steps.Train.TrainingJobName"), "output", "model.tar.gz")),
)

SPLIT = "Steps.Preprocess.ProcessingOutputConfig.Outputs['{}'].S3Output.S3Uri"


def judged_on(split: str) -> Mutation:
    source = {
        "InputName": "test",
        "S3Input": {
            "S3Uri": get(SPLIT.format(split)),
            "LocalPath": "/opt/ml/processing/input/test",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }
    return put("Evaluate", A + "ProcessingInputs|0", source)


fault(R, "MYP514", "judged on what was trained on", judged_on("train"))
right(R, "judged on what was held out", judged_on("test"))
fault(
    R,
    "MYP514",
    "trained on what is held out",
    put("Train", A + "InputDataConfig|0|DataSource|S3DataSource|S3Uri", get(SPLIT.format("test"))),
)

for kind, default in (("Integer", 100), ("Float", 0.5), ("Boolean", True)):
    DECLARED = parameter("Rounds", Type=kind, DefaultValue=default)
    fault(
        R,
        "MYP208",
        f"{kind} as hyperparameter",
        both(put("Train", A + "HyperParameters|num_round", get("Parameters.Rounds")), DECLARED),
    )
    right(
        R,
        f"{kind} as hyperparameter, joined",
        both(
            put(
                "Train",
                A + "HyperParameters|num_round",
                {"Std:Join": {"On": "", "Values": [get("Parameters.Rounds")]}},
            ),
            DECLARED,
        ),
    )
fault(
    U,
    "MYP208",
    "number as fixed hyperparameter",
    both(
        put("Tune", JOB + "StaticHyperParameters|num_round", get("Parameters.Rounds")),
        parameter("Rounds", Type="Integer", DefaultValue=100),
    ),
)

TEXTS = (
    ("Preprocess", A + "Environment", {"ROUNDS": get("Parameters.Rounds")}),
    ("Preprocess", A + "AppSpecification|ContainerArguments", ["--rounds", get("Parameters.Rounds")]),
    ("Preprocess", A + "AppSpecification|ContainerEntrypoint", ["python3", get("Parameters.Rounds")]),
    ("Train", A + "Environment", {"ROUNDS": get("Parameters.Rounds")}),
    ("Register", A + "CustomerMetadataProperties", {"rounds": get("Parameters.Rounds")}),
)
for kind, default in (("Integer", 100), ("Float", 0.5), ("Boolean", True)):
    DECLARED = parameter("Rounds", Type=kind, DefaultValue=default)
    for where, path, value in TEXTS:
        fault(R, "MYP208", f"{kind} in {where}'s {path}", both(put(where, path, value), DECLARED))
for name, value in (
    ("a text", {"ROUNDS": get("Parameters.Rounds")}),
    ("a text that looks like a number", {"ROUNDS": joined(get("Parameters.Rounds"))}),
):
    right(
        R,
        name,
        both(
            put("Preprocess", A + "Environment", value),
            parameter("Rounds", Type="String", DefaultValue="100"),
        ),
    )
PROPERTY = get("Steps.Preprocess.ProcessingResources.ClusterConfig.InstanceCount")
fault(R, "MYP208", "number of a step in a text", put("Train", A + "Environment", {"HOSTS": PROPERTY}))
right(R, "number of a step in a text, joined", put("Train", A + "Environment", {"HOSTS": joined(PROPERTY)}))
right(
    R,
    "time of a step in a text",
    put("Train", A + "Environment", {"AT": get("Steps.Preprocess.CreationTime")}),
)


def each(document: dict[str, Any]) -> None:
    """As SDK 3.27 writes it: the local cloud has no such type, the service has."""
    call = {
        "Name": "Call",
        "Type": "Lambda",
        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:f",
        "Arguments": {"item": get("ForEach.CurrentItem")},
        "OutputParameters": [{"OutputName": "best", "OutputType": "String"}],
    }
    chosen = {"Pick": "MaxBy", "Field": get("IterationOutput.Call.OutputParameters['best']")}
    arguments = {"IterableItems": ["a", "b"], "MaxConcurrency": 2, "Selector": chosen, "ForEachBody": [call]}
    document["Steps"].append({"Name": "Each", "Type": "ForEach", "Arguments": arguments})


right(R, "a step for each item", each)
SELECTED = get("Steps.Each.Selected.OutputParameters['best']")
right(R, "what was selected", both(each, put("Train", A + "Environment", {"BEST": SELECTED})))
for trigger in ("Failed", "Stopped", "Any"):
    after = [{"Step": "Train", "Trigger": trigger}]
    right(R, f"after a step that {trigger}", put("Score", "DependsOn", after))

PULLS = put("Train", A + "Environment", {"INDEX": "https://pypi.example.com/simple"})
ALONE = put("Train", A + "EnableNetworkIsolation", True)
fault(R, "MYP511", "isolated training that fetches", both(PULLS, ALONE))
right(R, "training that fetches", PULLS)
right(R, "isolated training that fetches nothing", ALONE)
fault(
    R,
    "MYP511",
    "isolated processing that fetches",
    both(
        put("Preprocess", A + "Environment", {"INDEX": "https://pypi.example.com/simple"}),
        put("Preprocess", A + "NetworkConfig", {"EnableNetworkIsolation": True}),
    ),
)


def padded(characters: int) -> Mutation:
    """A definition of so many characters, in descriptions of its steps."""

    def mutate(document: dict[str, Any]) -> None:
        for item in steps(document["Steps"]):
            item.setdefault("Description", "")
        left = characters - len(json.dumps(document, separators=(",", ":")))
        document["Steps"][0]["Description"] += "x" * left

    return mutate


fault(R, "MYP003", "one character above 1 MB", padded(1_048_577))
right(R, "1 MB", padded(1_048_576))
fault(
    R,
    "MYP003",
    "one parameter too many",
    lambda d: d["Parameters"].extend(
        {"Name": f"P{i}", "Type": "String"} for i in range(201 - len(d["Parameters"]))
    ),
)


def calls(document: dict[str, Any]) -> None:
    """No page of AWS limits the steps of a definition, but for its length."""
    arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
    document["Steps"] += [
        {"Name": f"Call{n}", "Type": "Lambda", "FunctionArn": arn, "Arguments": {}} for n in range(1200)
    ]


right(R, "more than a thousand steps", calls)
fault(R, "MYP001", "dependencies as one text", put("Train", "DependsOn", "Preprocess"))
fault(R, "MYP001", "no steps", lambda d: d.update(Steps=[]))
