"""The Lambda function behind `InferenceFunction`: predictions over a function URL.

The asset's root holds this folder under the name `runtime` and nothing else
(``Code.from_asset(<folder above>, exclude=["*", "!runtime", "!runtime/**", "**/__pycache__"])``), and the
handler is ``runtime.handler.handle``. It imports the standard library and boto3 only, by relative imports,
so that the same files work as `runtime` in Lambda and as `modelyard.inference.runtime` at synth.
This file imports nothing: the construct reads `settings.Settings` at synth without boto3.

Actions it calls: sagemaker:InvokeEndpoint on the endpoint, with `TargetModel` of the form
"<group>/<version>-<sha>.tar.gz"; dynamodb:GetItem on the deployer's table; the KMS key of the table.
Give the function `Settings.timeout_seconds`: with less, a cold model ends in a bare 502.
"""
