"""What the service knows about each step type, whether or not it runs here.

Follows https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html and, for
`cache_key`, https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-default-keys.html.
"""

from dataclasses import dataclass

COMMON_MEMBERS = frozenset({"Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepType:
    """A step type's traits.

    Args:
        members: members of the step beside the common ones.
        response: the botocore shape its properties follow, None where they follow none.
        listing: a further shape, some of whose members they have too.
        cache_key: the arguments, or members of them, that make its cache key; empty when it is never cached,
            or cannot run here.
        whole_arguments: whether all its arguments and its target make its cache key.
        retries: whether it takes retry policies.
        caches: whether it takes a cache configuration.
    """

    members: frozenset[str] = frozenset()
    response: str | None = None
    listing: str | None = None
    cache_key: frozenset[str] = frozenset()
    whole_arguments: bool = False
    retries: bool = False
    caches: bool = False


_JOB = frozenset({"CacheConfig", "RetryPolicies"})
_CHECK = frozenset(
    {
        "CheckType",
        "FailOnViolation",
        "ModelName",
        "ModelPackageGroupName",
        "RegisterNewBaseline",
        "SkipCheck",
        "SuppliedBaselineConstraints",
        "SuppliedBaselineStatistics",
        "CacheConfig",
    }
)

# The member that names what a step of these types calls.
TARGETS = {"Callback": "SqsQueueUrl", "Lambda": "FunctionArn"}

STEP_TYPES: dict[str, StepType] = {
    "AutoML": StepType(members=_JOB, retries=True, caches=True),
    "Callback": StepType(
        members=frozenset({"SqsQueueUrl", "OutputParameters", "CacheConfig"}),
        whole_arguments=True,
        caches=True,
    ),
    "ClarifyCheck": StepType(members=_CHECK, caches=True),
    "Cleanup": StepType(),
    "Condition": StepType(),
    "EMR": StepType(
        members=_JOB | {"ClusterId", "ClusterConfig", "ExecutionRoleArn"}, retries=True, caches=True
    ),
    "EMRServerless": StepType(members=_JOB, retries=True, caches=True),
    "Endpoint": StepType(members=_JOB, response="DescribeEndpointOutput", caches=True),
    "EndpointConfig": StepType(
        members=_JOB, response="DescribeEndpointConfigOutput", retries=True, caches=True
    ),
    "Fail": StepType(),
    "InferenceComponent": StepType(members=_JOB, retries=True),
    "Job": StepType(members=_JOB, retries=True, caches=True),
    "Lambda": StepType(
        members=frozenset({"FunctionArn", "OutputParameters", "CacheConfig"}),
        whole_arguments=True,
        caches=True,
    ),
    "Lineage": StepType(),
    "Model": StepType(members=_JOB, response="DescribeModelOutput", retries=True),
    "Processing": StepType(
        members=_JOB | {"PropertyFiles"},
        response="DescribeProcessingJobResponse",
        cache_key=frozenset({"AppSpecification", "Environment", "ProcessingInputs"}),
        retries=True,
        caches=True,
    ),
    "QualityCheck": StepType(members=_CHECK, caches=True),
    "RegisterModel": StepType(members=_JOB, response="DescribeModelPackageOutput", retries=True),
    "Training": StepType(
        members=_JOB | {"PropertyFiles"},
        response="DescribeTrainingJobResponse",
        cache_key=frozenset(
            {
                "AlgorithmSpecification",
                "CheckpointConfig",
                "DebugHookConfig",
                "DebugRuleConfigurations",
                "Environment",
                "HyperParameters",
                "InputDataConfig",
            }
        ),
        retries=True,
        caches=True,
    ),
    "Transform": StepType(
        members=_JOB,
        response="DescribeTransformJobResponse",
        cache_key=frozenset({"DataProcessing", "Environment", "ModelName", "TransformInput"}),
        retries=True,
        caches=True,
    ),
    "Tuning": StepType(
        members=_JOB | {"PropertyFiles"},
        response="DescribeHyperParameterTuningJobResponse",
        listing="ListTrainingJobsForHyperParameterTuningJobResponse",
        cache_key=frozenset(
            {
                "HyperParameterTuningJobConfig",
                "TrainingJobDefinition.AlgorithmSpecification",
                "TrainingJobDefinition.HyperParameterRanges",
                "TrainingJobDefinition.InputDataConfig",
                "TrainingJobDefinition.StaticHyperParameters",
                "TrainingJobDefinition.TuningObjective",
                "TrainingJobDefinitions",
            }
        ),
        retries=True,
        caches=True,
    ),
}
