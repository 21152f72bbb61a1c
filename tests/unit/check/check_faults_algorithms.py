"""Faults of S3 addresses, of the built-in XGBoost and of images, with correct neighbours."""

from __future__ import annotations

from tests.unit.check.check_faults_definitions import Mutation, fault, get, put, right

R, U, X = "regression", "tuning", "built_in"
A = "Arguments|"
JOB = A + "TrainingJobDefinition|"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
TORCH = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch"
SPECIFICATION = A + "InferenceSpecification|"


def both(*mutations: Mutation) -> Mutation:
    def mutate(document: dict[str, object]) -> None:
        for mutation in mutations:
            mutation(document)

    return mutate


def artifact(*before: str) -> Mutation:
    """A path to the best job's archive, as notebooks put it together."""
    job = get("Steps.Tune.BestTrainingJob.TrainingJobName")
    join = {"Std:Join": {"On": "/", "Values": [*before, job, "output/model.tar.gz"]}}
    return put("Notify", A + "model", join)


BUILT_IN = both(
    put("Tune", JOB + "AlgorithmSpecification|TrainingImage", IMAGE),
    put("Tune", JOB + "AlgorithmSpecification|MetricDefinitions", None),
)
OBJECTIVE = A + "HyperParameterTuningJobConfig|HyperParameterTuningJobObjective|MetricName"

fault(X, "MYP209", "scheme twice", put("Train", A + "OutputDataConfig|S3OutputPath", "s3://data/s3://models"))
fault(
    X, "MYP209", "bucket with capitals", put("Train", A + "OutputDataConfig|S3OutputPath", "s3://My_Data/m")
)
fault(U, "MYP209", "scheme twice by joining", artifact("s3:/", "s3://data/models"))
right(U, "scheme by joining", artifact("s3:/", "data", "models"))
right(
    X, "a bucket whose name comes later", put("Train", A + "OutputDataConfig|S3OutputPath", "s3://${Data}/m")
)

fault(U, "MYP112", "best job elsewhere", artifact("s3:/", "data", "archives"))
right(U, "best job under the job's path", artifact("s3://data/models/"))

CHANNEL = A + "InputDataConfig|0|"
OUTPUT = "Steps.Preprocess.ProcessingOutputConfig.Outputs['{}'].S3Output.S3Uri"
fault(
    X,
    "MYP113",
    "trained on the test rows",
    put("Train", CHANNEL + "DataSource|S3DataSource|S3Uri", get(OUTPUT.format("test"))),
)
right(X, "a channel with a name of its own", put("Train", A + "InputDataConfig|1|ChannelName", "validation"))

fault(X, "MYP526", "eta above one", put("Train", A + "HyperParameters|eta", "2.5"))
fault(X, "MYP526", "half a round", put("Train", A + "HyperParameters|num_round", "0.5"))
fault(X, "MYP526", "misspelt hyperparameter", put("Train", A + "HyperParameters|max_deph", "5"))
fault(X, "MYP526", "objective of nothing", put("Train", A + "HyperParameters|objective", "reg:squared"))
fault(X, "MYP526", "classes uncounted", put("Train", A + "HyperParameters|objective", "multi:softmax"))
fault(X, "MYP526", "tree method of nothing", put("Train", A + "HyperParameters|tree_method", "fast"))
right(X, "hyperparameters as documented", put("Train", A + "HyperParameters|tree_method", "hist"))
right(X, "a hyperparameter that is not known here", put("Train", A + "HyperParameters|_kfold", "5"))

fault(U, "MYP607", "objective that is not reported", both(BUILT_IN, put("Tune", OBJECTIVE, "validation:rms")))
fault(
    U,
    "MYP607",
    "objective without its channel",
    both(BUILT_IN, put("Tune", JOB + "InputDataConfig|1|ChannelName", "extra")),
)
right(U, "objective of the list", both(BUILT_IN, put("Tune", OBJECTIVE, "validation:mae")))

fault(
    R,
    "MYP527",
    "served by what trains",
    put("Register", SPECIFICATION + "Containers|0|Image", TORCH + "-training:2.1.0-cpu-py310"),
)
fault(
    R,
    "MYP527",
    "trained by what serves",
    put("Train", A + "AlgorithmSpecification|TrainingImage", TORCH + "-inference:2.1.0-cpu-py310"),
)
right(
    R,
    "served by what serves",
    put("Register", SPECIFICATION + "Containers|0|Image", TORCH + "-inference:2.1.0-cpu-py310"),
)

fault(
    R,
    "MYP528",
    "XGBoost on Inferentia",
    both(
        put("Register", SPECIFICATION + "Containers|0|Image", IMAGE),
        put("Register", SPECIFICATION + "SupportedRealtimeInferenceInstanceTypes", ["ml.inf1.xlarge"]),
    ),
)

fault(
    R,
    "MYP102",
    "trial named by nothing",
    lambda d: d.update(
        PipelineExperimentConfig={"ExperimentName": "rates", "TrialName": get("Execution.Id")}
    ),
)
fault(
    R,
    "MYP101",
    "experiment named by nothing",
    lambda d: d.update(PipelineExperimentConfig={"ExperimentName": get("Parameters.Experiment")}),
)
right(
    R,
    "trial of the execution",
    lambda d: d.update(
        PipelineExperimentConfig={
            "ExperimentName": "rates",
            "TrialName": get("Execution.PipelineExecutionId"),
        }
    ),
)
