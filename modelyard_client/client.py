"""The client."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

import botocore.session
from botocore.exceptions import NoCredentialsError, NoRegionError
from botocore.httpsession import get_cert_path

from modelyard_client import answers
from modelyard_client.answers import ModelInfo, Prediction
from modelyard_client.batches import Row, batches, encode
from modelyard_client.errors import UnavailableError, UnexpectedAnswerError
from modelyard_client.transport import Credentials, Transport

_JSON, _CSV = "application/json", "text/csv"
_HOST = re.compile(r"[a-z0-9]+\.lambda-url\.([a-z0-9-]+)\.on\.aws")


class Client:
    """Asks the inference function for predictions.

    Requests are signed for the service `lambda` with the credentials of botocore's chain, renewed as they
    expire. Connections are kept; one client may be shared by threads. Making one costs a tenth of a second,
    so make it once. Throttling, a function or model that is not ready, and broken connections are tried
    again until the deadline; pauses grow, vary, and last at least as long as `retry-after` says.

    Args:
        url: Of the function; the environment's `MODELYARD_URL` if None.
        credentials: Of botocore or boto3; None for those of botocore's chain.
        region: Of the function; None for the one in its URL, or else botocore's.
        deadline_seconds: Of a call, all attempts included. A cold model takes up to a minute.
        max_attempts: Of a call.
        max_connections: That are kept.

    Raises:
        ValueError: No URL, or not one with https.
        botocore.exceptions.NoCredentialsError: There are none.
        botocore.exceptions.NoRegionError: Neither the URL nor botocore's configuration names one.

    Example:
        >>> with Client(url) as client:
        ...     client.predict("refinance-interest-rate", [{"annual_income": 65_000}]).predictions
        (11.52,)

    See https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        credentials: Credentials | None = None,
        region: str | None = None,
        deadline_seconds: float = 120.0,
        max_attempts: int = 10,
        max_connections: int = 10,
    ) -> None:
        address = url or os.environ.get("MODELYARD_URL", "")
        if urlsplit(address).scheme != "https":
            raise ValueError(f"the function's URL is {address!r}; give one with https, or set MODELYARD_URL")
        session = botocore.session.get_session()
        credentials = credentials or session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        found = region or _region(address) or session.get_config_variable("region")
        if not found:
            raise NoRegionError
        self._transport = Transport(
            url=address,
            credentials=credentials,
            region=found,
            ca_bundle=session.get_config_variable("ca_bundle") or get_cert_path(True),
            deadline_seconds=deadline_seconds,
            max_attempts=max_attempts,
            max_connections=max_connections,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def predict(self, model: str, instances: Sequence[Row]) -> Prediction:
        """Predict rows with one version of a model, in one request: at most 1,000 rows and 4 MB.

        Args:
            model: Its name.
            instances: Rows: feature -> text, number, boolean or None.

        Raises:
            ApiError: One of its kinds; see `modelyard_client.errors`.
            ValueError: A value is NaN or infinite.
        """
        body = encode({"model": model, "instances": list(instances)})
        return self._predicted(body, len(instances))

    def predict_batches(self, model: str, instances: Iterable[Row]) -> Iterator[Prediction]:
        """Predict any number of rows, in as few requests as the limits allow, as the answers come.

        Apart from `predict`, because two requests may be answered by two versions: each answer says which.

        Raises:
            ApiError, ValueError: As `predict`; what was answered before stands.
        """
        for body, rows in batches(model, instances):
            yield self._predicted(body, rows)

    def predict_csv(self, model: str, rows: str | bytes) -> Prediction:
        """Predict rows of CSV, whose first line names the features.

        Raises:
            ApiError: As `predict`.
        """
        body = rows.encode() if isinstance(rows, str) else rows
        answer = self._transport.call("POST", f"/?{urlencode({'model': model})}", body, _CSV)
        return answers.prediction(_document(answer), None)

    def predict_images(self, model: str, uris: Sequence[str]) -> Prediction:
        """Predict images in the bucket that the function may read, each by its `s3://` or https address.

        Raises:
            ApiError: As `predict`.
        """
        return self._predicted(encode({"model": model, "images": list(uris)}), len(uris))

    def models(self) -> tuple[ModelInfo, ...]:
        """All models that may be asked for.

        Raises:
            ApiError: As `predict`.
        """
        return answers.models(_document(self._transport.call("GET", "/models")))

    def health(self) -> bool:
        """Whether the function answers; it says nothing about models.

        Raises:
            ApiError: It may not be called, or something else answers.
        """
        try:
            return _document(self._transport.call("GET", "/health")).get("status") == "ok"
        except UnavailableError:
            return False

    def _predicted(self, body: bytes, asked: int) -> Prediction:
        return answers.prediction(_document(self._transport.call("POST", "/", body, _JSON)), asked)


def _region(url: str) -> str | None:
    found = _HOST.fullmatch(urlsplit(url).hostname or "")
    return found.group(1) if found else None


def _document(content: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswerError("unexpected_answer", f"the answer is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise UnexpectedAnswerError("unexpected_answer", "the answer is not a JSON object")
    return document
