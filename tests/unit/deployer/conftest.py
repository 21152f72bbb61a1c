"""What the tests of the deployer on AWS's interfaces share."""

import boto3
import pytest
from botocore.stub import Stubber


@pytest.fixture
def stubbed():
    """Makes (client, stubber) pairs, and checks at the end that all that was expected was asked."""
    stubbers = []

    def make(service):
        client = boto3.client(
            service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y"
        )
        stubbers.append(Stubber(client))
        stubbers[-1].activate()
        return client, stubbers[-1]

    yield make
    for stubber in stubbers:
        stubber.assert_no_pending_responses()
