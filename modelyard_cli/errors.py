"""What a user sees when something cannot be done: one line on stderr and an exit code with a meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import typer

FAILED = 1
"""What was asked for was tried and failed: a pipeline, a gate, a prediction."""
BAD_INPUT = 2
"""The command line or a file is wrong; nothing was tried."""
UNREACHABLE = 3
"""No credentials, or no cloud at the address."""
DENIED = 4
"""The cloud refused these credentials."""

_NOT_AUTHORIZED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}
_BAD_CREDENTIALS = {
    "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException",
    "SignatureDoesNotMatch", "InvalidSignatureException", "InvalidAccessKeyId",
}  # fmt: skip
LOCAL_HINT = 'For the local cloud: `.venv/bin/modelyard up`, then `eval "$(.venv/bin/modelyard env)"`.'


class CliError(Exception):
    """A message for the user and the exit code that goes with it."""

    def __init__(self, message: str, code: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


def fail(error: CliError) -> NoReturn:
    """Print one line and leave."""
    typer.secho(f"modelyard: {error}", fg=typer.colors.RED, err=True)
    raise SystemExit(error.code)


def run(command: Callable[[], object]) -> None:
    """Run `command`, turning what users and clouds do wrong into one line and an exit code.

    Errors of our own making pass through with their stack trace: they are bugs, not answers.
    """
    from botocore import exceptions as aws

    try:
        command()
    except CliError as error:
        fail(error)
    except KeyboardInterrupt:
        fail(CliError("interrupted", 130))
    except (aws.NoCredentialsError, aws.PartialCredentialsError, aws.NoRegionError) as error:
        fail(
            CliError(f"no AWS credentials or region in the environment ({error}). {LOCAL_HINT}", UNREACHABLE)
        )
    except (aws.HTTPClientError, aws.ConnectionError) as error:
        fail(CliError(f"no cloud answers ({error}). Is it running? {LOCAL_HINT}", UNREACHABLE))
    except aws.ParamValidationError as error:
        fail(CliError(str(error).replace("\n", " ")))
    except aws.ClientError as error:
        fail(_from_service(error.response.get("Error", {}), error.operation_name))


def _from_service(error: dict[str, str], operation: str) -> CliError:
    code, message = error.get("Code", ""), error.get("Message", "").replace("\n", " ")
    if code in _BAD_CREDENTIALS:
        return CliError(f"{operation}: {message or code} {LOCAL_HINT}", UNREACHABLE)
    if code in _NOT_AUTHORIZED:
        return CliError(f"{operation}: {message or code}", DENIED)
    return CliError(f"{operation}: {message or code}")
