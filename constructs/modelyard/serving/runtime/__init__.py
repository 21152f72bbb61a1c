"""The Lambda function behind `ModelDeployer`: makes the endpoint serve what the registry approves.

The handler is ``modelyard.serving.runtime.handler.handle``; its archive holds this folder and
`modelyard.runtime`. It imports the standard library and boto3 only. This file imports nothing: the construct
reads `settings.Settings` at synth without boto3.

Events, all asynchronous and all with the same meaning, "reconcile": EventBridge's
"SageMaker Model Package State Change", a scheduled rule (every group), or ``{"group": "<name>"}``.

Actions it calls: sagemaker:ListModelPackages and DescribeModelPackage on the groups and their packages;
sagemaker:InvokeEndpoint on the endpoint; dynamodb:GetItem and PutItem on the table; s3:GetObject where
training writes models; s3:GetObject and PutObject on the artifact prefix and s3:ListBucket for it; the
KMS keys of buckets and table.
Archives pass through /tmp: give ephemeral storage above `Settings.max_artifact_bytes`.
"""
