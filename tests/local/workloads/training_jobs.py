"""What the tests of training jobs share."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from typing import Any

from botocore.exceptions import ClientError

GROUP = "/aws/sagemaker/TrainingJobs"
SAVE = "open('/opt/ml/model/m.txt','w').write('weights')"


def start(workplace: Any, code: str, **changes: Any) -> str:
    name = f"train-{uuid.uuid4().hex[:8]}"
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "RoleArn": workplace.role,
        "AlgorithmSpecification": {"TrainingImage": workplace.image, "TrainingInputMode": "File"},
        # Values hold no line ends, on AWS either.
        "HyperParameters": {"code": json.dumps(code), "depth": "4"},
        "OutputDataConfig": {"S3OutputPath": workplace.uri(f"{name}/")},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }
    workplace.sagemaker.create_training_job(**{**request, **changes})
    return name


def ended(workplace: Any, settle: Any, name: str) -> dict[str, Any]:
    def describe() -> Any:
        return workplace.sagemaker.describe_training_job(TrainingJobName=name)

    answer: dict[str, Any] = settle(describe, "TrainingJobStatus")
    return answer


def channel(name: str, uri: str) -> dict[str, Any]:
    return {
        "ChannelName": name,
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
    }


def members(workplace: Any, key: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(workplace.get(key))) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def log_of(workplace: Any, name: str) -> list[str]:
    try:
        return list(workplace.log(GROUP, f"{name}/"))
    except ClientError:
        return []
