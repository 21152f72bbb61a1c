"""Faults of endpoints, alarms, functions, queues and storage."""

from __future__ import annotations

from tests.unit.check.check_mutations import add, drop, fault, put, right, without

S = "serving"
TRACK = "TargetTrackingScalingPolicyConfiguration"
fault(S, "MYT101", "scaling another variant", put("Target", "ResourceId", "endpoint/shop/variant/Main"))
fault(
    S,
    "MYT101",
    "scaling another endpoint",
    put("Target", "ResourceId", "endpoint/shopping/variant/AllTraffic"),
)
fault(S, "MYT102", "namespace of ECS", put("Target", "ServiceNamespace", "ecs"))
fault(S, "MYT102", "resource id without variant", put("Target", "ResourceId", "endpoint/shop"))
fault(S, "MYT103", "minimum above maximum", put("Target", "MinCapacity", 8))
fault(S, "MYT104", "starts above the maximum", put("Config", "ProductionVariants|0|InitialInstanceCount", 9))
fault(S, "MYT105", "scales to zero", put("Target", "MinCapacity", 0))
fault(
    S,
    "MYT106",
    "metric of ECS",
    put(
        "Policy",
        f"{TRACK}|PredefinedMetricSpecification|PredefinedMetricType",
        "ECSServiceAverageCPUUtilization",
    ),
)
fault(S, "MYT107", "target value of nothing", put("Policy", f"{TRACK}|TargetValue", 0))
fault(S, "MYT108", "step scaling with a tracking configuration", put("Policy", "PolicyType", "StepScaling"))
fault(S, "MYT109", "negative cooldown", put("Policy", f"{TRACK}|ScaleInCooldown", -1))
fault(S, "MYT109", "never fewer", put("Policy", f"{TRACK}|DisableScaleIn", True))
fault(S, "MYT110", "target without policy", drop("Policy"))
fault(S, "MYT112", "scaled counts forgotten", put("Endpoint", "RetainAllVariantProperties", False))
fault(
    S,
    "MYT201",
    "prefix without slash",
    put("Model", "PrimaryContainer|ModelDataUrl", {"Fn::Sub": "s3://${Bucket}/models/multi"}),
)
fault(
    S,
    "MYT201",
    "prefix is an archive",
    put("Model", "PrimaryContainer|ModelDataUrl", {"Fn::Sub": "s3://${Bucket}/models/multi/model.tar.gz"}),
)
fault(S, "MYT202", "prefix for a single model", put("Model", "PrimaryContainer|Mode", "SingleModel"))
fault(
    S,
    "MYT203",
    "address is an ARN",
    put("Config", "DataCaptureConfig|DestinationS3Uri", "arn:aws:s3:::bucket/capture"),
)
fault(S, "MYT204", "weight of zero", put("Config", "ProductionVariants|0|InitialVariantWeight", 0))
fault(S, "MYT205", "no instance", put("Config", "ProductionVariants|0|InitialInstanceCount", 0))
fault(S, "MYT206", "instance type of EC2", put("Config", "ProductionVariants|0|InstanceType", "m5.large"))
fault(S, "MYT206", "name with underscore", put("Endpoint", "EndpointName", "the_shop"))
fault(
    S,
    "MYT207",
    "disk on NVMe",
    put(
        "Config",
        "ProductionVariants|0",
        {
            "VariantName": "AllTraffic",
            "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
            "InstanceType": "ml.g5.xlarge",
            "InitialInstanceCount": 1,
            "VolumeSizeInGB": 30,
        },
    ),
)
fault(
    S,
    "MYT208",
    "roll-back on another alarm",
    put("Endpoint", "DeploymentConfig|AutoRollbackConfiguration|Alarms", [{"AlarmName": "other"}]),
)
fault(
    S,
    "MYT208",
    "roll-back on the function's alarm",
    put(
        "Endpoint",
        "DeploymentConfig|AutoRollbackConfiguration|Alarms",
        [{"AlarmName": {"Ref": "FunctionErrors"}}],
    ),
)
fault(
    S,
    "MYT209",
    "canary without size",
    put("Endpoint", "DeploymentConfig|BlueGreenUpdatePolicy|TrafficRoutingConfiguration|CanarySize", None),
)
fault(
    S,
    "MYT209",
    "time-out below the waits",
    put("Endpoint", "DeploymentConfig|BlueGreenUpdatePolicy|MaximumExecutionTimeoutInSeconds", 700),
)
fault(S, "MYT210", "another model's name", put("Config", "ProductionVariants|0|ModelName", "other-model"))
fault(S, "MYT211", "captures nothing", put("Config", "DataCaptureConfig|InitialSamplingPercentage", 0))
fault(S, "MYT212", "image of Docker Hub", put("Model", "PrimaryContainer|Image", "library/python:3.13"))
fault(S, "MYT213", "endpoint without key", put("Config", "KmsKeyId", None))
fault(S, "MYT638", "key not usable", without("ModelRole", 2))
fault(S, "MYT501", "metric misspelt", put("Errors", "MetricName", "Invocations5XXErrors"))
fault(S, "MYT501", "hardware in the wrong namespace", put("Memory", "Namespace", "AWS/SageMaker"))
fault(
    S, "MYT502", "variant missing", put("Errors", "Dimensions", [{"Name": "EndpointName", "Value": "shop"}])
)
fault(S, "MYT503", "another endpoint", put("Latency", "Dimensions|0|Value", "store"))
fault(S, "MYT503", "another variant", put("Latency", "Dimensions|1|Value", "Blue"))
fault(S, "MYT504", "sum of percentages", put("Memory", "Statistic", "Sum"))
fault(S, "MYT505", "period of 45 s", put("Errors", "Period", 45))
fault(S, "MYT505", "three of two", put("Errors", "DatapointsToAlarm", 3))
fault(S, "MYT506", "latency in milliseconds", put("Latency", "Threshold", 200))
fault(S, "MYT506", "more than all fail", put("Errors", "Threshold", 5))
fault(S, "MYT507", "alarm nobody hears", put("Latency", "AlarmActions", []))
fault(
    S,
    "MYT508",
    "metric of nobody",
    add(
        "Custom",
        "AWS::CloudWatch::Alarm",
        {
            "Namespace": "Shop",
            "MetricName": "Drift",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            "AlarmActions": [{"Ref": "Topic"}],
        },
    ),
)
fault(
    S,
    "MYT601",
    "provisioned above reserved",
    put("Live", "ProvisionedConcurrencyConfig|ProvisionedConcurrentExecutions", 200),
)
fault(S, "MYT602", "provisioned on $LATEST", put("Live", "FunctionVersion", "$LATEST"))
fault(S, "MYT602", "URL past the alias", put("Url", "Qualifier", None))
fault(S, "MYT603", "timeout of an hour", put("Function", "Timeout", 3600))
fault(S, "MYT603", "reserved variable", put("Function", "Environment|Variables|AWS_REGION", "us-east-1"))
fault(
    S,
    "MYT604",
    "password in the environment",
    put("Function", "Environment|Variables|DB_PASSWORD", "hunter2hunter2"),
)
fault(S, "MYT605", "messages come back early", put("Work", "VisibilityTimeout", 30))
fault(S, "MYT606", "queue without redrive", put("Work", "RedrivePolicy", None))
fault(S, "MYT607", "any account's rules", put("ApprovalPermission", "SourceArn", None))
fault(S, "MYT608", "open URL", put("Url", "AuthType", "NONE"))
fault(
    S,
    "MYT609",
    "another endpoint in the environment",
    put("Function", "Environment|Variables|ENDPOINT_NAME", "store"),
)
fault(S, "MYT611", "events are lost", put("Function", "DeadLetterConfig", None))
fault(S, "MYT613", "logs for ever", put("FunctionLogs", "RetentionInDays", None))
fault(
    S,
    "MYT621",
    "redrives to itself",
    put("Work", "RedrivePolicy|deadLetterTargetArn", {"Fn::GetAtt": ["Work", "Arn"]}),
)
fault(S, "MYT622", "gives up at once", put("Work", "RedrivePolicy|maxReceiveCount", 1))
fault(S, "MYT623", "dead letters expire first", put("DeadLetters", "MessageRetentionPeriod", 3600))
fault(S, "MYT625", "key of AWS", put("Work", "KmsMasterKeyId", "alias/aws/sqs"))
fault(S, "MYT625", "topic in the clear", put("Topic", "KmsMasterKeyId", None))
fault(S, "MYT631", "public bucket", put("Bucket", "PublicAccessBlockConfiguration", None))
fault(S, "MYT631", "bucket without TLS", drop("BucketPolicy"))
fault(S, "MYT632", "bucket without encryption", put("Bucket", "BucketEncryption", None))
fault(
    S,
    "MYT633",
    "key without owner",
    put(
        "Key",
        "KeyPolicy|Statement",
        [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "kms:Decrypt",
                "Resource": "*",
            }
        ],
    ),
)
fault(S, "MYT633", "key that never rotates", put("Key", "EnableKeyRotation", False))
fault(
    S,
    "MYT634",
    "models expire",
    put(
        "Bucket",
        "LifecycleConfiguration",
        {"Rules": [{"Id": "Old", "Status": "Enabled", "Prefix": "models/", "ExpirationInDays": 30}]},
    ),
)
fault(S, "MYT635", "key that is no attribute", put("Records", "KeySchema|0|AttributeName", "name"))
fault(S, "MYT636", "no recovery", put("Records", "PointInTimeRecoverySpecification", None))
fault(
    S,
    "MYT702",
    "two groups with one name",
    add("Group2", "AWS::SageMaker::ModelPackageGroup", {"ModelPackageGroupName": "rates"}),
)
fault(
    S,
    "MYT704",
    "text in place of Fn::Sub",
    put("Config", "DataCaptureConfig|DestinationS3Uri", "s3://${Bucket}/capture"),
)

right(
    S,
    "an alarm's action for want of a topic",
    put("Waiting", "AlarmActions", {"Fn::If": ["HasTopic", "", {"Ref": "AWS::NoValue"}]}),
)
