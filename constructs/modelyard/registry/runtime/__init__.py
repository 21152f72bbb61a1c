"""The Lambda function that empties a model package group before CloudFormation deletes it.

The handler is ``modelyard.registry.runtime.handler.handle``; its archive holds this folder and
`modelyard.runtime`. It imports the standard library and boto3 only.

Resource properties: ``GroupName`` and ``GroupArn``. Only a group tagged `modelyard:may-be-emptied=true` is
emptied: the tag goes with an update that keeps the group from now on, and updates run before what is no
longer in the template is deleted. Actions it calls: sagemaker:ListTags on the group, ListModelPackages and
DeleteModelPackage on its versions.
"""
