"""Faults of deployed pipelines, scaling steps, log filters, deployments, bounds; and what is right."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.check.check_mutations import BASES, Mutation, add, fault, put, right

S, T = "serving", "training"


def together(*changes: Mutation) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        for change in changes:
            change(document)

    return mutate


def steps(*intervals: tuple[float | None, float | None]) -> Mutation:
    adjustments = [
        {
            "ScalingAdjustment": number + 1,
            **({} if low is None else {"MetricIntervalLowerBound": low}),
            **({} if high is None else {"MetricIntervalUpperBound": high}),
        }
        for number, (low, high) in enumerate(intervals)
    ]
    config = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": adjustments}
    target = {"Ref": "Target"}
    return add(
        "Steps",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        {
            "PolicyName": "Steps",
            "PolicyType": "StepScaling",
            "ScalingTargetId": target,
            "StepScalingPolicyConfiguration": config,
        },
    )


fault(S, "MYT111", "a gap between steps", steps((0, 10), (20, None)))
fault(S, "MYT111", "steps that overlap", steps((0, 20), (10, None)))
fault(S, "MYT111", "a step that holds nothing", steps((10, 10), (10, None)))

FEATURES = [
    {"FeatureName": "id", "FeatureType": "String"},
    {"FeatureName": "at", "FeatureType": "Fractional"},
    {"FeatureName": "rows", "FeatureType": "Integral"},
]


def features(key: str, time: str) -> Mutation:
    properties = {
        "FeatureGroupName": "loans",
        "RecordIdentifierFeatureName": key,
        "EventTimeFeatureName": time,
        "FeatureDefinitions": FEATURES,
        "OnlineStoreConfig": {"EnableOnlineStore": True},
    }
    return add("Features", "AWS::SageMaker::FeatureGroup", properties)


fault(S, "MYT214", "a key that is no feature", features("loan", "at"))
fault(S, "MYT214", "a time that is no feature", features("id", "time"))
fault(S, "MYT214", "a time of whole numbers", features("id", "rows"))

DEFINITION = json.loads((BASES / "regression.json").read_text(encoding="utf-8"))
ROLE = "arn:aws:iam::123456789012:role/pipeline"


def pipeline(
    logical_id: str = "Pipeline",
    kind: str = "AWS::SageMaker::Pipeline",
    text: str | None = None,
    **properties: Any,
) -> Mutation:
    body = json.dumps(DEFINITION) if text is None else text
    given = {"PipelineName": "rates", "RoleArn": ROLE, "PipelineDefinition": {"PipelineDefinitionBody": body}}
    return add(logical_id, kind, given | properties)


CUSTOM = "Custom::SageMakerPipeline"
WORD = {"MseThreshold": "x"}
fault(S, "MYT221", "a definition that is not JSON", pipeline(text="{'Steps': []}"))
fault(S, "MYT221", "a definition without steps", pipeline(text='{"Version": "2020-12-01"}'))
fault(S, "MYT221", "a definition of another hash", pipeline(kind=CUSTOM, DefinitionSha256="0" * 64))
fault(S, "MYT222", "a default for nobody", pipeline(kind=CUSTOM, ParameterDefaults={"Threshold": "1"}))
fault(
    S, "MYT222", "a default of another type", pipeline(kind=CUSTOM, ParameterDefaults={"MseThreshold": "x"})
)
fault(
    S,
    "MYT222",
    "a default outside its enum",
    pipeline(kind=CUSTOM, ParameterDefaults={"ApprovalStatus": "Perhaps"}),
)
fault(S, "MYT223", "two pipelines with one name", together(pipeline(), pipeline("Again")))
NONE = {"MaxParallelExecutionSteps": 0}
fault(S, "MYT223", "no step at a time", pipeline(ParallelismConfiguration=NONE))
fault(S, "MYT223", "no step at a time, by the custom resource", pipeline(kind=CUSTOM, ParallelismMax=0))


def metric_filter(**changes: Any) -> Mutation:
    transformation = {"MetricName": "Errors", "MetricNamespace": "Shop", "MetricValue": "1"}
    transformation |= {k: v for k, v in changes.items() if k in transformation}
    properties = {
        "LogGroupName": changes.get("LogGroupName", {"Ref": "FunctionLogs"}),
        "FilterPattern": "ERROR",
        "MetricTransformations": [transformation],
    }
    return add("Filter", "AWS::Logs::MetricFilter", properties)


fault(S, "MYT509", "a log group of nobody", metric_filter(LogGroupName="shop-functions"))
fault(S, "MYT509", "a value that is a word", metric_filter(MetricValue="count"))
right(S, "a filter that counts", metric_filter())
right(S, "a filter that takes a field", metric_filter(MetricValue="$.latency"))

WEIGHT = {"FunctionVersion": "2", "FunctionWeight": 1.5}
fault(S, "MYT610", "a weight above 1", put("Live", "RoutingConfig", {"AdditionalVersionWeights": [WEIGHT]}))
fault(
    S,
    "MYT610",
    "a dead-letter queue that feeds the function",
    put("Mapping", "EventSourceArn", {"Fn::GetAtt": ["DeadLetters", "Arn"]}),
)


def deployment(**changes: Any) -> Mutation:
    properties = {
        "ApplicationName": "shop",
        "ServiceRoleArn": ROLE,
        "DeploymentConfigName": "CodeDeployDefault.LambdaCanary10Percent5Minutes",
        "AlarmConfiguration": {"Enabled": True, "Alarms": [{"Name": {"Ref": "FunctionErrors"}}]},
        "AutoRollbackConfiguration": {"Enabled": True, "Events": ["DEPLOYMENT_STOP_ON_ALARM"]},
    }
    return add("Shift", "AWS::CodeDeploy::DeploymentGroup", properties | changes)


fault(S, "MYT612", "a shift that watches nothing", deployment(AlarmConfiguration={"Enabled": True}))
OFF = {"Enabled": False, "Alarms": [{"Name": {"Ref": "FunctionErrors"}}]}
fault(S, "MYT612", "alarms that are off", deployment(AlarmConfiguration=OFF))
MISSING = {"Enabled": True, "Alarms": [{"Name": "shop-errors"}]}
fault(S, "MYT612", "an alarm that does not exist", deployment(AlarmConfiguration=MISSING))
KEEPS = {"Enabled": True, "Events": ["DEPLOYMENT_FAILURE"]}
fault(S, "MYT612", "no way back on an alarm", deployment(AutoRollbackConfiguration=KEEPS))


def custom(**properties: Any) -> Mutation:
    given = {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}, "ServiceTimeout": 90}
    return add("Custom", "Custom::Thing", {k: v for k, v in (given | properties).items() if v is not None})


fault(S, "MYT614", "waits for less than the handler takes", custom(ServiceTimeout=30))
fault(S, "MYT614", "waits for more than an hour", custom(ServiceTimeout=4000))
fault(S, "MYT614", "asks nobody", custom(ServiceToken=None))
right(S, "waits a little longer than the handler", custom())

fault(S, "MYT624", "hidden for a day", put("Work", "VisibilityTimeout", 86_400))
fault(S, "MYT624", "kept for a month", put("DeadLetters", "MessageRetentionPeriod", 2_592_000))
fault(
    S,
    "MYT624",
    "a FIFO queue by another name",
    together(put("Work", "FifoQueue", True), put("Work", "QueueName", "work")),
)

STATEMENT = "PolicyDocument|Statement|0|"
OTHER = ["arn:aws:s3:::another-bucket", "arn:aws:s3:::another-bucket/*"]
fault(S, "MYT637", "TLS of another bucket", put("BucketPolicy", STATEMENT + "Resource", OTHER))
fault(
    S,
    "MYT637",
    "TLS of another bucket, both named",
    together(
        put("Bucket", "BucketName", "shop-data"),
        put("BucketPolicy", STATEMENT + "Resource", OTHER[1]),
    ),
)
fault(
    S,
    "MYT637",
    "objects of the bucket's own address",
    together(
        put("BucketPolicy", STATEMENT + "Action", "s3:GetObject"),
        put("BucketPolicy", STATEMENT + "Resource", "arn:aws:s3:::shop-data"),
    ),
)
right(
    S,
    "TLS of the bucket by its name",
    together(
        put("Bucket", "BucketName", "shop-data"),
        put("BucketPolicy", STATEMENT + "Resource", ["arn:aws:s3:::shop-data", "arn:aws:s3:::shop-data/*"]),
    ),
)

fault(T, "MYT647", "express machine that waits", put("Machine", "StateMachineType", "EXPRESS"))
fault(T, "MYT647", "logs that go nowhere", put("Machine", "LoggingConfiguration", {"Level": "ALL"}))

ZERO = {"ProvisionedConcurrentExecutions": 0}
fault(S, "MYT620", "an alias that provisions none", put("Live", "ProvisionedConcurrencyConfig", ZERO))
fault(S, "MYT620", "a version that provisions none", put("Version", "ProvisionedConcurrencyConfig", ZERO))


def serverless(ready: int) -> Mutation:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
        "InitialVariantWeight": 1,
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5, "ProvisionedConcurrency": ready},
    }
    return put("Config", "ProductionVariants|0", variant)


fault(S, "MYT205", "a serverless variant that provisions none", serverless(0))
