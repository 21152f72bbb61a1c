"""The model registry, through the `sagemaker` client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from .aws_errors import code, reason
from .errors import RefusedError

# The same tomorrow as today; what else may go wrong is tried again.
_REFUSALS = frozenset({"AccessDeniedException", "ResourceLimitExceeded", "ValidationException"})


class SageMakerRegistry:
    """Groups of model packages; `ports.Registry`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def register(self, package: Mapping[str, Any]) -> str:
        try:
            return str(self._client.create_model_package(**package)["ModelPackageArn"])
        except ParamValidationError as error:
            raise RefusedError(f"the model cannot be registered: {error}") from error
        except ClientError as error:
            if code(error) in _REFUSALS:
                raise RefusedError(f"the model cannot be registered: {reason(error)}") from error
            raise
