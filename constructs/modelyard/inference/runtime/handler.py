"""Entry point of the function URL. Clients are made once per environment and keep their connections.

They come from botocore: boto3 would add a fifth to every cold start, for features that are not used here.
"""

import os
from typing import Any, Protocol

import botocore.session
from botocore.config import Config

from modelyard.runtime import metrics
from modelyard.runtime.invoke import CANARY_CONFIG, CONFIG, Invoker

from . import images
from .api import Api
from .image_addresses import ImagePlace
from .models import Models
from .predict import Predictor
from .settings import Settings

SETTINGS = Settings.from_environment(os.environ)
# Short, because a request waits behind it and a remembered answer is at hand.
TABLE_CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 3},
    tcp_keepalive=True,
)
SESSION = botocore.session.get_session()


def _images() -> images.Images | None:
    if not SETTINGS.image_bucket:
        return None
    place = ImagePlace(
        bucket=SETTINGS.image_bucket,
        prefix=SETTINGS.image_prefix,
        region=SESSION.get_config_variable("region"),
    )
    # Made with the first image: it would double the cold start of whoever sends rows.
    return images.Images(lambda: images.make_client(SESSION), place, SETTINGS.max_images)


API = Api(
    SETTINGS,
    Models(SESSION.create_client("dynamodb", config=TABLE_CONFIG), SETTINGS),
    Predictor(
        Invoker(SESSION.create_client("sagemaker-runtime", config=CONFIG), SETTINGS.endpoint_name),
        Invoker(SESSION.create_client("sagemaker-runtime", config=CANARY_CONFIG), SETTINGS.endpoint_name),
        SETTINGS.retry_seconds,
    ),
    _images(),
)


class Context(Protocol):
    """The part of Lambda's context that is used."""

    aws_request_id: str
    function_name: str
    function_version: str


def handle(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Answers one request; only a fault of this code or its environment is raised."""
    answer = API.answer(event, context.aws_request_id)
    if answer["statusCode"] >= 500:
        # To Lambda this is no error. Read here, where the function's version is known.
        metrics.emit(
            metrics.INFERENCE,
            {
                metrics.FUNCTION: context.function_name,
                metrics.FUNCTION_VERSION: context.function_version,
            },
            {metrics.FAULTS: (1, metrics.COUNT)},
            event="fault",
            request_id=context.aws_request_id,
        )
    return answer
