"""The Lambda function that empties a bucket before CloudFormation deletes it.

The handler is ``modelyard.storage.runtime.handler.handle``; its archive holds this folder and
`modelyard.runtime`. It imports the standard library and boto3 only.

Resource property: ``BucketName``. Only a bucket tagged `modelyard:may-be-emptied=true` is emptied: the tag
goes with an update that keeps the bucket from now on, and updates run before what is no longer in the
template is deleted. Actions it calls: s3:GetBucketTagging, GetBucketPolicy, PutBucketPolicy and
ListBucketVersions on the bucket, s3:DeleteObject and DeleteObjectVersion on its objects.
"""
