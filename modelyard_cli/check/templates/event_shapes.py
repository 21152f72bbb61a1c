"""Events of AWS services: what their patterns can match.

https://docs.aws.amazon.com/eventbridge/latest/ref/events-ref-sagemaker.html
https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

from __future__ import annotations

from localcloud.sagemaker.events import _KINDS
from localcloud.sagemaker.shapes import service_model

_EXECUTION = ("Executing", "Stopping", "Stopped", "Failed", "Succeeded")
_STEP = ("Starting", "Executing", "Stopping", "Stopped", "Failed", "Succeeded")
CLOUDTRAIL = "AWS API Call via CloudTrail"


def _sagemaker(*names: str) -> set[str]:
    return {f"SageMaker {name}" for name in names}


# source -> its detail-types, where all of them are known
DETAIL_TYPES: dict[str, set[str]] = {
    "aws.sagemaker": {
        *_sagemaker(
            "Training Job State Change",
            "HyperParameter Tuning Job State Change",
            "Transform Job State Change",
            "Endpoint Config State Change",
            "Endpoint State Change",
            "Model State Change",
            "Notebook Instance State Change",
            "Notebook Lifecycle Config State Change",
            "Algorithm State Change",
            "Model Package State Change",
            "Processing Job State Change",
            "Feature Group State Change",
            "Image State Change",
            "Image Version State Change",
            "Endpoint Deployment State Change",
            "Model Card State Change",
            "Model Card Export Job State Change",
            "Monitoring Schedule State Change",
            "Monitoring Alert State Change",
            "Ground Truth Labeling Job State Change",
            "Pipeline State Change",
            "Model Building Pipeline Execution Status Change",
            "Model Building Pipeline Execution Step Status Change",
        ),
        CLOUDTRAIL,
    },
    "aws.s3": {
        "Object Created",
        "Object Deleted",
        "Object Restore Initiated",
        "Object Restore Completed",
        "Object Restore Expired",
        "Object Tags Added",
        "Object Tags Deleted",
        "Object ACL Updated",
        "Object Storage Class Changed",
        "Object Access Tier Changed",
        CLOUDTRAIL,
    },
    "aws.ecs": {
        "ECS Task State Change",
        "ECS Container Instance State Change",
        "ECS Service Action",
        "ECS Deployment State Change",
        CLOUDTRAIL,
    },
    "aws.ec2": {
        "EC2 Spot Instance Interruption Warning",
        "EC2 Instance Rebalance Recommendation",
        "EC2 Instance State-change Notification",
        "EC2 Spot Instance Request Fulfillment",
        "EC2 Fleet Error",
        "EC2 Fleet Instance Change",
        "EC2 Fleet State Change",
        "EC2 Fleet Information",
        "EC2 Fast Launch State-change Notification",
        "EC2 Spot Fleet Error",
        "EC2 Spot Fleet Information",
        "EC2 Spot Fleet Instance Change",
        "EC2 Spot Fleet Request Change",
        "EBS Volume Notification",
        "EBS Snapshot Notification",
        "EC2 Capacity Reservation Instance Interruption Warning",
        "EC2 AMI State Change",
        CLOUDTRAIL,
    },
    "aws.states": {"Step Functions Execution Status Change", CLOUDTRAIL},
    "aws.cloudwatch": {"CloudWatch Alarm State Change", "CloudWatch Alarm Configuration Change", CLOUDTRAIL},
    "aws.autoscaling": {
        "EC2 Instance Launch Successful",
        "EC2 Instance Launch Unsuccessful",
        "EC2 Instance Terminate Successful",
        "EC2 Instance Terminate Unsuccessful",
        "EC2 Instance-launch Lifecycle Action",
        "EC2 Instance-terminate Lifecycle Action",
        "EC2 Auto Scaling Instance Refresh Started",
        "EC2 Auto Scaling Instance Refresh Succeeded",
        "EC2 Auto Scaling Instance Refresh Failed",
        "EC2 Auto Scaling Instance Refresh Cancelled",
        "EC2 Auto Scaling Instance Refresh Checkpoint Reached",
        CLOUDTRAIL,
    },
    "aws.batch": {"Batch Job State Change", "Batch Job Queue Blocked", CLOUDTRAIL},
    "aws.ecr": {
        "ECR Image Action",
        "ECR Image Scan",
        "ECR Pull Through Cache Action",
        "ECR Replication Action",
        "ECR Scan Resource Change",
        CLOUDTRAIL,
    },
    "aws.events": {"Scheduled Event", CLOUDTRAIL},
}

_PIPELINE = {
    "currentPipelineExecutionStatus",
    "previousPipelineExecutionStatus",
    "executionStartTime",
    "executionEndTime",
    "pipelineExecutionDescription",
    "pipelineExecutionDisplayName",
    "pipelineArn",
    "pipelineExecutionArn",
}
# detail-type -> members of its detail, where all of them are known
MEMBERS: dict[str, set[str]] = {
    **{
        kind.detail_type: {*kind.detail, "Tags", "UpdatedModelPackageFields", "SourceUri"}
        for kind in _KINDS.values()
    },
    "SageMaker Model Building Pipeline Execution Status Change": _PIPELINE,
    "SageMaker Model Building Pipeline Execution Step Status Change": {
        "metadata",
        "stepStartTime",
        "stepEndTime",
        "stepName",
        "stepType",
        "previousStepStatus",
        "currentStepStatus",
        "failureReason",
        "cacheHitResult",
        "pipelineArn",
        "pipelineExecutionArn",
        "attemptCount",
    },
    "Object Created": {
        "version",
        "bucket",
        "object",
        "request-id",
        "requester",
        "source-ip-address",
        "reason",
    },
    "Object Deleted": {
        "version",
        "bucket",
        "object",
        "request-id",
        "requester",
        "source-ip-address",
        "reason",
        "deletion-type",
    },
    "EC2 Spot Instance Interruption Warning": {"instance-id", "instance-action"},
    "EC2 Instance Rebalance Recommendation": {"instance-id"},
    "EC2 Instance State-change Notification": {"instance-id", "state"},
    "CloudWatch Alarm State Change": {"alarmName", "state", "previousState", "configuration", "muteDetail"},
    "Step Functions Execution Status Change": {
        "executionArn",
        "stateMachineArn",
        "name",
        "status",
        "startDate",
        "stopDate",
        "input",
        "output",
        "inputDetails",
        "outputDetails",
        "error",
        "cause",
        "stateMachineVersionArn",
        "stateMachineAliasArn",
        "redriveCount",
        "redriveDate",
        "redriveStatus",
        "redriveStatusReason",
    },
}


def values(detail_type: str, member: str) -> tuple[str, ...]:
    """What a member of an event's detail can be; empty where that is not a list of words."""
    known = _VALUES.get((detail_type, member))
    if known is not None:
        return known
    if detail_type == "SageMaker Endpoint State Change" and member == "EndpointStatus":
        return ()
    name = (
        member.replace("Tuning", "HyperParameterTuning") if "HyperParameter Tuning" in detail_type else member
    )
    if detail_type.startswith("SageMaker ") and name.endswith(("Status", "SecondaryStatus")):
        model = service_model()
        if name in model.shape_names:
            return tuple(getattr(model.shape_for(name), "enum", ()) or ())
    return ()


_VALUES: dict[tuple[str, str], tuple[str, ...]] = {
    (
        "SageMaker Model Building Pipeline Execution Status Change",
        "currentPipelineExecutionStatus",
    ): _EXECUTION,
    (
        "SageMaker Model Building Pipeline Execution Status Change",
        "previousPipelineExecutionStatus",
    ): _EXECUTION,
    ("SageMaker Model Building Pipeline Execution Step Status Change", "currentStepStatus"): _STEP,
    ("SageMaker Model Building Pipeline Execution Step Status Change", "previousStepStatus"): _STEP,
    ("EC2 Spot Instance Interruption Warning", "instance-action"): ("hibernate", "stop", "terminate"),
    ("EC2 Instance State-change Notification", "state"): (
        "pending",
        "running",
        "shutting-down",
        "stopped",
        "stopping",
        "terminated",
    ),
    ("Step Functions Execution Status Change", "status"): (
        "RUNNING",
        "SUCCEEDED",
        "FAILED",
        "TIMED_OUT",
        "ABORTED",
        "PENDING_REDRIVE",
    ),
    ("ECS Task State Change", "lastStatus"): (
        "PROVISIONING",
        "PENDING",
        "ACTIVATING",
        "RUNNING",
        "DEACTIVATING",
        "STOPPING",
        "DEPROVISIONING",
        "STOPPED",
        "DELETED",
    ),
    ("ECS Task State Change", "desiredStatus"): ("RUNNING", "STOPPED", "PENDING"),
    ("SageMaker Endpoint State Change", "EndpointStatus"): (
        "CREATING",
        "IN_SERVICE",
        "UPDATING",
        "FAILED",
        "OUT_OF_SERVICE",
        "DELETING",
        "DELETED",
        "ROLLING_BACK",
        "SYSTEM_UPDATING",
        "UPDATE_ROLLBACK_FAILED",
    ),
    ("Batch Job State Change", "status"): (
        "SUBMITTED",
        "PENDING",
        "RUNNABLE",
        "STARTING",
        "RUNNING",
        "SUCCEEDED",
        "FAILED",
    ),
    ("Object Created", "reason"): ("PutObject", "POST Object", "CopyObject", "CompleteMultipartUpload"),
}
