"""Metrics that AWS's services emit, with the dimensions under which they do.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/aws-services-cloudwatch-metrics.html
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

Sets = frozenset[frozenset[str]]


def _sets(*names: str) -> Sets:
    return frozenset(frozenset(n.split()) for n in names)


def _table(dimensions: Sets, names: str) -> dict[str, Sets]:
    return dict.fromkeys(names.split(), dimensions)


_VARIANT = _sets(
    "EndpointName VariantName",
    "EndpointName VariantName ContainerName",
    "InferenceComponentName",
    "EndpointName VariantName InstanceType",
)
_LAMBDA = _sets(
    "",
    "FunctionName",
    "FunctionName Resource",
    "FunctionName ExecutedVersion Resource",
    "FunctionName ExecutedVersion",
)
_QUEUE = _sets("QueueName")
_TABLE = _sets("TableName", "TableName GlobalSecondaryIndexName", "TableName Operation", "")
_STATES = _sets(
    "StateMachineArn",
    "StateMachineArn Alias",
    "StateMachineArn Version",
    "StateMachineArn StateMachineAliasArn",
)
_SERVICE = _sets("ClusterName", "ClusterName ServiceName")
_INSIGHTS = _sets(
    "ClusterName",
    "ClusterName ServiceName",
    "ClusterName TaskDefinitionFamily",
    "ClusterName ServiceName TaskId",
    "ClusterName ContainerInstanceId",
    "ClusterName InstanceId ContainerInstanceId",
)
_RULE = _sets("RuleName", "", "EventBusName RuleName", "EventSourceName", "EventBusName")
_GROUP = _sets("AutoScalingGroupName")
_HOST = _sets("EndpointName VariantName", "Host")
_JOB = _sets("Host")
_ANY: Sets = frozenset()

# namespace -> metric -> sets of dimensions; an empty set of sets for any
NAMESPACES: dict[str, dict[str, Sets]] = {
    "AWS/SageMaker": {
        **_table(
            _VARIANT,
            "Invocation4XXErrors Invocation5XXErrors InvocationModelErrors Invocations "
            "InvocationsPerInstance ModelLatency ModelSetupTime OverheadLatency "
            "ModelLoadingWaitTime ModelUnloadingTime ModelDownloadingTime ModelLoadingTime "
            "ModelCacheHit ConcurrentRequestsPerModel ConcurrentRequestsPerCopy "
            "InvocationsPerCopy MidStreamErrors FirstChunkLatency FirstChunkModelLatency "
            "FirstChunkInvocations ServerlessConcurrentExecutionsUtilization "
            "ServerlessProvisionedConcurrencyExecutions "
            "ServerlessProvisionedConcurrencyUtilization "
            "ServerlessProvisionedConcurrencyInvocations "
            "ServerlessProvisionedConcurrencySpilloverInvocations",
        ),
        **_table(
            _sets("EndpointName"),
            "ApproximateBacklogSize ApproximateBacklogSizePerInstance "
            "ApproximateAgeOfOldestRequest HasBacklogWithoutCapacity "
            "InvocationsProcessed InvocationFailures",
        ),
        **_table(
            _ANY,
            "ExecutionStarted ExecutionFailed ExecutionSucceeded ExecutionStopped "
            "ExecutionDuration StepStarted StepFailed StepSucceeded StepStopped StepDuration "
            "JobsFailed JobsSucceeded JobsStopped TotalDatasetObjectsAutoAnnotated TimeToFirstByte "
            "ConsumedReadRequestsUnits ConsumedWriteRequestsUnits",
        ),
    },
    "AWS/Sagemaker/ModelBuildingPipeline": _table(
        _ANY,
        "ExecutionStarted ExecutionFailed ExecutionSucceeded ExecutionStopped ExecutionDuration "
        "StepStarted StepFailed "
        "StepSucceeded StepStopped StepDuration",
    ),
    "/aws/sagemaker/Endpoints": {
        **_table(
            _HOST,
            "CPUUtilization CPUUtilizationNormalized MemoryUtilization GPUUtilization "
            "GPUUtilizationNormalized GPUMemoryUtilization "
            "GPUMemoryUtilizationNormalized DiskUtilization CPUReservation MemoryReservation "
            "GPUReservation LoadedModelCount "
            "InferenceLatency",
        ),
    },
    "/aws/sagemaker/TrainingJobs": _table(
        _JOB, "CPUUtilization MemoryUtilization GPUUtilization GPUMemoryUtilization DiskUtilization"
    ),
    "/aws/sagemaker/ProcessingJobs": _table(
        _JOB, "CPUUtilization MemoryUtilization GPUUtilization GPUMemoryUtilization DiskUtilization"
    ),
    "/aws/sagemaker/TransformJobs": _table(
        _JOB, "CPUUtilization MemoryUtilization GPUUtilization GPUMemoryUtilization DiskUtilization"
    ),
    "AWS/Lambda": _table(
        _LAMBDA,
        "Invocations Errors DeadLetterErrors DestinationDeliveryFailures Throttles "
        "OversizedRecordCount ProvisionedConcurrencyInvocations "
        "ProvisionedConcurrencySpilloverInvocations "
        "ProvisionedConcurrencyUtilization ProvisionedConcurrentExecutions "
        "ConcurrentExecutions "
        "UnreservedConcurrentExecutions ClaimedAccountConcurrency Duration "
        "PostRuntimeExtensionsDuration IteratorAge OffsetLag AsyncEventsReceived "
        "AsyncEventAge AsyncEventsDropped UrlRequestCount UrlRequestLatency Url4xxCount "
        "Url5xxCount RecursiveInvocationsDropped SignatureValidationErrors",
    ),
    "AWS/SQS": _table(
        _QUEUE,
        "ApproximateAgeOfOldestMessage ApproximateNumberOfMessagesDelayed "
        "ApproximateNumberOfMessagesNotVisible ApproximateNumberOfMessagesVisible "
        "NumberOfEmptyReceives NumberOfMessagesDeleted NumberOfMessagesReceived "
        "NumberOfMessagesSent SentMessageSize "
        "NumberOfDeduplicatedSentMessages ApproximateNumberOfGroupsWithInflightMessages",
    ),
    "AWS/SNS": _table(
        _ANY,
        "NumberOfMessagesPublished NumberOfNotificationsDelivered NumberOfNotificationsFailed "
        "NumberOfNotificationsFilteredOut PublishSize "
        "NumberOfNotificationsRedrivenToDlq NumberOfNotificationsFailedToRedriveToDlq "
        "NumberOfNotificationsFilteredOut-InvalidAttributes",
    ),
    "AWS/DynamoDB": _table(
        _ANY,
        "ConsumedReadCapacityUnits ConsumedWriteCapacityUnits ProvisionedReadCapacityUnits "
        "ProvisionedWriteCapacityUnits ReadThrottleEvents "
        "WriteThrottleEvents ThrottledRequests SystemErrors UserErrors "
        "ConditionalCheckFailedRequests SuccessfulRequestLatency ReturnedItemCount "
        "TransactionConflict TimeToLiveDeletedItemCount AccountMaxReads "
        "AccountMaxWrites AccountProvisionedReadCapacityUtilization "
        "AccountProvisionedWriteCapacityUtilization "
        "MaxProvisionedTableReadCapacityUtilization "
        "MaxProvisionedTableWriteCapacityUtilization AgeOfOldestUnreplicatedRecord "
        "OnlineIndexPercentageProgress OnlineIndexThrottleEvents OnlineIndexConsumedWriteCapacity "
        "ReturnedBytes ReturnedRecordsCount FailedToReplicateRecordCount ReplicationLatency "
        "PendingReplicationCount OnDemandMaxReadRequestUnits OnDemandMaxWriteRequestUnits "
        "ThrottledPutRecordCount FaultInjectionServiceInducedErrors",
    ),
    "AWS/States": {
        **_table(
            _STATES,
            "ExecutionsStarted ExecutionsSucceeded ExecutionsFailed ExecutionsAborted "
            "ExecutionsTimedOut ExecutionThrottled ExecutionTime ExecutionsRedriven "
            "RedrivenExecutionsFailed RedrivenExecutionsSucceeded RedrivenExecutionsTimedOut "
            "RedrivenExecutionsAborted ExpressExecutionMemory ExpressExecutionBilledDuration "
            "ExpressExecutionBilledMemory",
        ),
        **_table(
            _ANY,
            "ActivitiesFailed ActivitiesStarted ActivitiesSucceeded ActivitiesTimedOut "
            "ActivityTime ActivityRunTime ActivityScheduleTime ActivitiesHeartbeatTimedOut "
            "ActivitiesScheduled "
            "LambdaFunctionsFailed LambdaFunctionsStarted LambdaFunctionsSucceeded "
            "LambdaFunctionsTimedOut LambdaFunctionTime LambdaFunctionRunTime "
            "LambdaFunctionScheduleTime LambdaFunctionsScheduled "
            "ServiceIntegrationsFailed ServiceIntegrationsStarted "
            "ServiceIntegrationsSucceeded ServiceIntegrationsTimedOut ServiceIntegrationTime "
            "ServiceIntegrationRunTime ServiceIntegrationScheduleTime "
            "ServiceIntegrationsScheduled "
            "ThrottledEvents ProvisionedBucketSize ProvisionedRefillRate ConsumedCapacity "
            "OpenExecutionCount OpenExecutionLimit OpenMapRunLimit OpenMapRunCount",
        ),
    },
    "AWS/Events": _table(
        _RULE,
        "Invocations TriggeredRules MatchedEvents FailedInvocations ThrottledRules "
        "InvocationsSentToDlq InvocationsFailedToBeSentToDlq DeadLetterInvocations "
        "RetryInvocationAttempts InvocationAttempts SuccessfulInvocationAttempts "
        "IngestionToInvocationStartLatency IngestionToInvocationCompleteLatency "
        "IngestionToInvocationSuccessLatency EventsPublished "
        "PutEventsApproximateCallCount "
        "PutEventsApproximateSuccessCount PutEventsApproximateFailedCount "
        "PutEventsApproximateThrottledCount PutEventsEntriesCount PutEventsFailedEntriesCount "
        "PutEventsLatency PutEventsRequestSize InvocationsCreated",
    ),
    "AWS/Scheduler": _table(
        _ANY,
        "InvocationAttemptCount TargetErrorCount TargetErrorThrottledCount InvocationThrottleCount "
        "InvocationDroppedCount InvocationsSentToDeadLetterCount "
        "InvocationsFailedToBeSentToDeadLetterCount "
        "InvocationsSentToDeadLetterCount_Truncated_MessageSizeExceeded",
    ),
    "AWS/ECS": _table(
        _SERVICE,
        "CPUReservation CPUUtilization MemoryReservation MemoryUtilization "
        "EBSFilesystemUtilization GPUReservation ActiveConnectionCount NewConnectionCount "
        "ProcessedBytes RequestCount GrpcRequestCount HTTPCode_Target_2XX_Count "
        "HTTPCode_Target_3XX_Count HTTPCode_Target_4XX_Count "
        "HTTPCode_Target_5XX_Count RequestCountPerTarget TargetProcessedBytes "
        "TargetResponseTime ClientTLSNegotiationErrorCount TargetTLSNegotiationErrorCount",
    ),
    "AWS/ECS/ManagedScaling": _table(
        _sets("ClusterName CapacityProviderName"), "CapacityProviderReservation"
    ),
    "ECS/ContainerInsights": _table(
        _INSIGHTS,
        "ContainerInstanceCount CpuReserved CpuUtilized DeploymentCount DesiredTaskCount "
        "EphemeralStorageReserved EphemeralStorageUtilized "
        "MemoryReserved MemoryUtilized NetworkRxBytes NetworkTxBytes "
        "PendingTaskCount RunningTaskCount ServiceCount "
        "StorageReadBytes StorageWriteBytes TaskCount TaskSetCount "
        "InstanceOSFilesystemUtilization InstanceDataFilesystemUtilization instance_cpu_limit "
        "instance_cpu_utilization instance_memory_utilization RestartCount "
        "UnHealthyContainerHealthStatus TaskCpuUtilization TaskMemoryUtilization "
        "ContainerCpuUtilization ContainerMemoryUtilization",
    ),
    "AWS/AutoScaling": _table(
        _GROUP,
        "GroupMinSize GroupMaxSize GroupDesiredCapacity GroupInServiceInstances "
        "GroupPendingInstances GroupStandbyInstances GroupTerminatingInstances "
        "GroupTotalInstances GroupInServiceCapacity GroupPendingCapacity "
        "GroupStandbyCapacity GroupTerminatingCapacity GroupTotalCapacity "
        "WarmPoolDesiredCapacity WarmPoolWarmedCapacity "
        "WarmPoolPendingCapacity WarmPoolTerminatingCapacity WarmPoolTotalCapacity WarmPoolMinSize "
        "GroupAndWarmPoolDesiredCapacity GroupAndWarmPoolTotalCapacity "
        "PredictiveScalingLoadForecast PredictiveScalingCapacityForecast "
        "PredictiveScalingMetricPairCorrelation",
    ),
    "AWS/EC2": _table(
        _ANY,
        "CPUUtilization DiskReadOps DiskWriteOps DiskReadBytes DiskWriteBytes MetadataNoToken "
        "MetadataNoTokenRejected NetworkIn NetworkOut NetworkPacketsIn NetworkPacketsOut "
        "CPUCreditUsage CPUCreditBalance CPUSurplusCreditBalance "
        "CPUSurplusCreditsCharged StatusCheckFailed StatusCheckFailed_Instance "
        "StatusCheckFailed_System StatusCheckFailed_AttachedEBS "
        "EBSReadOps EBSWriteOps EBSReadBytes EBSWriteBytes EBSIOBalance% EBSByteBalance% "
        "DedicatedHostCPUUtilization GPUPowerUtilization InstanceEBSIOPSExceededCheck "
        "InstanceEBSThroughputExceededCheck",
    ),
    "AWS/S3": _table(
        _ANY,
        "BucketSizeBytes NumberOfObjects AllRequests GetRequests PutRequests DeleteRequests "
        "HeadRequests PostRequests SelectRequests SelectBytesScanned SelectBytesReturned ListRequests "
        "BytesDownloaded BytesUploaded 4xxErrors 5xxErrors FirstByteLatency TotalRequestLatency "
        "ReplicationLatency BytesPendingReplication OperationsPendingReplication "
        "OperationsFailedReplication",
    ),
    "AWS/Logs": _table(
        _ANY,
        "CallCount DeliveryErrors DeliveryThrottling EMFParsingErrors EMFValidationErrors "
        "ErrorCount ForwardedBytes ForwardedLogEvents IncomingBytes IncomingLogEvents "
        "LogEventsWithFindings ThrottleCount",
    ),
}
# Counts of what happened, of which each sample is 0 or 1.
TOTALS = {
    "Errors",
    "Throttles",
    "DeadLetterErrors",
    "FailedInvocations",
    "ExecutionsFailed",
    "ExecutionsTimedOut",
    "ExecutionsAborted",
}
_MAX_BYTES = 5_000_000


def text_of(path: Path) -> str:
    """The text of a source file, or of all in an archive; empty for what is too large or unreadable."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
                entries = [
                    e for e in archive.infolist() if e.filename.endswith(".py") and e.file_size < _MAX_BYTES
                ]
                return "".join(archive.read(e).decode("utf-8", "replace") for e in entries)
        return path.read_text(encoding="utf-8", errors="replace") if path.suffix == ".py" else ""
    except (OSError, zipfile.BadZipFile):
        return ""
