"""The Lambda function that empties a model package group before CloudFormation deletes it.

The handler is ``modelyard.registry.runtime.handler.handle``; its archive holds this folder and
`modelyard.runtime`. It imports the standard library and boto3 only.

Resource properties: ``GroupName`` and ``GroupArn``. Only a group tagged `modelyard:empty-on-delete=true` is
emptied: see `modelyard.runtime.tags`. Actions it calls: sagemaker:ListTags on the group, ListModelPackages
and DeleteModelPackage on its versions.
"""
