"""Names, references and ARNs of resources, as CloudFormation returns them.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/ ("Return values" of each type)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard_cli.check.templates.model import Resource

_HERE = "${AWS::Region}:${AWS::AccountId}"
# type -> (property with the name, the ARN with the name as {})
_KINDS: dict[str, tuple[str, str]] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": ("", ""),
    "AWS::CloudWatch::Alarm": ("AlarmName", f"cloudwatch:{_HERE}:alarm:{{}}"),
    "AWS::CloudWatch::CompositeAlarm": ("AlarmName", f"cloudwatch:{_HERE}:alarm:{{}}"),
    "AWS::DynamoDB::Table": ("TableName", f"dynamodb:{_HERE}:table/{{}}"),
    "AWS::DynamoDB::GlobalTable": ("TableName", f"dynamodb:{_HERE}:table/{{}}"),
    "AWS::ECR::Repository": ("RepositoryName", f"ecr:{_HERE}:repository/{{}}"),
    "AWS::ECS::Cluster": ("ClusterName", f"ecs:{_HERE}:cluster/{{}}"),
    "AWS::ECS::Service": ("ServiceName", f"ecs:{_HERE}:service/{{}}"),
    "AWS::ECS::CapacityProvider": ("Name", f"ecs:{_HERE}:capacity-provider/{{}}"),
    "AWS::ECS::TaskDefinition": ("Family", f"ecs:{_HERE}:task-definition/{{}}:1"),
    "AWS::Events::EventBus": ("Name", f"events:{_HERE}:event-bus/{{}}"),
    "AWS::Events::Rule": ("Name", f"events:{_HERE}:rule/{{}}"),
    "AWS::IAM::Role": ("RoleName", "iam::${AWS::AccountId}:role/{}"),
    "AWS::IAM::ManagedPolicy": ("ManagedPolicyName", "iam::${AWS::AccountId}:policy/{}"),
    "AWS::KMS::Key": ("", f"kms:{_HERE}:key/{{}}"),
    "AWS::Lambda::Function": ("FunctionName", f"lambda:{_HERE}:function:{{}}"),
    "AWS::Logs::LogGroup": ("LogGroupName", f"logs:{_HERE}:log-group:{{}}:*"),
    "AWS::S3::Bucket": ("BucketName", "s3:::{}"),
    "AWS::SNS::Topic": ("TopicName", f"sns:{_HERE}:{{}}"),
    "AWS::SQS::Queue": ("QueueName", f"sqs:{_HERE}:{{}}"),
    "AWS::SSM::Parameter": ("Name", f"ssm:{_HERE}:parameter/{{}}"),
    "AWS::SageMaker::Endpoint": ("EndpointName", f"sagemaker:{_HERE}:endpoint/{{}}"),
    "AWS::SageMaker::EndpointConfig": ("EndpointConfigName", f"sagemaker:{_HERE}:endpoint-config/{{}}"),
    "AWS::SageMaker::Model": ("ModelName", f"sagemaker:{_HERE}:model/{{}}"),
    "AWS::SageMaker::ModelPackageGroup": (
        "ModelPackageGroupName",
        f"sagemaker:{_HERE}:model-package-group/{{}}",
    ),
    "AWS::SageMaker::Pipeline": ("PipelineName", f"sagemaker:{_HERE}:pipeline/{{}}"),
    "AWS::SageMaker::InferenceComponent": (
        "InferenceComponentName",
        f"sagemaker:{_HERE}:inference-component/{{}}",
    ),
    "AWS::SecretsManager::Secret": ("Name", f"secretsmanager:{_HERE}:secret:{{}}-token"),
    "AWS::StepFunctions::StateMachine": ("StateMachineName", f"states:{_HERE}:stateMachine:{{}}"),
    "AWS::AutoScaling::AutoScalingGroup": ("AutoScalingGroupName", ""),
    "Custom::SageMakerPipeline": ("PipelineName", f"sagemaker:{_HERE}:pipeline/{{}}"),
}
_NAME = "{}"
_REF_IS_ARN = {
    "AWS::ECS::Service",
    "AWS::ECS::TaskDefinition",
    "AWS::IAM::ManagedPolicy",
    "AWS::SNS::Topic",
    "AWS::SageMaker::Endpoint",
    "AWS::SageMaker::EndpointConfig",
    "AWS::SageMaker::InferenceComponent",
    "AWS::SageMaker::Model",
    "AWS::SageMaker::ModelPackageGroup",
    "AWS::SecretsManager::Secret",
    "AWS::StepFunctions::StateMachine",
}
_ARN_ATTRIBUTES = {
    "Arn",
    "TableArn",
    "TopicArn",
    "ServiceArn",
    "ModelPackageGroupArn",
    "EndpointArn",
    "AlarmArn",
}


def name_of(resource: Resource) -> str:
    """A resource's physical name; a token where CloudFormation makes one up."""
    member = _KINDS.get(resource.type, ("", ""))[0]
    given = resource.template.resolve(resource.raw.get(member)) if member else None
    return given if isinstance(given, str) else _token(resource, "Name")


def arn_of(resource: Resource) -> str:
    """A resource's ARN, with tokens for what only the deployment knows; empty for types without one here."""
    pattern = _KINDS.get(resource.type, ("", ""))[1]
    return f"arn:${{AWS::Partition}}:{pattern.replace(_NAME, name_of(resource))}" if pattern else ""


def ref_of(resource: Resource) -> str:
    """What `Ref` returns."""
    if resource.type in _REF_IS_ARN:
        return arn_of(resource)
    if resource.type == "AWS::SQS::Queue":
        return f"https://sqs.${{AWS::Region}}.amazonaws.com/${{AWS::AccountId}}/{name_of(resource)}"
    if resource.type in _KINDS and _KINDS[resource.type][0]:
        return name_of(resource)
    return _token(resource, "Name" if resource.type in _KINDS else "Ref")


def attribute_of(resource: Resource, attribute: str) -> str:
    """What `Fn::GetAtt` returns."""
    if attribute in _ARN_ATTRIBUTES and arn_of(resource):
        return arn_of(resource)
    member = _KINDS.get(resource.type, ("", ""))[0]
    if attribute in (member, "Name", "QueueName", "ModelName", "EndpointName") and member:
        return name_of(resource)
    return _token(resource, attribute)


def _token(resource: Resource, attribute: str) -> str:
    return "${" + f"{resource.template.name}/{resource.id}.{attribute}" + "}"
