"""Faults of settings that exclude each other, of keys and of what is scaled, with correct neighbours."""

from __future__ import annotations

from typing import Any

from tests.unit.check import check_faults_definitions as definitions
from tests.unit.check.check_faults_definitions import get
from tests.unit.check.check_faults_grants import both, grants
from tests.unit.check.check_mutations import add, fault, put, right

U, X, S, T = "tuning", "built_in", "serving", "training"
A = "Arguments|"
CHANNEL = A + "InputDataConfig|"
of_step = definitions.put

GROUPS = [{"InstanceType": "ml.m5.large", "InstanceCount": 2, "InstanceGroupName": "data"}]
definitions.fault(
    X, "MYP512", "type beside groups", of_step("Train", A + "ResourceConfig|InstanceGroups", GROUPS)
)
definitions.right(
    X,
    "groups alone",
    of_step("Train", A + "ResourceConfig", {"InstanceGroups": GROUPS, "VolumeSizeInGB": 30}),
)
definitions.fault(
    X, "MYP512", "warm pool of spot", of_step("Train", A + "ResourceConfig|KeepAlivePeriodInSeconds", 600)
)
FILES = {
    "FileSystemDataSource": {
        "FileSystemId": "fs-0a1b2c3d4e5f60718",
        "FileSystemAccessMode": "ro",
        "FileSystemType": "FSxLustre",
        "DirectoryPath": "/fsx/train",
    }
}
definitions.fault(X, "MYP512", "files outside a VPC", of_step("Train", CHANNEL + "0|DataSource", FILES))
definitions.right(
    X,
    "files in a VPC",
    both(
        of_step("Train", CHANNEL + "0|DataSource", FILES),
        of_step(
            "Train", A + "VpcConfig", {"Subnets": ["subnet-0a1b2c3d"], "SecurityGroupIds": ["sg-0a1b2c3d"]}
        ),
    ),
)
CHECKPOINTS = A + "CheckpointConfig|LocalPath"
definitions.fault(X, "MYP512", "checkpoints in the model", of_step("Train", CHECKPOINTS, "/opt/ml/model"))
definitions.right(X, "checkpoints beside it", of_step("Train", CHECKPOINTS, "/opt/ml/checkpoints"))

CODE = {
    "InputName": "code",
    "S3Input": {
        "S3Uri": "s3://data/code/step.py",
        "LocalPath": "/opt/ml/processing/input/code",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
    },
}
STARTS = A + "AppSpecification|ContainerEntrypoint|1"


def with_code(document: dict[str, Any]) -> None:
    document["Steps"][0]["Arguments"]["ProcessingInputs"].append(CODE)


definitions.right(X, "script of its input", with_code)
definitions.fault(
    X,
    "MYP513",
    "script beside its input",
    both(
        with_code,
        of_step("Preprocess", STARTS, "/opt/ml/processing/code/step.py"),
    ),
)

definitions.fault(
    X, "MYP525", "kind that is not read", of_step("Train", CHANNEL + "0|ContentType", "csv/text")
)
definitions.fault(X, "MYP525", "two kinds", of_step("Train", CHANNEL + "1|ContentType", "text/libsvm"))
definitions.right(
    X, "kind with its label", of_step("Train", CHANNEL + "0|ContentType", "text/csv; label_size=1")
)
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:"
VERSION = A + "AlgorithmSpecification|TrainingImage"
definitions.fault(X, "MYP525", "version that is none", of_step("Train", VERSION, IMAGE + "1.8-1"))
definitions.right(X, "a later version", of_step("Train", VERSION, IMAGE + "3.0-5"))
definitions.fault(
    X,
    "MYP525",
    "stops early by nothing",
    both(
        of_step("Train", A + "HyperParameters|early_stopping_rounds", "5"),
        of_step("Train", CHANNEL + "1", None),
    ),
)
COUNT = A + "TrainingJobDefinition|ResourceConfig|InstanceCount"
definitions.fault(
    U,
    "MYP208",
    "a number that is a text",
    of_step("Tune", COUNT, get("Steps.Notify.OutputParameters['status']")),
)

STEPS = {
    "PolicyName": "steps",
    "PolicyType": "StepScaling",
    "ScalingTargetId": {"Ref": "Target"},
    "StepScalingPolicyConfiguration": {
        "AdjustmentType": "ChangeInCapacity",
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
    },
}
steps = add("Steps", "AWS::ApplicationAutoScaling::ScalingPolicy", STEPS)
fault(S, "MYT114", "steps without alarm", steps)
right(S, "steps with alarm", both(steps, put("Latency", "AlarmActions", [{"Ref": "Steps"}])))
READS = {
    "ServiceNamespace": "dynamodb",
    "ScalableDimension": "dynamodb:table:ReadCapacityUnits",
    "ResourceId": {"Fn::Sub": "table/${Records}"},
    "MinCapacity": 5,
    "MaxCapacity": 5,
}
fault(S, "MYT113", "table on demand", add("Reads", "AWS::ApplicationAutoScaling::ScalableTarget", READS))
VARIANT = {
    "VariantName": "AllTraffic",
    "ModelName": "rates",
    "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 3, "ProvisionedConcurrency": 2},
}
CONCURRENCY = "sagemaker:variant:DesiredProvisionedConcurrency"
serverless = both(
    put("Config", "ProductionVariants", [VARIANT]), put("Target", "ScalableDimension", CONCURRENCY)
)
fault(S, "MYT113", "beyond the concurrency", serverless)


def unknown_endpoint(document: dict[str, Any]) -> None:
    resources = document["Resources"]
    for name in [
        n for n, r in resources.items() if r["Type"] == "AWS::ApplicationAutoScaling::ScalableTarget"
    ]:
        resources[name]["Properties"] |= {
            "MinCapacity": 0,
            "ResourceId": {"Fn::Sub": "endpoint/${Name}/variant/a"},
        }
    document["Parameters"] = {"Name": {"Type": "String"}}


right(S, "down to nothing where the endpoint is not told", unknown_endpoint)


def monitoring(limit: int) -> dict[str, Any]:
    return {
        "MonitoringScheduleName": "hourly",
        "MonitoringScheduleConfig": {
            "ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"},
            "MonitoringJobDefinition": {"StoppingCondition": {"MaxRuntimeInSeconds": limit}},
        },
    }


fault(
    S, "MYT215", "two hours every hour", add("Drift", "AWS::SageMaker::MonitoringSchedule", monitoring(7200))
)
right(S, "half an hour every hour", add("Drift", "AWS::SageMaker::MonitoringSchedule", monitoring(1800)))

TRANSFORMATION = {"MetricNamespace": "Shop", "MetricName": "Errors", "MetricValue": "1"}
FILTER = {
    "LogGroupName": {"Ref": "FunctionLogs"},
    "FilterPattern": "ERROR",
    "MetricTransformations": [TRANSFORMATION],
}
ALARM = {
    "Namespace": "Shop",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    "AlarmActions": [{"Ref": "Topic"}],
}


def counted(**members: Any) -> Any:
    alarm = add("Counted", "AWS::CloudWatch::Alarm", ALARM | members)
    return both(add("Filter", "AWS::Logs::MetricFilter", FILTER), alarm)


fault(S, "MYT508", "metric beside the filter's", counted(MetricName="Failures"))
fault(
    S,
    "MYT508",
    "dimensions that the filter lacks",
    counted(MetricName="Errors", Dimensions=[{"Name": "FunctionName", "Value": {"Ref": "Function"}}]),
)
right(S, "metric of the filter", counted(MetricName="Errors"))

fault(
    S,
    "MYT640",
    "key without CloudWatch",
    put("Key", "KeyPolicy|Statement|1|Principal", {"Service": "events.amazonaws.com"}),
)
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:start"


def notify(*prefixes: str) -> Any:
    entries = [
        {
            "Event": "s3:ObjectCreated:*",
            "Function": FUNCTION,
            "Filter": {"S3Key": {"Rules": [{"Name": "prefix", "Value": prefix}]}},
        }
        for prefix in prefixes
    ]
    return put("Bucket", "NotificationConfiguration|LambdaConfigurations", entries)


fault(S, "MYT639", "one prefix within another", notify("raw/", "raw/2026/"))
right(S, "two prefixes", notify("raw/", "batch/"))
SUBSCRIPTION = {"TopicArn": {"Ref": "Topic"}, "Protocol": "sqs", "Endpoint": {"Ref": "Work"}}
fault(S, "MYT626", "queue by its URL", add("Subscription", "AWS::SNS::Subscription", SUBSCRIPTION))
MOUNT = [{"SourceVolume": "shards", "ContainerPath": "/shards"}]
fault(T, "MYT653", "volume of nothing", put("Task", "ContainerDefinitions|0|MountPoints", MOUNT))
right(
    T,
    "volume of the task",
    both(
        put("Task", "ContainerDefinitions|0|MountPoints", MOUNT),
        put("Task", "Volumes", [{"Name": "shards", "Host": {"SourcePath": "/mnt"}}]),
    ),
)
right(
    S,
    "grants spelt out for one partition, region and account",
    both(
        put("Config", "DataCaptureConfig|DestinationS3Uri", "s3://captures/shop"),
        grants(
            "ModelRole",
            {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::captures/shop/*"},
        ),
    ),
)


def api(function: dict[str, Any]) -> Any:
    integration = {"ApiId": "a1b2c3d4e5", "IntegrationType": "AWS_PROXY", "IntegrationUri": function}
    return add("Integration", "AWS::ApiGatewayV2::Integration", integration)


def admit(function: dict[str, Any]) -> Any:
    source = {"Fn::Sub": "arn:aws:execute-api:${AWS::Region}:${AWS::AccountId}:a1b2c3d4e5/*"}
    permission = {
        "Action": "lambda:InvokeFunction",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": source,
    }
    return add("Admit", "AWS::Lambda::Permission", permission | {"FunctionName": function})


fault(S, "MYT412", "function admitted, alias called", both(api({"Ref": "Live"}), admit({"Ref": "Function"})))
right(S, "alias admitted and called", both(api({"Ref": "Live"}), admit({"Ref": "Live"})))
fault(
    S,
    "MYT102",
    "endpoint by its ARN",
    put("Target", "ResourceId", {"Fn::Sub": "endpoint/${Endpoint}/variant/AllTraffic"}),
)
MANY = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:ListImages", "ecr:DescribeImages"]
MANY += ["ecr:PutImage", "ecr:BatchCheckLayerAvailability", "ecr:GetAuthorizationToken"]
REPOSITORY = "arn:aws:ecr:us-east-1:123456789012:repository/serving"
right(
    S,
    "a long list of which one action takes no resource",
    grants("ModelRole", {"Effect": "Allow", "Action": MANY, "Resource": REPOSITORY}),
)
fault(
    S,
    "MYT302",
    "a token for one repository",
    grants("ModelRole", {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": REPOSITORY}),
)
right(
    S,
    "everything of a service by ARN",
    grants("ModelRole", {"Effect": "Allow", "Action": "ecr:Describe*", "Resource": "arn:aws:ecr:*"}),
)
DATA = A + "PrimaryContainer|ModelDataUrl"
FOLDER = get("Steps.Preprocess.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri")
definitions.fault("regression", "MYP703", "model of rows", of_step("CreateModel", DATA, FOLDER))
definitions.fault(
    "regression",
    "MYP703",
    "archive of another kind",
    of_step("CreateModel", DATA, {"Std:Join": {"On": "/", "Values": [FOLDER, "model.tgz"]}}),
)
definitions.right(
    "regression",
    "archive in a folder",
    of_step("CreateModel", DATA, {"Std:Join": {"On": "/", "Values": [FOLDER, "model.tar.gz"]}}),
)
definitions.fault(
    X,
    "MYP205",
    "key that is a bucket",
    of_step("Train", A + "OutputDataConfig|KmsKeyId", "arn:aws:s3:::data"),
)

definitions.fault(X, "MYP010", "name with a blank", definitions.parameter("Input Data", DefaultValue="a"))
fault(S, "MYT510", "errors that are few", put("Errors", "ComparisonOperator", "LessThanThreshold"))
MAPPING = {"FunctionName": {"Ref": "Function"}, "StartingPosition": "LATEST"}


def stream(attribute: str, **members: Any) -> Any:
    source = {"EventSourceArn": {"Fn::GetAtt": ["Records", attribute]}}
    may_read = {
        "Effect": "Allow",
        "Action": "dynamodb:GetRecords",
        "Resource": {"Fn::Sub": "${Records.Arn}/stream/*"},
    }
    mapping = {k: v for k, v in (MAPPING | source | members).items() if v is not None}
    return both(grants("FunctionRole", may_read), add("Changes", "AWS::Lambda::EventSourceMapping", mapping))


streaming = put("Records", "StreamSpecification", {"StreamViewType": "NEW_IMAGE"})
fault(S, "MYT618", "table in place of its stream", both(streaming, stream("Arn")))
fault(S, "MYT618", "table without stream", stream("StreamArn"))
fault(S, "MYT618", "stream from nowhere", both(streaming, stream("StreamArn", StartingPosition=None)))
right(S, "stream of a table", both(streaming, stream("StreamArn")))
