"""Predictions from a deployed Modelyard: a client of its function URL. Needs botocore only.

>>> from modelyard_client import Client
>>> with Client() as client:  # doctest: +SKIP
...     client.predict("refinance-interest-rate", [{"annual_income": 65_000}]).predictions
(11.52,)
"""

from modelyard_client.answers import Canary, ModelInfo, Prediction
from modelyard_client.client import Client
from modelyard_client.errors import (
    AccessDeniedError,
    ApiError,
    BadRequestError,
    ClockSkewError,
    ModelError,
    NotFoundError,
    UnavailableError,
    UnexpectedAnswerError,
)

__all__ = [
    "AccessDeniedError",
    "ApiError",
    "BadRequestError",
    "Canary",
    "Client",
    "ClockSkewError",
    "ModelError",
    "ModelInfo",
    "NotFoundError",
    "Prediction",
    "UnavailableError",
    "UnexpectedAnswerError",
]
