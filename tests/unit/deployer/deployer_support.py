"""What the tests of the deployer on AWS's interfaces have in common."""

import base64
import hashlib
import io

from botocore.response import StreamingBody
from botocore.stub import ANY
from serving_runtime.ports import Package
from serving_runtime.record import Deployment
from serving_runtime.settings import Settings

SETTINGS = Settings(
    endpoint_name="models",
    table_name="records",
    groups=("loans", "homes"),
    artifact_bucket="data",
    kms_key_arn="arn:aws:kms:eu-west-1:000000000000:key/k",
    max_artifact_bytes=1000,
)
ARN = "arn:aws:sagemaker:eu-west-1:000000000000:model-package/loans/3"
PACKAGE = Package(version=3, arn=ARN)
DEPLOYMENT = Deployment(version=3, package_arn=ARN, artifact="loans/3-abc.tar.gz", sha256="abc", since="then")


def body(data):
    return StreamingBody(io.BytesIO(data), len(data))


def summary(version, status="Completed"):
    arn = f"arn:aws:sagemaker:eu-west-1:000000000000:model-package/loans/{version}"
    return {
        "ModelPackageArn": arn,
        "ModelPackageVersion": version,
        "ModelPackageStatus": status,
        "CreationTime": 0,
        "ModelApprovalStatus": "Approved",
    }


def described(**changes):
    return {
        "ModelPackageName": "loans",
        "ModelPackageArn": ARN,
        "CreationTime": 0,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": "Approved",
        "InferenceSpecification": {"Containers": [{"ModelDataUrl": "s3://train/model.tar.gz"}]},
        **changes,
    }


def put_of(data):
    return {
        "Bucket": "data",
        "Key": "models/multi/loans/3-abc.tar.gz",
        "Body": ANY,
        "IfNoneMatch": "*",
        "ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": SETTINGS.kms_key_arn,
    }
