"""Batch transform: a model's server, fed with the objects of an S3 prefix.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
"""

from __future__ import annotations

import gzip
import json
import secrets
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from localcloud.aws.logs import LogStream
from localcloud.containers.engine import ContainerRefusedError
from localcloud.containers.image import Image
from localcloud.sagemaker.hosting.artifacts import ArtifactError, fetch
from localcloud.sagemaker.hosting.http import Unreachable
from localcloud.sagemaker.hosting.server import ISOLATION_NOTE, ModelServer, ServerFailed
from localcloud.sagemaker.jobs.association import Association, AssociationError
from localcloud.sagemaker.jobs.failure import JobFailure, container_failed
from localcloud.sagemaker.jobs.job import Job
from localcloud.sagemaker.jobs.splitting import RecordTooLargeError, assemble, lines, payloads
from localcloud.sagemaker.jobs.storage import Item, join_uri, shard
from localcloud.sagemaker.store import now

LOG_GROUP = "/aws/sagemaker/TransformJobs"
_START_SECONDS = 480.0
# Until the exit code of a server that has gone away is known: its output is delivered first.
_END_SECONDS = 10.0
_STRATEGIES = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """How requests are made: the job's own values, then the container's, then AWS's defaults."""

    strategy: str
    concurrency: int
    max_bytes: int
    timeout: float
    retries: int


class _Stopped(Exception):
    """The job is to stop."""


def run(job: Job) -> None:
    """Run a transform job to its end; JobFailure if it fails."""
    record = job.record
    source = record["TransformInput"]["DataSource"]["S3DataSource"]
    items = job.storage.select(source["S3Uri"], source["S3DataType"])
    job.require_bucket(record["TransformOutput"]["S3OutputPath"])
    image = job.image(record["_Container"]["Image"])
    count = record["TransformResources"]["InstanceCount"]
    workers = [_Worker(job, image) for _ in range(count)]
    try:
        job.update(lambda document: document.update(TransformStartTime=now()))
        shares = [shard(items, index, count, "ShardedByS3Key") for index in range(count)]
        with ThreadPoolExecutor(max_workers=count) as pool:
            futures = [pool.submit(w.run, share) for w, share in zip(workers, shares, strict=True) if share]
            status = _join(job, futures)
        for worker in workers:
            worker.end()
        job.check_closing()
        job.update(lambda document: document.update(TransformJobStatus=status, TransformEndTime=now()))
    finally:
        for worker in workers:
            worker.close()


def _join(job: Job, futures: Sequence[Future[None]]) -> str:
    """Wait for all; the status then. The first failure makes the others stop, and is the one that counts."""
    failure: BaseException | None = None
    for future in futures:
        error = future.exception()
        if error is not None and (failure is None or isinstance(failure, _Stopped)):
            failure = error
            job.stop()
    if isinstance(failure, _Stopped):
        return "Stopped"
    if failure is not None:
        raise failure
    return "Completed"


class _Worker:
    """One instance: a server, and the share of the objects that it transforms."""

    def __init__(self, job: Job, image: Image) -> None:
        self._job = job
        record = job.record
        definition = record["_Container"]
        stream = f"{job.name}/i-{secrets.token_hex(8)}-{int(time.time())}"
        self._data_log = LogStream(job.cloud, LOG_GROUP, f"{stream}/data-log", job.session)
        self._given = _given(record)
        sink = job.sink(LOG_GROUP, stream, 0)
        if record["_Isolated"]:
            sink([ISOLATION_NOTE])
        self._server = ModelServer(
            job.engine,
            name=f"{job.name}-transform",
            image=image,
            environment={
                **job.environment(),
                "SAGEMAKER_BATCH": "true",
                **self._given,
                **definition.get("Environment", {}),
                **record.get("Environment", {}),
            },
            sink=sink,
            credentials=None if record["_Isolated"] else job.session,
        )
        self._closed = threading.Event()

    def end(self) -> None:
        """End the server."""
        self._server.container.stop(self._grace)
        self._job.note_processes([self._server.container])

    def close(self) -> None:
        """Delete its folder; the server ends, if it has not."""
        self._server.stop(self._grace)

    @property
    def _grace(self) -> float:
        return 2.0 if self._job.closing else self._job.grace

    def run(self, items: Sequence[Item]) -> None:
        """Start the server and transform the objects one after the other."""
        try:
            fetch(self._job.storage, self._job.record["_Container"], self._server.base / "model")
            self._server.start()
            self._server.wait_healthy(_START_SECONDS, self._job.stopping.is_set)
        except (ArtifactError, ContainerRefusedError) as error:
            raise JobFailure(f"ClientError: {error}") from error
        except ServerFailed as failure:
            if self._job.stopping.is_set():
                raise _Stopped from failure
            raise JobFailure(f"AlgorithmError: {failure}") from failure
        settings = self._settings()
        with ThreadPoolExecutor(max_workers=settings.concurrency) as pool:
            for item in items:
                self._transform(item, settings, pool)

    def _settings(self) -> _Settings:
        record, offered = self._job.record, self._offered()
        client = record.get("ModelClientConfig", {})
        strategy = record.get("BatchStrategy") or _STRATEGIES.get(
            str(offered.get("BatchStrategy")), "MultiRecord"
        )
        megabytes = record.get("MaxPayloadInMB", offered.get("MaxPayloadInMB", 6))
        # 0 means: SageMaker's choice, which is the container's.
        concurrency = record.get("MaxConcurrentTransforms") or offered.get("MaxConcurrentTransforms", 1)
        return _Settings(
            strategy=strategy,
            concurrency=max(1, int(concurrency)),
            max_bytes=int(megabytes) * 1024 * 1024,
            timeout=client.get("InvocationsTimeoutInSeconds", 600),
            retries=client.get("InvocationsMaxRetries", 3),
        )

    def _offered(self) -> dict[str, Any]:
        """What `/execution-parameters` says; nothing if the container does not serve it."""
        try:
            answer = self._server.request("GET", "/execution-parameters", timeout=10)
            offered = json.loads(answer.body) if answer.status == 200 else {}
        except (Unreachable, TimeoutError, ValueError):
            return {}
        return offered if isinstance(offered, dict) else {}

    def _transform(self, item: Item, settings: _Settings, pool: ThreadPoolExecutor) -> None:
        record = self._job.record
        output = record["TransformOutput"]
        with tempfile.TemporaryDirectory(dir=self._server.base.parent / "tmp") as scratch:
            fetched = self._job.storage.fetch(Item(item.bucket, item.key, "input", item.size), Path(scratch))
            result = Path(scratch) / "output"
            try:
                with _opened(fetched, record["TransformInput"]) as stream, result.open("wb") as file:
                    answers = self._results(item, stream, settings, pool)
                    for piece in assemble(answers, output.get("AssembleWith") == "Line"):
                        file.write(piece)
            except (AssociationError, RecordTooLargeError, gzip.BadGzipFile, EOFError) as error:
                raise self._bad(item, f"ClientError: {item.uri}: {error}") from error
            target = join_uri(output["S3OutputPath"], f"{item.relative}.out")
            self._job.storage.upload(result, target, output.get("KmsKeyId"))

    def _results(
        self, item: Item, stream: IO[bytes], settings: _Settings, pool: ThreadPoolExecutor
    ) -> Iterator[bytes]:
        """The model's answers, filtered and joined with what they answer if the job asks for it."""
        split = self._job.record["TransformInput"].get("SplitType", "None") == "Line"
        records = lines(stream) if split else iter([stream.read()])
        strategy = settings.strategy if split else "SingleRecord"
        association = Association.of(self._job.record)
        if association is None:
            bodies = payloads(records, strategy, settings.max_bytes)
            yield from self._answers(item, bodies, settings, pool)
            return
        asked: deque[bytes] = deque()
        sizes: deque[int] = deque()
        bodies = _counted(payloads(_sent(records, association, asked), strategy, settings.max_bytes), sizes)
        for answer in self._answers(item, bodies, settings, pool):
            found = [line for line in answer.splitlines() if line] if split else [answer]
            expected = sizes.popleft() if split else 1
            if len(found) != expected:
                raise AssociationError(
                    f"the model answered {len(found)} records to {expected}: they cannot be told apart"
                )
            yield b"\n".join(association.result(asked.popleft(), line) for line in found)

    def _answers(
        self, item: Item, bodies: Iterator[bytes], settings: _Settings, pool: ThreadPoolExecutor
    ) -> Iterator[bytes]:
        """Answers in the order of the bodies; at most `concurrency` requests are in memory."""
        window: deque[Future[bytes]] = deque()
        for body in bodies:
            if len(window) >= settings.concurrency:
                yield window.popleft().result()
            window.append(pool.submit(self._invoke, item, body, settings))
        while window:
            yield window.popleft().result()

    def _invoke(self, item: Item, body: bytes, settings: _Settings) -> bytes:
        record = self._job.record
        headers = {"Accept": record["TransformOutput"].get("Accept", "*/*")}
        # Without a type the container decides: AWS's own have each a default.
        if kind := record["TransformInput"].get("ContentType"):
            headers["Content-Type"] = kind
        problem = ""
        for _ in range(settings.retries + 1):
            if self._job.stopping.is_set():
                raise _Stopped
            try:
                answer = self._server.request(
                    "POST", "/invocations", body=body, headers=headers, timeout=settings.timeout
                )
            except TimeoutError:
                problem = f"no answer within {settings.timeout:g} s"
                continue
            except Unreachable as error:
                code = self._server.container.wait(_END_SECONDS)
                if code is not None and not self._job.stopping.is_set():
                    raise container_failed(self._server.last_line, code) from error
                problem = str(error)
                continue
            if answer.status < 300:
                return answer.body
            text = answer.body[:300].decode("utf-8", "replace")
            problem = f"the model answered {answer.status}: {text}"
            if answer.status < 500:
                raise self._bad(item, f"ClientError: {item.uri}: {problem}")
        raise self._bad(item, f"AlgorithmError: {item.uri}: {problem}")

    def _bad(self, item: Item, reason: str) -> JobFailure:
        self._data_log.write([f"[sagemaker logs]: {item.bucket}/{item.key}: {reason}"])
        return JobFailure(f"{reason}. See job logs for more information")


def _sent(records: Iterator[bytes], association: Association, asked: deque[bytes]) -> Iterator[bytes]:
    for record in records:
        asked.append(record)
        yield association.request(record)


def _counted(bodies: Iterator[bytes], sizes: deque[int]) -> Iterator[bytes]:
    for body in bodies:
        sizes.append(body.count(b"\n") + 1)
        yield body


def _given(record: dict[str, Any]) -> dict[str, str]:
    """The job's request settings as the container's variables."""
    names = {
        "BatchStrategy": "SAGEMAKER_BATCH_STRATEGY",
        "MaxPayloadInMB": "SAGEMAKER_MAX_PAYLOAD_IN_MB",
        "MaxConcurrentTransforms": "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
    }
    return {variable: str(record[member]) for member, variable in names.items() if member in record}


def _opened(path: Path, source: dict[str, Any]) -> IO[bytes]:
    if source.get("CompressionType") == "Gzip":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")
