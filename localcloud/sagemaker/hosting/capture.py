"""Keeps a share of a variant's requests and answers, off the path of the requests."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from itertools import groupby

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.aws.errors import RoleNotAssumable
from localcloud.context import Cloud, Credentials
from localcloud.sagemaker.hosting import captures
from localcloud.sagemaker.hosting.captures import CaptureConfig, Exchange

# AWS says a couple of minutes; on the cloud's clock.
_FLUSH_SECONDS = 60.0
# What waits to be written; more is dropped rather than held.
_MOST_BYTES, _FULL_BYTES = 64 * 2**20, 4 * 2**20
_log = logging.getLogger(__name__)


class Capture:
    """The captures of one variant of one fleet.

    Args:
        session: credentials of the model's execution role.
        functional: told when writing begins to fail, and when it works again.
    """

    def __init__(
        self,
        cloud: Cloud,
        config: CaptureConfig,
        endpoint: str,
        variant: str,
        session: Callable[[], Credentials],
        functional: Callable[[bool], None],
    ) -> None:
        self._cloud, self._config, self._endpoint, self._variant = cloud, config, endpoint, variant
        self._session, self._functional = session, functional
        self._lock = threading.Condition()
        self._waiting: list[Exchange] = []
        self._bytes = 0
        self._works, self._closed = True, False
        self._thread: threading.Thread | None = None

    def offer(self, exchange: Exchange) -> None:
        """Keep an exchange if chance wills it. Costs a request no more than an entry in a list."""
        if random.random() >= self._config.share:  # noqa: S311 - samples, keeps no secret
            return
        with self._lock:
            if self._closed or self._bytes + exchange.size > _MOST_BYTES:
                return
            self._waiting.append(exchange)
            self._bytes += exchange.size
            if self._thread is None:
                name = f"capture-{self._endpoint}"
                self._thread = threading.Thread(target=self._run, daemon=True, name=name)
                self._thread.start()
            if self._bytes >= _FULL_BYTES:
                self._lock.notify()

    def close(self) -> None:
        """Write what waits, and take no more."""
        with self._lock:
            self._closed = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join(30)

    def _run(self) -> None:
        step = _FLUSH_SECONDS / self._cloud.clock
        while not self._closed:
            with self._lock:
                self._lock.wait_for(self._due, step)
            self._flush()
            if not self._works and not self._closed:
                # What fails is tried again with the next step, not at once for being full.
                with self._lock:
                    self._lock.wait_for(lambda: self._closed, step)
        self._flush()

    def _due(self) -> bool:
        return self._closed or self._bytes >= _FULL_BYTES

    def _flush(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting, []
        if not taken:
            return
        written = 0
        try:
            for _, found in groupby(taken, key=lambda exchange: captures.hour(exchange.moment)):
                exchanges = list(found)
                self._write(exchanges)
                written += len(exchanges)
        except (BotoCoreError, ClientError, RoleNotAssumable) as error:
            self._note(works=False, reason=str(error))
        except Exception:
            # A mistake here must not end the captures, nor hold what would fail again.
            _log.exception("captures of endpoint %s", self._endpoint)
            written = len(taken)
        else:
            self._note(works=True)
        with self._lock:
            self._waiting = taken[written:] + self._waiting
            self._bytes = sum(exchange.size for exchange in self._waiting)

    def _write(self, exchanges: list[Exchange]) -> None:
        config = self._config
        lines = [captures.line(config, exchange) for exchange in exchanges]
        encryption = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": config.key_id} if config.key_id else {}
        )
        self._cloud.client("s3", self._session()).put_object(
            Bucket=config.bucket,
            Key=captures.key(config, self._endpoint, self._variant, exchanges[0].moment),
            Body="\n".join([*lines, ""]).encode(),
            ContentType="application/json",
            **encryption,
        )

    def _note(self, *, works: bool, reason: str = "") -> None:
        if works is self._works:
            return
        self._works = works
        if reason:
            _log.warning("captures of endpoint %s are not written: %s", self._endpoint, reason)
        self._functional(works)
