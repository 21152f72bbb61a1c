"""`cdk destroy` leaves nothing but what retention says, and what AWS keeps of work that was done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from modelyard_cli.demo import commands, phases
from tests.local.loop.inventory import inventory
from tests.local.loop.story import MODEL, Story

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]


def test_nothing_is_left_but_what_aws_keeps(story: Story, tmp_path: Path) -> None:
    # As S3 does, in its own time, on AWS.
    story.administrator.client("s3").put_object(
        Bucket=story.names.physical("data/DataAccessLogs"), Key="data/2026-01-01-00-00-00-A", Body=b"GET"
    )
    before = inventory(story.administrator)
    commands.cdk(
        "destroy", "--all", "--force", "--app", str(phases.ASSEMBLY),
        environment=story.environment, log=tmp_path / "destroy.log",
    )  # fmt: skip
    after = inventory(story.administrator)

    # What `cdk bootstrap` made stays for the next deployment, service-linked roles for good.
    bootstrap = {
        "stack": ["CDKToolkit"],
        "bucket": [story.bootstrap_bucket],
        "repository": [f"cdk-hnb659fds-container-assets-{story.account}-{story.region}"],
        "role": [name for name in before["role"] if name.startswith(("cdk-hnb659fds-", "AWSServiceRole"))],
        "parameter": ["/cdk-bootstrap/hnb659fds/version"],
    }
    # KMS deletes a key days after it was asked to.
    scheduled = {
        "key pending deletion": [
            "Data and models in Data/Data",
            "Deployment records in Serving/Deployer/Records",
        ]
    }
    # What runs made, outside of any stack: models of their CreateModel steps, and logs. (AWS also keeps the
    # records of jobs, which nobody can delete.)
    of_runs = {
        "model": [name for name in before["model"] if re.fullmatch(r"pipelines-[a-z0-9]{12}-.*", name)],
        "log group": [
            "/aws/sagemaker/ProcessingJobs",
            "/aws/sagemaker/TrainingJobs",
            "/aws/sagemaker/TransformJobs",
        ],
    }
    assert after == bootstrap | scheduled | of_runs


def test_the_registry_went_with_all_its_versions(story: Story) -> None:
    with pytest.raises(ClientError, match=r"does not exist|not found"):
        story.administrator.client("sagemaker").list_model_packages(ModelPackageGroupName=MODEL)
