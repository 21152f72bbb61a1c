"""What every local service, and every client of the local cloud, needs to know of it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localcloud.folder import StateFolder

# Marks every process that a cloud starts, so that the next start finds what a killed one left.
RUN_ID_VARIABLE = "MODELYARD_CLOUD_RUN"

# A client takes about a megabyte, and every job and function has credentials of its own.
_CLIENTS_KEPT = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A key of the local account.

    `session_token` and `expiration` are those of a session of a role, else None.
    """

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    expiration: datetime | None = None

    def environment(self) -> dict[str, str]:
        """The variables that every AWS client reads, the token empty for a user's key."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token or "",
        }

    def __repr__(self) -> str:
        return f"Credentials(access_key_id={self.access_key_id!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One local cloud.

    Args:
        account: twelve digits.
        region: for example `us-east-1`.
        endpoint_url: `https://localhost:PORT`, the one address of every service.
        ca_bundle: PEM file with the public authorities and the cloud's own.
        folder: where it keeps its state.
        run_id: of the server process; empty in clients, whose children are not the cloud's to end.
        clock: how many times faster alarms and the periods of their metrics, the cooldowns of scaling, and
            the steps of deployments pass than on AWS. All else, scheduled actions and rules too, keeps to
            the real time.

    Example:
        >>> cloud.client("s3", credentials).list_buckets()
    """

    account: str
    region: str
    endpoint_url: str
    ca_bundle: Path
    folder: StateFolder
    run_id: str = ""
    clock: float = 1.0

    def environment(self, credentials: Credentials | None) -> dict[str, str]:
        """Variables with which any AWS client in a child process reaches this cloud.

        Args:
            credentials: what the child may act as; None for a child without credentials, which
                then finds none elsewhere either (no profile, no instance metadata).
        """
        bundle = str(self.ca_bundle)
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            # By address: SDKs then name the bucket in the path. `BUCKET.localhost` resolves on few
            # machines, and no certificate may cover all of `*.localhost`.
            "AWS_ENDPOINT_URL_S3": self.endpoint_url.replace("localhost", "127.0.0.1"),
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "NODE_EXTRA_CA_CERTS": bundle,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        if self.run_id:
            variables[RUN_ID_VARIABLE] = self.run_id
        if credentials is not None:
            variables |= credentials.environment()
        return variables

    def client(self, service: str, credentials: Credentials) -> Any:
        """A boto3 client of this cloud; its calls go over TLS, so IAM decides about them.

        Clients are thread-safe, and kept for the next caller with the same credentials.

        Args:
            service: boto3's name, for example `sagemaker-runtime`.
        """
        return _clients.get(self, service, credentials)

    def forget(self, credentials: Credentials) -> None:
        """Keep no client of these: their session is over, and each client takes about a megabyte."""
        _clients.forget(credentials)


class _Clients:
    """boto3 clients by cloud, service and key; one session, so that service models are parsed once.

    The clients of a cloud share their connections: each request is signed for itself, and every job has a
    session of its own, whose clients would otherwise all begin with a handshake.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Any = None
        self._transports: dict[tuple[str, str], Any] = {}
        self._kept: OrderedDict[tuple[str, str, str, Credentials], Any] = OrderedDict()

    def use(self, cloud: Cloud, transport: Any) -> None:
        """Let this cloud's clients send their requests through `transport`, an HTTP session of botocore."""
        with self._lock:
            self._transports[(cloud.endpoint_url, str(cloud.ca_bundle))] = transport

    def get(self, cloud: Cloud, service: str, credentials: Credentials) -> Any:
        key = (cloud.endpoint_url, cloud.region, service, credentials)
        # One lock also around the creation: botocore's sessions are not thread-safe.
        with self._lock:
            client = self._kept.pop(key, None) or self._create(cloud, service, credentials)
            self._kept[key] = client
            # Not closed: whoever still holds one may go on, and the connections are the others' too.
            for old in [kept for kept in self._kept if kept != key and _ended(kept[-1])]:
                self._kept.pop(old)
            while len(self._kept) > _CLIENTS_KEPT:
                self._kept.popitem(last=False)
            return client

    def forget(self, credentials: Credentials) -> None:
        with self._lock:
            for old in [kept for kept in self._kept if kept[-1] == credentials]:
                self._kept.pop(old)

    def _create(self, cloud: Cloud, service: str, credentials: Credentials) -> Any:
        import boto3
        from botocore.config import Config

        if self._session is None:
            self._session = boto3.session.Session(region_name=cloud.region)
        client = self._session.client(
            service,
            region_name=cloud.region,
            endpoint_url=cloud.endpoint_url,
            verify=str(cloud.ca_bundle),
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.session_token or None,
            config=Config(
                retries={"mode": "standard", "max_attempts": 3},
                max_pool_connections=32,
                s3={"addressing_style": "path"},
                # A function may take a quarter of an hour; giving up earlier would call it again.
                read_timeout=910 if service == "lambda" else 120,
            ),
        )
        if service != "lambda":
            endpoint = client._endpoint
            place = (cloud.endpoint_url, str(cloud.ca_bundle))
            endpoint.http_session = self._transports.setdefault(place, endpoint.http_session)
        return client


def _ended(credentials: Credentials) -> bool:
    return credentials.expiration is not None and credentials.expiration <= datetime.now(UTC)


_clients = _Clients()
use_transport = _clients.use
