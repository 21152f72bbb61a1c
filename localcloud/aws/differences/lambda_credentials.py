"""A function's credentials cannot be computed from its name.

MiniStack derives them from the function's and the role's ARN, so whoever may read those could act as
the role. On AWS they are secret.
https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any


def apply() -> None:
    """Derive them from a secret of this run instead; the same function and role keep theirs during a run."""
    from ministack.core import lambda_runtime

    secret = secrets.token_bytes(32)

    def derive(purpose: str, config: dict[str, Any]) -> str:
        text = f"{purpose}\n{config.get('FunctionArn', '')}\n{config.get('Role', '')}"
        return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()

    def execution_credentials(config: dict[str, Any]) -> dict[str, str]:
        from ministack.services import sts

        account, _region = lambda_runtime._account_region_from_function_config(config)
        role = str(config.get("Role", "")).rsplit("/", 1)[-1]
        session = str(config.get("FunctionName", "function"))[:64]
        key = "ASIA" + derive("key", config)[:16].upper()
        credentials = {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": derive("secret", config),
            "AWS_SESSION_TOKEN": derive("token", config),
        }
        sts.register_session(
            key,
            {
                "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
                "UserId": f"{role}:{session}",
                "SecretAccessKey": credentials["AWS_SECRET_ACCESS_KEY"],
                "SessionToken": credentials["AWS_SESSION_TOKEN"],
            },
        )
        return credentials

    lambda_runtime.execution_credentials = execution_credentials
