"""Faults of passed roles, permissions of URLs, tasks of state machines and names, with neighbours."""

from __future__ import annotations

from typing import Any

from tests.unit.check.check_mutations import Mutation, add, fault, machine, put, right, statement

S, T = "serving", "training"
ARN = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:"
PIPELINE = {"Version": "2020-12-01", "Parameters": [{"Name": "Input", "Type": "String"}], "Steps": []}


def both(*mutations: Mutation) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        for mutation in mutations:
            mutation(document)

    return mutate


def grants(role: str, *statements: dict[str, Any]) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        policy = document["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]
        policy["Statement"] += statements

    return mutate


def allow(action: str | list[str], resource: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


TO_LAMBDA = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
MAKE = allow("sagemaker:CreateModel", {"Fn::Sub": ARN % "sagemaker" + "model/rates-*"})
fault(S, "MYT313", "passed to Lambda", statement("FunctionRole", 7, Condition=TO_LAMBDA))
fault(
    S,
    "MYT326",
    "models without passing a role",
    both(grants("FunctionRole", MAKE), statement("FunctionRole", 7, Action="iam:GetRole", Condition={})),
)
right(S, "models with a role to pass", grants("FunctionRole", MAKE))
MANAGED = "arn:aws:iam::aws:policy/"
fault(
    S,
    "MYT327",
    "policy without its path",
    put("FunctionRole", "ManagedPolicyArns", [MANAGED + "AWSLambdaBasicExecutionRole"]),
)
right(
    S,
    "policy with its path",
    put("FunctionRole", "ManagedPolicyArns", [MANAGED + "service-role/AWSLambdaBasicExecutionRole"]),
)
fault(
    S,
    "MYT323",
    "capture into a folder that the role may not write",
    put("Config", "DataCaptureConfig|DestinationS3Uri", {"Fn::Sub": "s3://${Bucket}/captured"}),
)
fault(
    S,
    "MYT323",
    "model in a VPC without network interfaces",
    put("Model", "VpcConfig", {"Subnets": ["subnet-0a1b2c3d"], "SecurityGroupIds": ["sg-0a1b2c3d"]}),
)
right(
    S,
    "model in a VPC with network interfaces",
    both(
        put("Model", "VpcConfig", {"Subnets": ["subnet-0a1b2c3d"], "SecurityGroupIds": ["sg-0a1b2c3d"]}),
        grants("ModelRole", allow(["ec2:CreateNetworkInterface", "ec2:DescribeSubnets"], "*")),
    ),
)
fault(
    S,
    "MYT311",
    "index that the table does not have",
    grants("FunctionRole", allow("dynamodb:Query", {"Fn::Sub": "${Records.Arn}/index/by-status"})),
)
right(
    S,
    "any index of the table",
    grants("FunctionRole", allow("dynamodb:Query", {"Fn::Sub": "${Records.Arn}/index/*"})),
)

PERMISSION = {"FunctionName": {"Ref": "Live"}, "Principal": "123456789012"}
URL = PERMISSION | {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "AWS_IAM"}
fault(
    S,
    "MYT615",
    "action of nothing",
    add("May", "AWS::Lambda::Permission", URL | {"Action": "lambda:InvokeUrl"}),
)
fault(
    S,
    "MYT615",
    "authorization of another kind",
    add("May", "AWS::Lambda::Permission", URL | {"FunctionUrlAuthType": "NONE"}),
)
fault(
    S,
    "MYT615",
    "authorization of a URL for an invocation",
    add("May", "AWS::Lambda::Permission", URL | {"Action": "lambda:InvokeFunction"}),
)
right(S, "a caller of the URL", add("May", "AWS::Lambda::Permission", URL))
fault(S, "MYT617", "public URL without permission", put("Url", "AuthType", "NONE"))

fault(
    S,
    "MYT208",
    "roll-back on an alarm's ARN",
    put(
        "Endpoint",
        "DeploymentConfig|AutoRollbackConfiguration|Alarms|0|AlarmName",
        {"Fn::GetAtt": ["Errors", "Arn"]},
    ),
)
fault(S, "MYT210", "model by its ARN", put("Config", "ProductionVariants|0|ModelName", {"Ref": "Model"}))
fault(S, "MYT503", "queue by its URL", put("Waiting", "Dimensions|0|Value", {"Ref": "DeadLetters"}))
fault(
    S,
    "MYT113",
    "scaling burstable instances",
    put("Config", "ProductionVariants|0|InstanceType", "ml.t2.medium"),
)
right(S, "scaling others", put("Config", "ProductionVariants|0|InstanceType", "ml.c6i.large"))
NIGHT = [{"ScheduledActionName": "night", "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 2}}]
fault(
    S,
    "MYT405",
    "scaling on two kinds of days",
    put("Target", "ScheduledActions", [NIGHT[0] | {"Schedule": "cron(0 20 * * * *)"}]),
)
right(
    S,
    "scaling every night",
    put("Target", "ScheduledActions", [NIGHT[0] | {"Schedule": "cron(0 20 * * ? *)"}]),
)
fault(S, "MYT603", "handler without function", put("Function", "Handler", "index"))
CODE = 'import os\n\n\ndef handler(event, context):\n    return os.environ["%s"]\n'
fault(S, "MYT616", "variable that nobody sets", put("Function", "Code", {"ZipFile": CODE % "PIPELINE"}))
right(S, "variable that is set", put("Function", "Code", {"ZipFile": CODE % "TABLE_NAME"}))
right(S, "variable of Lambda", put("Function", "Code", {"ZipFile": CODE % "AWS_REGION"}))
NOTIFICATION = {
    "LambdaConfigurations": [{"Function": "arn:aws:lambda:us-east-1:123456789012:function:other"}]
}
EVENT = "LambdaConfigurations|0|Event"
fault(
    S,
    "MYT626",
    "event of S3 misspelt",
    both(
        put("Bucket", "NotificationConfiguration", NOTIFICATION),
        put("Bucket", "NotificationConfiguration|" + EVENT, "s3:ObjectsCreated:*"),
    ),
)
TARGET = {
    "Id": "p",
    "Arn": {"Fn::Sub": ARN % "sagemaker" + "pipeline/rates"},
    "RoleArn": "arn:aws:iam::123456789012:role/r",
}


def start(name: str) -> Mutation:
    import json

    given = {
        "SageMakerPipelineParameters": {"PipelineParameterList": [{"Name": name, "Value": "s3://data/a"}]}
    }
    body = {"PipelineDefinitionBody": json.dumps(PIPELINE)}
    properties = {
        "PipelineName": "rates",
        "RoleArn": "arn:aws:iam::123456789012:role/r",
        "PipelineDefinition": body,
    }
    return both(
        add("Pipeline", "AWS::SageMaker::Pipeline", properties),
        add(
            "Weekly", "AWS::Events::Rule", {"ScheduleExpression": "rate(7 days)", "Targets": [TARGET | given]}
        ),
    )


fault(S, "MYT224", "started with a parameter of nothing", start("InputData"))
right(S, "started with its parameter", start("Input"))

fault(
    T,
    "MYT655",
    "Fargate mixed with instances",
    both(
        put("Providers", "CapacityProviders", [{"Ref": "Provider"}, "FARGATE_SPOT"]),
        put(
            "Service",
            "CapacityProviderStrategy",
            [
                {"CapacityProvider": {"Ref": "Provider"}, "Weight": 1},
                {"CapacityProvider": "FARGATE_SPOT", "Weight": 1},
            ],
        ),
    ),
)


def task(resource: str, **members: Any) -> Mutation:
    arguments = {
        "TransformJobName.$": "$$.Execution.Name",
        "ModelName": "rates",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/in"}}
        },
        "TransformOutput": {"S3OutputPath": "s3://data/out"},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
    }
    arguments |= members
    given = {k: v for k, v in arguments.items() if v is not None}
    return machine(lambda states: states["Run"].update(Resource=resource, Parameters=given))


SYNC = "arn:aws:states:::sagemaker:createTransformJob.sync"
JOBS = ["sagemaker:CreateTransformJob", "sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob"]
MAY = grants("MachineRole", allow(JOBS, {"Fn::Sub": ARN % "sagemaker" + "transform-job/*"}))
right(T, "a transform job", both(MAY, task(SYNC)))
fault(T, "MYT643", "task of nothing", both(MAY, task("arn:aws:states:::sagemaker:createTransform.sync")))
fault(T, "MYT643", "model that is waited for", both(MAY, task("arn:aws:states:::sagemaker:createModel.sync")))
fault(T, "MYT643", "request without its input", both(MAY, task(SYNC, TransformInput=None)))
fault(T, "MYT643", "request with a member of nothing", both(MAY, task(SYNC, InstanceType="ml.m5.large")))
fault(
    T,
    "MYT646",
    "job without a rule for its end",
    both(MAY, statement("MachineRole", 2, Action="events:PutEvents", Resource="*"), task(SYNC)),
)


def run_task(*roles: str) -> Mutation:
    passed = [{"Fn::GetAtt": [role, "Arn"]} for role in roles]
    target = {
        "Id": "task",
        "Arn": {"Fn::GetAtt": ["Cluster", "Arn"]},
        "RoleArn": {"Fn::GetAtt": ["RuleRole", "Arn"]},
        "EcsParameters": {"TaskDefinitionArn": {"Ref": "Task"}},
    }
    condition = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    return both(
        put("Interruptions", "Targets", [target]),
        grants(
            "RuleRole",
            allow("ecs:RunTask", {"Ref": "Task"}),
            allow("iam:PassRole", passed) | {"Condition": condition},
        ),
    )


fault(T, "MYT323", "task whose own role is not passed", run_task("ExecutionRole"))
right(T, "task whose roles are passed", run_task("ExecutionRole", "TaskRole"))
