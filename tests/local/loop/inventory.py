"""What an account holds, by kind."""

from __future__ import annotations

from typing import Any

import boto3


def inventory(session: boto3.Session) -> dict[str, list[str]]:
    """Names of everything that a stack of this app, or the use of it, can leave; only kinds that exist."""

    def pages(service: str, operation: str, member: str, **request: Any) -> list[Any]:
        paginator = session.client(service).get_paginator(operation)
        return [entry for page in paginator.paginate(**request) for entry in page[member]]

    kms, ecr = session.client("kms"), session.client("ecr")
    keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in pages("kms", "list_keys", "Keys")]
    own = [key for key in keys if key["KeyManager"] == "CUSTOMER"]
    stacks = pages("cloudformation", "describe_stacks", "Stacks")
    groups = pages("sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList")
    found = {
        "stack": [stack["StackName"] for stack in stacks],
        "bucket": [bucket["Name"] for bucket in session.client("s3").list_buckets()["Buckets"]],
        "key": [key["Description"] for key in own if key["KeyState"] != "PendingDeletion"],
        "key pending deletion": [key["Description"] for key in own if key["KeyState"] == "PendingDeletion"],
        "table": pages("dynamodb", "list_tables", "TableNames"),
        "function": [entry["FunctionName"] for entry in pages("lambda", "list_functions", "Functions")],
        "queue": session.client("sqs").list_queues().get("QueueUrls", []),
        "log group": [entry["logGroupName"] for entry in pages("logs", "describe_log_groups", "logGroups")],
        "role": [role["RoleName"] for role in pages("iam", "list_roles", "Roles")],
        "rule": [rule["Name"] for rule in session.client("events").list_rules()["Rules"]],
        "alarm": [alarm["AlarmName"] for alarm in pages("cloudwatch", "describe_alarms", "MetricAlarms")],
        "scalable target": [
            target["ResourceId"]
            for target in pages(
                "application-autoscaling",
                "describe_scalable_targets",
                "ScalableTargets",
                ServiceNamespace="sagemaker",
            )
        ],
        "repository": [entry["repositoryName"] for entry in ecr.describe_repositories()["repositories"]],
        "pipeline": [
            entry["PipelineName"] for entry in pages("sagemaker", "list_pipelines", "PipelineSummaries")
        ],
        "endpoint": [entry["EndpointName"] for entry in pages("sagemaker", "list_endpoints", "Endpoints")],
        "endpoint configuration": [
            entry["EndpointConfigName"]
            for entry in pages("sagemaker", "list_endpoint_configs", "EndpointConfigs")
        ],
        "model": [entry["ModelName"] for entry in pages("sagemaker", "list_models", "Models")],
        "model package group": [entry["ModelPackageGroupName"] for entry in groups],
        "parameter": [entry["Name"] for entry in pages("ssm", "describe_parameters", "Parameters")],
    }
    return {kind: sorted(names) for kind, names in found.items() if names}
