"""Uploads while a job runs: Continuous outputs of processing jobs, checkpoints of training jobs."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcloud.containers.archives import ArchiveError, files_below
from localcloud.containers.engine import Container
from localcloud.sagemaker.jobs.failure import JobFailure
from localcloud.sagemaker.jobs.job import Job
from localcloud.sagemaker.jobs.storage import join_uri

_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of a container, and the S3 URI below which its files go."""

    container: Container
    folder: Path
    uri: str


class Mirror:
    """Uploads what appears or changes in the sources every two seconds, and once more at the end.

    Args:
        job: whose storage it uses, and which it stops when an upload fails.
        sources: none to do nothing.
        kms_key: that encrypts the objects.

    Raises:
        JobFailure: on leaving, when an upload failed.

    Example:
        >>> with Mirror(job, sources, None):
        ...     outcome = job.run_hosts(containers, specs, sinks, limit)
    """

    def __init__(self, job: Job, sources: Sequence[Source], kms_key: str | None) -> None:
        self._job, self._sources, self._kms_key = job, sources, kms_key
        self._seen: dict[Path, tuple[int, int]] = {}
        self._done = threading.Event()
        self._failure: JobFailure | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="continuous-upload")

    def know(self) -> None:
        """Take what lies in the sources now as uploaded."""
        for source in self._sources:
            for _, path in files_below(source.folder, source.container.base):
                self._seen[path] = _version(path)

    def __enter__(self) -> None:
        if self._sources:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._sources:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._done.wait(_SECONDS):
                self._upload()
            if not self._job.closing:
                self._upload()
        except JobFailure as failure:
            self._failure = failure
            self._job.stop()
        except ArchiveError as error:
            self._failure = JobFailure(f"ClientError: Data upload failed:{error}")
            self._job.stop()

    def _upload(self) -> None:
        for source in self._sources:
            base = source.container.base
            for relative, path in files_below(source.folder, base):
                try:
                    version = _version(path)
                    if self._seen.get(path) != version:
                        uri = join_uri(source.uri, relative)
                        self._job.storage.upload(path, uri, self._kms_key, base)
                        self._seen[path] = version
                except (FileNotFoundError, JobFailure):
                    # Scripts write beside and rename; the next round sees the result.
                    if os.path.lexists(path):
                        raise


def _version(path: Path) -> tuple[int, int]:
    stat = path.stat(follow_symlinks=False)
    return (stat.st_mtime_ns, stat.st_size)
