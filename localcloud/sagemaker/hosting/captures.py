"""What data capture writes, and where: AWS's schema and layout. No I/O.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localcloud.sagemaker.jobs.storage import split_uri

_MODES = {
    "Input": frozenset({"INPUT"}),
    "Output": frozenset({"OUTPUT"}),
    "InputAndOutput": frozenset({"INPUT", "OUTPUT"}),
}
_UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureConfig:
    """A DataCaptureConfig that captures.

    Args:
        share: of the requests, 0 to 1.
        prefix: of keys, empty or ending in a slash.
        key_id: KMS key, None for the bucket's own encryption.
        modes: of INPUT and OUTPUT.
        csv, json: content types that are kept as text; others as base64.
    """

    share: float
    bucket: str
    prefix: str
    key_id: str | None
    modes: frozenset[str]
    csv: frozenset[str]
    json: frozenset[str]

    def encoding(self, content_type: str) -> str:
        """CSV, JSON or BASE64; parameters such as a charset do not count."""
        kind = content_type.partition(";")[0].strip().lower()
        return "CSV" if kind in self.csv else "JSON" if kind in self.json else "BASE64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One answered request; `moment` in epoch seconds, content types empty where none was given."""

    moment: float
    body: bytes
    content_type: str
    answer: bytes
    answer_type: str
    inference_id: str = ""
    custom_attributes: str = ""

    @property
    def size(self) -> int:
        """Bytes of both bodies."""
        return len(self.body) + len(self.answer)


def parse(config: Mapping[str, Any] | None) -> CaptureConfig | None:
    """What a DataCaptureConfig captures; None for nothing. JobFailure for a destination that is no S3 URI."""
    # The member may be left out: capture is then on.
    if not config or not config.get("EnableCapture", True):
        return None
    bucket, path = split_uri(config["DestinationS3Uri"].rstrip("/") + "/")
    header = config.get("CaptureContentTypeHeader", {})
    modes: frozenset[str] = frozenset()
    for option in config["CaptureOptions"]:
        modes |= _MODES[option["CaptureMode"]]
    return CaptureConfig(
        share=config["InitialSamplingPercentage"] / 100,
        bucket=bucket,
        prefix=path.lstrip("/"),
        key_id=config.get("KmsKeyId") or None,
        modes=modes,
        csv=frozenset(kind.lower() for kind in header.get("CsvContentTypes", ())),
        json=frozenset(kind.lower() for kind in header.get("JsonContentTypes", ())),
    )


def summary(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """DataCaptureConfig of DescribeEndpoint; None where the configuration says nothing of it."""
    if not config:
        return None
    enabled = config.get("EnableCapture", True)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }


def line(config: CaptureConfig, exchange: Exchange) -> str:
    """One line of a captured file, without its end."""
    data = {}
    if "INPUT" in config.modes:
        data["endpointInput"] = _side(config, "INPUT", exchange.body, exchange.content_type)
    if "OUTPUT" in config.modes:
        data["endpointOutput"] = _side(config, "OUTPUT", exchange.answer, exchange.answer_type)
    metadata: dict[str, Any] = {"eventId": str(uuid.uuid4())}
    if exchange.custom_attributes:
        metadata["customAttributes"] = [exchange.custom_attributes]
    if exchange.inference_id:
        metadata["inferenceId"] = exchange.inference_id
    metadata["inferenceTime"] = f"{datetime.fromtimestamp(exchange.moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
    document = {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}
    return json.dumps(document, separators=(",", ":"))


def key(config: CaptureConfig, endpoint: str, variant: str, moment: float) -> str:
    """A new key for what was captured in the hour of a moment."""
    when = datetime.fromtimestamp(moment, UTC)
    name = f"{when:%M-%S}-{when.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
    return f"{config.prefix}{endpoint}/{variant}/{when:%Y/%m/%d/%H}/{name}"


def hour(moment: float) -> int:
    """Hours since 1970: exchanges of one hour share a folder."""
    return int(moment // 3600)


def _side(config: CaptureConfig, mode: str, body: bytes, content_type: str) -> dict[str, str]:
    encoding = config.encoding(content_type)
    try:
        data = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode()
    except UnicodeDecodeError:
        # What calls itself text and is none must not be lost, or lose the line.
        encoding, data = "BASE64", base64.b64encode(body).decode()
    return {
        "observedContentType": content_type or _UNKNOWN,
        "mode": mode,
        "data": data,
        "encoding": encoding,
    }
