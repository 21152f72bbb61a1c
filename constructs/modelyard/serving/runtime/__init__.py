"""The Lambda function behind `ModelDeployer`: makes the endpoint serve what the registry approves.

The handler is ``modelyard.serving.runtime.handler.handle``; its archive holds this folder and
`modelyard.runtime`. It imports the standard library and boto3 only. This file imports nothing: the construct
reads `settings.Settings` at synth without boto3.

Events, all asynchronous and all with the same meaning, "reconcile": EventBridge's
"SageMaker Model Package State Change", a scheduled rule (every group), or ``{"group": "<name>"}``. The
schedule adds ``"onlyIfDue": true``, which ends at a look into the record unless a canary runs or the interval
is over.

Actions it calls: sagemaker:ListModelPackages, DescribeModelPackage and UpdateModelPackage (never to
"Approved") on the groups' packages; sagemaker:InvokeEndpoint on the endpoint; dynamodb:GetItem and PutItem on
the table; cloudwatch:GetMetricData; s3:GetObject where training writes models; s3:GetObject, PutObject and
DeleteObject on the artifact prefix and s3:ListBucket for it; the KMS keys of buckets and table.
Archives pass through /tmp: give ephemeral storage above `Settings.max_artifact_bytes`.
"""
