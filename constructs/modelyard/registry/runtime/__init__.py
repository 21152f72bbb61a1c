"""The Lambda function that empties a model package group before CloudFormation deletes it.

The asset's root holds this folder under the name `runtime` and nothing else; the handler is
``runtime.handler.handle``. It imports the standard library and boto3 only.

Resource property: ``GroupName``. Actions it calls, on the group's versions: sagemaker:ListModelPackages and
DeleteModelPackage.
"""
