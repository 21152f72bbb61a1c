"""Faults of policies, roles and events."""

from __future__ import annotations

from tests.unit.check.check_mutations import drop, fault, put, statement, without

S = "serving"
fault(S, "MYT301", "action misspelt", statement("FunctionRole", 6, Action="sagemaker:InvokeEndpoints"))
fault(S, "MYT301", "service misspelt", statement("FunctionRole", 3, Action="dynamo:GetItem"))
fault(
    S,
    "MYT302",
    "objects of a bucket alone",
    statement("ModelRole", 0, Resource={"Fn::GetAtt": ["Bucket", "Arn"]}),
)
fault(S, "MYT302", "listing of objects", statement("ModelRole", 1, Resource={"Fn::Sub": "${Bucket.Arn}/*"}))
fault(
    S,
    "MYT302",
    "invoking an endpoint's configuration",
    statement(
        "FunctionRole",
        6,
        Resource={
            "Fn::Sub": "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:endpoint-config/shop"
        },
    ),
)
fault(
    S,
    "MYT302",
    "token for a repository",
    statement(
        "ModelRole",
        3,
        Resource={"Fn::Sub": "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/serving"},
    ),
)
fault(
    S,
    "MYT303",
    "account and region swapped",
    statement(
        "FunctionRole", 6, Resource={"Fn::Sub": "arn:${AWS::Partition}:sagemaker::us-east-1:endpoint/shop"}
    ),
)
fault(
    S,
    "MYT303",
    "bucket with a region",
    statement("FunctionRole", 5, Resource="arn:aws:s3:us-east-1::bucket/models/*"),
)
fault(
    S,
    "MYT304",
    "condition of another action",
    statement("FunctionRole", 6, Condition={"StringLike": {"sagemaker:ModelApprovalStatus": "Approved"}}),
)
fault(
    S,
    "MYT305",
    "wildcard with StringEquals",
    statement("FunctionRole", 6, Condition={"StringEquals": {"sagemaker:TargetModel": "rates/*.tar.gz"}}),
)
fault(S, "MYT306", "role passed to any service", statement("FunctionRole", 7, Condition={}))
fault(
    S,
    "MYT307",
    "everything of SageMaker",
    statement("FunctionRole", 6, Action="sagemaker:*", Resource="*", Condition={}),
)
fault(S, "MYT308", "writes every table", statement("FunctionRole", 3, Resource="*"))
fault(
    S,
    "MYT309",
    "queue for anybody",
    put(
        "WorkPolicy",
        "PolicyDocument|Statement|0",
        {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"},
    ),
)
fault(
    S,
    "MYT310",
    "principal in a role's policy",
    statement("FunctionRole", 3, Principal={"Service": "lambda.amazonaws.com"}),
)
fault(
    S,
    "MYT311",
    "another endpoint's name",
    statement(
        "FunctionRole",
        6,
        Resource={
            "Fn::Sub": "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:endpoint/store"
        },
    ),
)
fault(S, "MYT312", "policy of 2008", put("ModelRole", "AssumeRolePolicyDocument|Version", "2008-10-17"))
fault(
    S,
    "MYT321",
    "model's role trusts Lambda",
    put("ModelRole", "AssumeRolePolicyDocument|Statement|0|Principal|Service", "lambda.amazonaws.com"),
)
fault(S, "MYT322", "model without role", put("Model", "ExecutionRoleArn", None))
fault(S, "MYT323", "dead letters not allowed", without("FunctionRole", 1))
fault(S, "MYT323", "queue not readable", without("FunctionRole", 2))
fault(S, "MYT323", "models not readable", without("ModelRole", 0))
fault(
    S,
    "MYT325",
    "role for anybody",
    put("FunctionRole", "AssumeRolePolicyDocument|Statement|0|Principal", {"AWS": "*"}),
)
fault(S, "MYT401", "source without aws", put("Approval", "EventPattern|source", ["sagemaker"]))
fault(
    S,
    "MYT401",
    "detail-type misspelt",
    put("Approval", "EventPattern|detail-type", ["SageMaker Model Package Status Change"]),
)
fault(
    S,
    "MYT401",
    "detail-type of another service",
    put("Uploads", "EventPattern|detail-type", ["ObjectCreated:Put"]),
)
fault(
    S,
    "MYT402",
    "member in lower case",
    put("Approval", "EventPattern|detail", {"modelPackageGroupName": ["rates"]}),
)
fault(
    S,
    "MYT403",
    "status in capitals",
    put("Approval", "EventPattern|detail|ModelApprovalStatus", ["APPROVED"]),
)
fault(
    S, "MYT404", "value without list", put("Approval", "EventPattern|detail|ModelApprovalStatus", "Approved")
)
fault(S, "MYT404", "rule switched off", put("Approval", "State", "DISABLED"))
fault(S, "MYT405", "plural of one", put("Periodic", "ScheduleExpression", "rate(1 minutes)"))
fault(S, "MYT405", "cron of five fields", put("Periodic", "ScheduleExpression", "cron(0 12 * * *)"))
fault(S, "MYT406", "no permission", drop("ApprovalPermission"))
fault(S, "MYT406", "queue's policy gone", drop("WorkPolicy"))
fault(S, "MYT407", "input is no JSON", put("Periodic", "Targets|0|Input", "{group: rates}"))
fault(S, "MYT408", "events on a bus of its own", put("Approval", "EventBusName", "ml-events"))
fault(S, "MYT409", "bucket is silent", put("Bucket", "NotificationConfiguration", None))
fault(S, "MYT410", "another group", put("Approval", "EventPattern|detail|ModelPackageGroupName", ["rate"]))
fault(S, "MYT411", "too many retries", put("Approval", "Targets|0|RetryPolicy|MaximumRetryAttempts", 500))
