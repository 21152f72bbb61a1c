"""Failures that AWS's services share."""

from __future__ import annotations


class AccessDenied(Exception):
    """IAM says no; `message` in AWS's wording."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RoleNotFound(Exception):
    """The role that a request passes does not exist."""

    def __init__(self, role_arn: str) -> None:
        super().__init__(f"The role {role_arn} does not exist.")
        self.role_arn = role_arn
        self.message = str(self)


class RoleNotAssumable(Exception):
    """A service may not assume a role: the role is missing, or its trust policy does not name the service."""

    def __init__(self, role_arn: str, service: str) -> None:
        super().__init__(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            f"'{service}' to assume the role."
        )
        self.role_arn = role_arn
        self.message = str(self)
