"""Answers about jobs, endpoints and executions have the API's shapes right after these are made or stopped.

Nobody runs them here; what has ended is asked for in `tests/local/test_sagemaker_answers_on_cloud.py`.
"""

from __future__ import annotations

from typing import Any, cast

from localcloud.sagemaker import shapes
from localcloud.sagemaker.service import SageMaker
from tests.unit.answer_shapes import faults
from tests.unit.sagemaker_support import Iam, iam_fixture, sagemaker_fixture

__all__ = ["iam_fixture", "sagemaker_fixture"]

ROLE = "arn:aws:iam::000000000000:role/r"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/i:1"
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
ROWS = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/rows"}}}
DEFINITION = (
    '{"Version": "2020-12-01", "Parameters": [{"Name": "P", "Type": "String", "DefaultValue": "p"}], '
    '"Steps": [{"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}]}'
)
STARTED: list[tuple[str, dict[str, Any]]] = [
    (
        "CreateProcessingJob",
        {
            "ProcessingJobName": "p",
            "RoleArn": ROLE,
            "AppSpecification": {"ImageUri": IMAGE},
            "ProcessingResources": {"ClusterConfig": CLUSTER},
        },
    ),
    ("DescribeProcessingJob", {"ProcessingJobName": "p"}),
    ("ListProcessingJobs", {}),
    (
        "CreateTrainingJob",
        {
            "TrainingJobName": "t",
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://b/models"},
            "ResourceConfig": CLUSTER,
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
    ),
    ("DescribeTrainingJob", {"TrainingJobName": "t"}),
    ("ListTrainingJobs", {}),
    ("CreateModel", {"ModelName": "m", "PrimaryContainer": {"Image": IMAGE}, "ExecutionRoleArn": ROLE}),
    (
        "CreateTransformJob",
        {
            "TransformJobName": "b",
            "ModelName": "m",
            "TransformInput": ROWS,
            "TransformOutput": {"S3OutputPath": "s3://b/scores"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        },
    ),
    ("DescribeTransformJob", {"TransformJobName": "b"}),
    ("ListTransformJobs", {}),
    ("StopTransformJob", {"TransformJobName": "b"}),
    ("StopTrainingJob", {"TrainingJobName": "t"}),
    ("StopProcessingJob", {"ProcessingJobName": "p"}),
    ("DescribeTransformJob", {"TransformJobName": "b"}),
    ("DescribeTrainingJob", {"TrainingJobName": "t"}),
    ("DescribeProcessingJob", {"ProcessingJobName": "p"}),
    ("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [VARIANT]}),
    ("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
    ("DescribeEndpoint", {"EndpointName": "e"}),
    ("ListEndpoints", {}),
    (
        "CreatePipeline",
        {
            "PipelineName": "l",
            "ClientRequestToken": "t" * 32,
            "RoleArn": ROLE,
            "PipelineDefinition": DEFINITION,
        },
    ),
    ("DescribePipeline", {"PipelineName": "l"}),
    ("ListPipelines", {}),
    ("ListPipelineVersions", {"PipelineName": "l"}),
    (
        "StartPipelineExecution",
        {
            "PipelineName": "l",
            "ClientRequestToken": "t" * 32,
            "PipelineParameters": [{"Name": "P", "Value": "given"}],
        },
    ),
    ("ListPipelineExecutions", {"PipelineName": "l"}),
]
OF_EXECUTIONS = [
    "DescribePipelineExecution",
    "ListPipelineExecutionSteps",
    "ListPipelineParametersForExecution",
    "DescribePipelineDefinitionForExecution",
    "UpdatePipelineExecution",
    "StopPipelineExecution",
    "DescribePipelineExecution",
]


class Nobody:
    """Takes what is to be run, and runs nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_answers_about_what_runs_have_the_shapes_of_the_api(sagemaker: SageMaker, iam: Iam) -> None:
    iam.roles.add(ROLE)
    sagemaker.jobs = sagemaker.hosting = sagemaker.executor = cast(Any, Nobody())
    found, answers = [], {}
    for operation, request in STARTED:
        answers[operation] = answer = sagemaker.call(operation, request, None)
        found += list(faults(answer, shapes.output_shape(operation), operation))
    execution = {"PipelineExecutionArn": answers["StartPipelineExecution"]["PipelineExecutionArn"]}
    for operation in OF_EXECUTIONS:
        token = {"ClientRequestToken": "t" * 32} if operation.startswith("Stop") else {}
        answer = sagemaker.call(operation, execution | token, None)
        found += list(faults(answer, shapes.output_shape(operation), operation))
    assert found == []
    listed = {name: items for name, items in answers.items() if name.startswith("List")}
    for name, answer in listed.items():
        (items,) = [value for value in answer.values() if isinstance(value, list)]
        assert items, name
