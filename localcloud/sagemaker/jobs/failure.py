"""Why a job failed, in the words of FailureReason."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

MAX_REASON = 1024


class JobFailure(Exception):
    """Ends a job as Failed; the text becomes its FailureReason.

    Begins with `ClientError:` for what the request or the data got wrong, `AlgorithmError:` for the
    container's code, `InternalServerError:` for this cloud.
    """

    @property
    def reason(self) -> str:
        """At most what the API's FailureReason takes."""
        return str(self)[:MAX_REASON]


def role_refused(role_arn: str) -> JobFailure:
    """The execution role cannot be assumed."""
    return JobFailure(
        f'ClientError: Please ensure that the role "{role_arn}" exists and that its trust relationship '
        'policy allows the action "sts:AssumeRole" for the service principal "sagemaker.amazonaws.com"'
    )


def nothing_found(uri: str, role_arn: str, region: str) -> JobFailure:
    """No object has that key or prefix."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    return JobFailure(
        f'ClientError: Data download failed:No S3 objects found under S3 URL "{uri}" given in input data '
        f"source. Please ensure that the bucket exists in the selected region ({region}), that objects exist "
        f'under that S3 prefix, and that the role "{role_arn}" has "s3:ListBucket" permissions on bucket '
        f'"{bucket}".'
    )


def s3_failed(direction: str, uri: str, error: ClientError | BotoCoreError) -> JobFailure:
    """S3 refused; `direction` is `download` or `upload`."""
    if isinstance(error, BotoCoreError):
        return JobFailure(f"InternalServerError: Data {direction} failed:{uri}: {error}")
    details = error.response["Error"]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
    return JobFailure(
        f"ClientError: Data {direction} failed:{details['Code']} ({status}): {details.get('Message', '')} "
        f"({uri})"
    )


def container_failed(message: str, code: int) -> JobFailure:
    """The container's main process ended with `code`; `message` is what it had to say, maybe nothing."""
    if not message and code == 137:
        message = "the container was killed (SIGKILL): out of memory, or ended from outside"
    elif not message and code > 128:
        message = f"the container was killed by signal {code - 128}"
    return JobFailure(f"AlgorithmError: {message[: MAX_REASON - 40]}, exit code: {code}")
