"""The Lambda function that empties a bucket before CloudFormation deletes it.

The handler is ``modelyard.storage.runtime.handler.handle``; its archive holds this folder and
`modelyard.runtime`. It imports the standard library and boto3 only.

Resource property: ``BucketName``. Only a bucket tagged `modelyard:empty-on-delete=true` is emptied: see
`modelyard.runtime.tags`. Actions it calls: s3:GetBucketTagging, GetBucketPolicy, PutBucketPolicy and
ListBucketVersions on the bucket, s3:DeleteObject and DeleteObjectVersion on its objects.
"""
