"""What a refusal of AWS says."""

from botocore.exceptions import BotoCoreError, ClientError


def code(error: ClientError | BotoCoreError) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def reason(error: ClientError | BotoCoreError) -> str:
    return (
        str(error.response["Error"].get("Message") or code(error))
        if isinstance(error, ClientError)
        else str(error)
    )
