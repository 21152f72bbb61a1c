"""Errors of the SageMaker API, with the codes and the words that AWS uses."""

from __future__ import annotations

from typing import Any


class ServiceError(Exception):
    """An answer that the caller sees as a client error.

    Args:
        code: the error's name in the API, for example `ValidationException`.
        message: one line: what is wrong, where, and what to do.
        status: HTTP status.
        members: further members of the error's shape, for example `OriginalStatusCode` of `ModelError`.
    """

    def __init__(
        self, code: str, message: str, status: int = 400, members: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members or {}


def validation(message: str) -> ServiceError:
    """A request whose values cannot be served; also AWS's answer for most missing resources."""
    return ServiceError("ValidationException", message)


def resource_not_found(message: str) -> ServiceError:
    """Operations whose model names `ResourceNotFound` (pipelines, jobs)."""
    return ServiceError("ResourceNotFound", message)


def resource_in_use(message: str) -> ServiceError:
    """A name that is taken, or a resource that others still need (jobs)."""
    return ServiceError("ResourceInUse", message)


def conflict(message: str) -> ServiceError:
    """A write that contradicts what happens at the same time."""
    return ServiceError("ConflictException", message)


def limit_exceeded(message: str) -> ServiceError:
    """A quota."""
    return ServiceError("ResourceLimitExceeded", message)


def access_denied(message: str) -> ServiceError:
    """IAM said no; the message is the evaluator's."""
    return ServiceError("AccessDeniedException", message)
