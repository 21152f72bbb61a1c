"""The Lambda function behind `InferenceFunction`: predictions over a function URL.

The handler is ``modelyard.inference.runtime.handler.handle``; its archive holds this folder and
`modelyard.runtime`. It imports the standard library and boto3 only. This file imports nothing: the construct
reads `settings.Settings` at synth without boto3.

Actions it calls: sagemaker:InvokeEndpoint on the endpoint, with `TargetModel` of the form
"<group>/<version>-<sha>.tar.gz"; dynamodb:GetItem on the deployer's table; the KMS key of the table;
where images are taken, s3:GetObject below their prefix, and the KMS key of their bucket.
Give the function `Settings.timeout_seconds`: with less, a cold model ends in a bare 502.
"""
