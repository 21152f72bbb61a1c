"""S3 in and out of jobs, with the permissions of their execution roles."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import create_parser

from localcloud.aws.inside import Answer, Request
from localcloud.containers.archives import ArchiveError, files_below, open_below
from localcloud.sagemaker.jobs.failure import JobFailure, nothing_found, s3_failed

_PARALLEL = 8
# What is asked inside at once: few enough that it is soon written, and all of it in memory.
_BATCH, _BATCH_BYTES = 64, 8 * 2**20
_MAX_PUT = 1024**3  # larger files go up in parts; PutObject itself takes 5 GB


@dataclass(frozen=True, slots=True)
class Item:
    """One object to fetch: `relative` is its path below the folder it goes to, `size` in bytes."""

    bucket: str
    key: str
    relative: str
    size: int

    @property
    def uri(self) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}"


_ADDRESS = re.compile(
    r"https://(?:(?P<bucket>[a-z0-9.-]+)\.)?s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?/(?P<path>.+)"
)


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI, or of an object's `https://` address; JobFailure for anything else.

    Both forms are SageMaker's: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
    of addresses: https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html

    >>> split_uri("https://b.s3.us-east-1.amazonaws.com/models/a%20b.tar.gz")
    ('b', 'models/a b.tar.gz')
    """
    if address := _ADDRESS.fullmatch(uri):
        path = unquote(address["path"])
        if address["bucket"]:
            return address["bucket"], path
        bucket, _, key = path.partition("/")
        return bucket, key
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise JobFailure(f"ClientError: {uri} is not an S3 URI such as s3://bucket/prefix")
    return bucket, key


def join_uri(uri: str, *parts: str) -> str:
    """`uri` with parts added, one slash between each."""
    return "/".join([uri.rstrip("/"), *parts])


def relative_key(prefix: str, key: str) -> str:
    """Where an object lies below its folder.

    A prefix that is a folder or the object itself falls away; one that is the beginning of a name keeps it.

    >>> [relative_key("in/a", key) for key in ("in/a/b.csv", "in/a", "in/abc")]
    ['b.csv', 'a', 'abc']
    """
    folder = prefix if prefix.endswith("/") or not prefix else prefix + "/"
    if key.startswith(folder) and key != folder:
        return key[len(folder) :]
    return key[prefix.rfind("/") + 1 :]


def shard(items: Sequence[Item], index: int, count: int, distribution: str) -> list[Item]:
    """The objects of host `index` (from 0) of `count`; ShardedByS3Key deals them out in turn by key."""
    if distribution != "ShardedByS3Key":
        return list(items)
    return sorted(items, key=lambda item: item.key)[index::count]


class Storage:
    """S3 as one role may use it.

    Args:
        client: makes, or finds, a boto3 S3 client with the role's credentials: what goes inside needs none.
        role_arn: named in errors.
        region: named in errors.
        ask: `inside.ask` with the same credentials, for lists and small objects; without it the client asks
            for all.
    """

    def __init__(
        self,
        client: Callable[[], Any],
        role_arn: str,
        region: str,
        ask: Callable[[Sequence[Request]], list[Answer] | None] | None = None,
    ) -> None:
        self._client, self._role_arn, self._region, self._ask = client, role_arn, region, ask

    def select(self, uri: str, data_type: str = "S3Prefix") -> list[Item]:
        """The objects of an S3Prefix or a ManifestFile. Raises JobFailure if there are none."""
        items = self._manifest(uri) if data_type == "ManifestFile" else self._prefix(uri)
        if not items:
            raise nothing_found(uri, self._role_arn, self._region)
        return items

    def _prefix(self, uri: str) -> list[Item]:
        bucket, prefix = split_uri(uri)
        try:
            found = self._list_inside(bucket, prefix)
            if found is None:
                pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
                found = [
                    (entry["Key"], entry["Size"]) for page in pages for entry in page.get("Contents", [])
                ]
        except (ClientError, BotoCoreError) as error:
            raise s3_failed("download", uri, error) from error
        return [
            Item(bucket, key, relative_key(prefix, key), size)
            for key, size in found
            if not key.endswith("/")  # markers that consoles make for empty folders
        ]

    def _list_inside(self, bucket: str, prefix: str) -> list[tuple[str, int]] | None:
        """Keys and sizes without a connection, and without a client's reading of what nobody asks for."""
        found: list[tuple[str, int]] = []
        # Keys may hold characters that XML cannot.
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        while True:
            answer = self._ask_one(Request(method="GET", bucket=bucket, key="", query=query))
            if answer is None:
                return None
            if answer.status != 200:
                raise _refusal(answer, "ListObjectsV2")
            page = ElementTree.fromstring(answer.body)  # noqa: S314 - our own
            for entry in page.iterfind("{*}Contents"):
                found.append((unquote(entry.findtext("{*}Key", "")), int(entry.findtext("{*}Size", "0"))))
            token = page.findtext("{*}NextContinuationToken")
            if not token:
                return found
            query = {**query, "continuation-token": token}

    def _ask_one(self, request: Request) -> Answer | None:
        answers = self._ask([request]) if self._ask else None
        return answers[0] if answers else None

    def _manifest(self, uri: str) -> list[Item]:
        try:
            entries = json.loads(self.read(uri))
            first, names = entries[0], entries[1:]
            bucket, prefix = split_uri(first["prefix"])
            if not all(isinstance(name, str) for name in names):
                raise TypeError("an entry is not a string")
        except (ValueError, LookupError, TypeError) as error:
            raise JobFailure(
                f"ClientError: Data download failed:the manifest {uri} is not a JSON list of a prefix object "
                f"and relative names ({error})"
            ) from error
        items = []
        for name in names:
            key = prefix + name
            try:
                size = self._client().head_object(Bucket=bucket, Key=key)["ContentLength"]
            except (ClientError, BotoCoreError) as error:
                raise s3_failed("download", f"s3://{bucket}/{key}", error) from error
            items.append(Item(bucket, key, name, size))
        return items

    def read(self, uri: str) -> bytes:
        """One object's content."""
        bucket, key = split_uri(uri)
        try:
            return bytes(self._client().get_object(Bucket=bucket, Key=key)["Body"].read())
        except (ClientError, BotoCoreError) as error:
            raise s3_failed("download", uri, error) from error

    def exists(self, uri: str) -> bool:
        """Whether the object is there; a refusal raises JobFailure."""
        bucket, key = split_uri(uri)
        try:
            self._client().head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return False
            raise s3_failed("download", uri, error) from error
        return True

    def any_below(self, uri: str) -> bool:
        """Whether a folder of objects has any."""
        bucket, prefix = split_uri(join_uri(uri, ""))
        try:
            found = self._client().list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except (ClientError, BotoCoreError) as error:
            raise s3_failed("download", uri, error) from error
        return bool(found.get("KeyCount"))

    def download(self, items: Iterable[Item], folder: Path, *, limit: int | None = None) -> None:
        """Fetch objects into `folder`.

        Args:
            items: from `select`.
            folder: made if missing.
            limit: bytes that fit; more fails before anything is fetched.
        """
        chosen = list(items)
        total = sum(item.size for item in chosen)
        if limit is not None and total > limit:
            raise JobFailure(
                f"ClientError: Data download failed:{total} bytes do not fit the volume of {limit} bytes; "
                "raise VolumeSizeInGB"
            )
        folder.mkdir(parents=True, exist_ok=True)
        rest = []
        for batch in _batches(chosen):
            if not self._fetch_inside(batch, folder):
                rest += batch
        with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(rest) or 1)) as pool:
            list(pool.map(lambda item: self.fetch(item, folder), rest))

    def _fetch_inside(self, batch: Sequence[Item], folder: Path) -> bool:
        """Fetch objects without a connection; False where that cannot be."""
        if sum(item.size for item in batch) > _BATCH_BYTES:
            return False
        targets = [_target(item, folder) for item in batch]
        requests = [Request(method="GET", bucket=item.bucket, key=item.key) for item in batch]
        answers = self._ask(requests) if self._ask else None
        if answers is None:
            return False
        for item, target, answer in zip(batch, targets, answers, strict=True):
            if answer.status != 200:
                raise s3_failed("download", item.uri, _refusal(answer, "GetObject"))
            with _placing(item, target), target.open("wb") as file:
                file.write(answer.body)
        return True

    def fetch(self, item: Item, folder: Path) -> Path:
        """Fetch one object to its place below `folder`."""
        target = _target(item, folder)
        if self._fetch_inside([item], folder):
            return target
        try:
            with _placing(item, target):
                body = self._client().get_object(Bucket=item.bucket, Key=item.key)["Body"]
                with body, target.open("wb") as file:
                    shutil.copyfileobj(body, file, 1 << 20)
        except (ClientError, BotoCoreError) as error:
            raise s3_failed("download", item.uri, error) from error
        return target

    def upload(self, path: Path, uri: str, kms_key: str | None = None, root: Path | None = None) -> None:
        """Store one file.

        Args:
            path: of the file.
            uri: of the object.
            kms_key: that encrypts it.
            root: the container's folder, below which no link is followed; else the file's own folder.
        """
        bucket, key = split_uri(uri)
        extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        try:
            with open_below(root or path.parent, path) as content:
                size = os.fstat(content.fileno()).st_size
                if size > _MAX_PUT:
                    self._client().upload_fileobj(content, bucket, key, ExtraArgs=extra)
                elif size > _BATCH_BYTES or not self._put_inside(bucket, key, content.read(), kms_key):
                    content.seek(0)
                    self._client().put_object(Bucket=bucket, Key=key, Body=content, **extra)
        except (ArchiveError, FileNotFoundError) as error:
            raise JobFailure(f"ClientError: Data upload failed:{error}") from error
        except (ClientError, BotoCoreError, S3UploadFailedError) as error:
            raise s3_failed("upload", uri, error) from error

    def _put_inside(self, bucket: str, key: str, body: bytes, kms_key: str | None) -> bool:
        """Store an object without a connection; False where that cannot be."""
        headers = {
            "content-length": str(len(body)),
            # As clients send it: readers get it back and compare.
            "x-amz-sdk-checksum-algorithm": "CRC32",
            "x-amz-checksum-crc32": base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode(),
        }
        if kms_key:
            headers["x-amz-server-side-encryption"] = "aws:kms"
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = kms_key
        request = Request(method="PUT", bucket=bucket, key=key, headers=headers, body=body)
        answer = self._ask_one(request)
        if answer is None:
            return False
        if answer.status != 200:
            raise _refusal(answer, "PutObject")
        return True

    def upload_folder(self, folder: Path, uri: str, kms_key: str | None = None, *, root: Path) -> int:
        """Store every file below `folder` under `uri`; how many there were.

        Args:
            folder, uri, kms_key: see `upload`.
            root: the container's folder, which it cannot replace itself.
        """
        try:
            files = list(files_below(folder, root))
        except ArchiveError as error:
            raise JobFailure(f"ClientError: Data upload failed:{error}") from error
        with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(files) or 1)) as pool:
            list(pool.map(lambda file: self.upload(file[1], join_uri(uri, file[0]), kms_key, root), files))
        return len(files)


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Neighbours that fit into memory together; what does not alone stands alone."""
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and (len(batch) == _BATCH or size + item.size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        yield batch


def _target(item: Item, folder: Path) -> Path:
    relative = PurePosixPath(item.relative)
    if relative.is_absolute() or ".." in relative.parts or not relative.name:
        raise JobFailure(f"ClientError: Data download failed:the key {item.uri} leads out of its folder")
    return folder / relative


@contextmanager
def _placing(item: Item, target: Path) -> Iterator[None]:
    """Make the folder; JobFailure if another object has taken the place."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise JobFailure(
            f"ClientError: Data download failed:Cannot download {item.uri}, a previously downloaded "
            "file/folder clashes with it."
        ) from error


def _refusal(answer: Answer, operation: str) -> ClientError:
    """What a client would have raised."""
    headers: Mapping[str, str] = {name.lower(): value for name, value in answer.headers.items()}
    response = {"status_code": answer.status, "headers": headers, "body": answer.body}
    return ClientError(create_parser("rest-xml").parse(response, None), operation)
