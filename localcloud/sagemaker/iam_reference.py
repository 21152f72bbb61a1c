"""SageMaker's page of the service authorization reference, as far as its operations are served here.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

# operation -> resource type of its ARN, and the member that names the resource
RESOURCES: dict[str, tuple[str, str]] = {
    **{
        f"{verb}{noun}": (kind, f"{noun}Name")
        for noun, kind, verbs in (
            ("Model", "model", ("Create", "Describe", "Delete")),
            ("EndpointConfig", "endpoint-config", ("Create", "Describe", "Delete")),
            ("Endpoint", "endpoint", ("Describe", "Delete", "Invoke")),
            ("ModelPackageGroup", "model-package-group", ("Create", "Describe", "Delete")),
            ("ModelPackage", "model-package", ("Describe", "Delete")),
            ("ProcessingJob", "processing-job", ("Create", "Describe", "Stop", "Delete")),
            ("TrainingJob", "training-job", ("Create", "Describe", "Stop", "Delete", "Update")),
            ("TransformJob", "transform-job", ("Create", "Describe", "Stop")),
            (
                "HyperParameterTuningJob",
                "hyper-parameter-tuning-job",
                ("Create", "Describe", "Stop", "Delete", "ListTrainingJobsFor"),
            ),
            ("Pipeline", "pipeline", ("Create", "Update", "Describe", "Delete")),
        )
        for verb in verbs
    },
    "UpdateEndpointWeightsAndCapacities": ("endpoint", "EndpointName"),
    "UpdateModelPackage": ("model-package", "ModelPackageArn"),
    "StartPipelineExecution": ("pipeline", "PipelineName"),
    "ListPipelineExecutions": ("pipeline", "PipelineName"),
    "ListPipelineVersions": ("pipeline", "PipelineName"),
    "UpdatePipelineVersion": ("pipeline", "PipelineArn"),
    **dict.fromkeys(
        (
            "DescribePipelineDefinitionForExecution",
            "DescribePipelineExecution",
            "ListPipelineExecutionSteps",
            "ListPipelineParametersForExecution",
            "RetryPipelineExecution",
            "StopPipelineExecution",
            "UpdatePipelineExecution",
        ),
        ("pipeline", "PipelineExecutionArn"),
    ),
    "AddTags": ("", "ResourceArn"),
    "ListTags": ("", "ResourceArn"),
    "DeleteTags": ("", "ResourceArn"),
}
_JOB_KEYS = ("InstanceTypes", "OutputKmsKey", "VolumeKmsKey")
_NETWORK_KEYS = ("NetworkIsolation", "VpcSecurityGroupIds", "VpcSubnets")
_LIFE_CYCLE_KEYS = ("ModelLifeCycle:Stage", "ModelLifeCycle:StageStatus")
# operation -> condition keys of SageMaker's own that its request fills
KEYS: dict[str, tuple[str, ...]] = {
    "CreateModel": _NETWORK_KEYS,
    "CreateEndpointConfig": ("AcceleratorTypes", "InstanceTypes", "ModelArn", "VolumeKmsKey", *_NETWORK_KEYS),
    "CreateProcessingJob": (
        *_JOB_KEYS,
        *_NETWORK_KEYS,
        "MaxRuntimeInSeconds",
        "InterContainerTrafficEncryption",
    ),
    "CreateTrainingJob": (
        *_JOB_KEYS,
        *_NETWORK_KEYS,
        "MaxRuntimeInSeconds",
        "InterContainerTrafficEncryption",
        "KeepAlivePeriod",
        "EnableRemoteDebug",
    ),
    "CreateHyperParameterTuningJob": (
        *_JOB_KEYS,
        *_NETWORK_KEYS,
        "MaxRuntimeInSeconds",
        "InterContainerTrafficEncryption",
    ),
    "CreateTransformJob": (*_JOB_KEYS, "ModelArn"),
    "CreateModelPackage": ("ModelApprovalStatus", *_LIFE_CYCLE_KEYS),
    "UpdateModelPackage": (
        "ModelApprovalStatus",
        "CustomerMetadataPropertiesToRemove",
        *_LIFE_CYCLE_KEYS,
    ),
    "InvokeEndpoint": ("TargetModel",),
    **dict.fromkeys(
        ("DescribePipeline", "StartPipelineExecution", "UpdatePipelineVersion"), ("PipelineVersionId",)
    ),
}
# condition key -> the request members that hold its values, wherever in the request they stand
MEMBERS: dict[str, tuple[str, ...]] = {
    "InstanceTypes": ("InstanceType",),
    "AcceleratorTypes": ("AcceleratorType",),
    "VpcSecurityGroupIds": ("SecurityGroupIds",),
    "VpcSubnets": ("Subnets",),
    "NetworkIsolation": ("EnableNetworkIsolation",),
    "InterContainerTrafficEncryption": ("EnableInterContainerTrafficEncryption",),
    "MaxRuntimeInSeconds": ("MaxRuntimeInSeconds",),
    "KeepAlivePeriod": ("KeepAlivePeriodInSeconds",),
    "EnableRemoteDebug": ("EnableRemoteDebug",),
    "ModelApprovalStatus": ("ModelApprovalStatus",),
    "CustomerMetadataPropertiesToRemove": ("CustomerMetadataPropertiesToRemove",),
    "ModelLifeCycle:Stage": ("Stage",),
    "ModelLifeCycle:StageStatus": ("StageStatus",),
    "TargetModel": ("TargetModel",),
    "PipelineVersionId": ("PipelineVersionId",),
}
# Of the two resources that these operations name, the one that gets the tags.
TAGGED = {"CreateEndpoint": "endpoint", "CreateModelPackage": "model-package"}
LISTS = frozenset(
    {
        "InstanceTypes",
        "AcceleratorTypes",
        "VpcSecurityGroupIds",
        "VpcSubnets",
        "CustomerMetadataPropertiesToRemove",
    }
)
