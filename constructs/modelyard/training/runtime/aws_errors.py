"""What a refusal of AWS says."""

from botocore.exceptions import ClientError


def code(error: ClientError) -> str:
    """For example `ConditionalCheckFailedException`."""
    return str(error.response["Error"]["Code"])


def reason(error: ClientError) -> str:
    """Its message."""
    return str(error.response["Error"].get("Message") or code(error))
