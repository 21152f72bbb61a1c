"""The Lambda function that empties a bucket before CloudFormation deletes it.

The asset's root holds this folder under the name `runtime` and nothing else; the handler is
``runtime.handler.handle``. It imports the standard library and boto3 only.

Resource property: ``BucketName``. Actions it calls: s3:ListBucketVersions on the bucket, s3:DeleteObject and
s3:DeleteObjectVersion on its objects.
"""
