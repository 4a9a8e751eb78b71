"""The engine that moves bytes through aiobotocore: one method for each operation on objects."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_concurrency import Job, run_bounded
from fastapi_async_storages.backends._s3_copies import copy
from fastapi_async_storages.backends._s3_errors import error_of_code
from fastapi_async_storages.backends._s3_objects import (
    ObjectAttributes,
    to_content_range,
    to_file_info,
    to_listed_info,
)
from fastapi_async_storages.backends._s3_parts import PartReader
from fastapi_async_storages.backends._s3_payloads import HashedBody
from fastapi_async_storages.backends._s3_writes import put, put_parts
from fastapi_async_storages.exceptions import (
    BackendError,
    RangeNotSatisfiableError,
    StorageError,
)
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.preconditions import ANY_ETAG, Preconditions
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.readers import FileReader

if TYPE_CHECKING:
    from aiobotocore.response import StreamingBody

__all__ = ["READ_SIZE", "AiobotocoreEngine", "to_conditions"]

READ_SIZE = 256 * 1024
"""Most bytes of a chunk that a reader yields; aiohttp itself holds up to 128 KiB of a body."""

DELETE_BATCH_SIZE = 1000
"""Most keys of one request. Source: Amazon S3 API Reference, DeleteObjects."""


class AiobotocoreEngine:
    """What a storage asks of a bucket; another engine inherits what it does not do better.

    Args:
        bucket: The bucket, with its client.
        max_concurrency: How many requests one call makes at a time.
    """

    def __init__(self, bucket: Bucket, *, max_concurrency: int) -> None:
        self._bucket = bucket
        self._client = bucket.client
        self._max_concurrency = max_concurrency

    async def put(
        self, name: str, body: HashedBody, attributes: ObjectAttributes, *, overwrite: bool
    ) -> None:
        """Store a file in one request."""
        await put(self._bucket, name, body, attributes, overwrite=overwrite)

    async def put_parts(
        self, name: str, parts: PartReader, attributes: ObjectAttributes, *, overwrite: bool
    ) -> None:
        """Store a file in parts."""
        await put_parts(
            self._bucket,
            name,
            parts,
            attributes,
            overwrite=overwrite,
            max_concurrency=self._max_concurrency,
        )

    async def copy(
        self, source: str, target: str, *, overwrite: bool, if_match: str | None, acl: str | None
    ) -> None:
        """Copy a file on the server."""
        await copy(
            self._bucket,
            source,
            target,
            overwrite=overwrite,
            if_match=if_match,
            acl=acl,
            max_concurrency=self._max_concurrency,
        )

    async def check(self) -> None:
        """Find out whether the bucket is there and may be read."""
        await self._bucket.check()

    async def head(self, name: str) -> FileInfo:
        """Return what is known about a file."""
        answer = await self._bucket.head(name)
        return to_file_info(name, answer, size=self._get_length(name, answer))

    @asynccontextmanager
    async def get(
        self, name: str, byte_range: ByteRange | None, preconditions: Preconditions
    ) -> AsyncIterator[FileReader]:
        """Open a file for reading."""
        request = {**self._bucket.locate(name), **to_conditions(preconditions)}
        if byte_range is not None:
            request["Range"] = str(byte_range)
        try:
            with self._bucket.translate_errors(name):
                answer = await self._client.get_object(**request)
        except RangeNotSatisfiableError as error:
            if error.size is None or preconditions:
                info = await self.head(name)
                # SeaweedFS looks at the range first; RFC 9110 section 13.2.2 says last.
                self._enforce(preconditions, info)
                error.size = info.size
            raise
        body = answer["Body"]
        try:
            content_range = to_content_range(answer.get("ContentRange"))
            size = content_range.size if content_range else self._get_length(name, answer)
            info = to_file_info(name, answer, size=size)
            # Of what the server did not check, because it does not know it.
            self._enforce(preconditions, info)
            yield FileReader(
                info,
                self._read(name, body),
                content_range=content_range,
                storage=self._bucket.storage,
            )
        finally:
            # A connection with bytes left to read is dropped: reading them to keep it could take
            # longer than a new one. One that was read to its end is back in the pool already.
            body.close()

    async def list(self, prefix: str) -> AsyncIterator[FileInfo]:
        """List the files whose names start with a prefix, in the order of the server."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket.name, Prefix=self._bucket.prefix + prefix
        )
        answers = aiter(pages)
        while True:
            with self._bucket.translate_errors():
                answer = await anext(answers, None)
            if answer is None:
                return
            for item in answer.get("Contents", ()):
                name = self._bucket.to_name(item["Key"])
                if name is not None:
                    yield to_listed_info(name, item)

    async def delete(self, name: str) -> None:
        """Delete a file, if there is one."""
        with self._bucket.translate_errors(name):
            await self._client.delete_object(**self._bucket.locate(name))

    async def delete_many(self, names: Sequence[str]) -> dict[str, StorageError]:
        """Delete files, 1000 in a request, and return the errors of those that stay."""
        errors: dict[str, StorageError] = {}
        unique = list(dict.fromkeys(names))

        async def jobs() -> AsyncGenerator[Job, None]:
            for start in range(0, len(unique), DELETE_BATCH_SIZE):
                yield partial(self._delete_batch, unique[start : start + DELETE_BATCH_SIZE], errors)

        await run_bounded(jobs(), self._max_concurrency)
        return errors

    async def _delete_batch(self, names: Sequence[str], errors: dict[str, StorageError]) -> None:
        keys = {self._bucket.locate(name)["Key"]: name for name in names}
        try:
            with self._bucket.translate_errors():
                answer = await self._client.delete_objects(
                    Bucket=self._bucket.name,
                    Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
                )
        except StorageError as error:
            errors.update(dict.fromkeys(names, error))
            return
        for item in answer.get("Errors", ()):
            name, code = keys[item["Key"]], item.get("Code", "")
            if code != "NoSuchKey":
                errors[name] = error_of_code(code, self._bucket.storage, name)

    async def _read(self, name: str, body: "StreamingBody") -> AsyncIterator[bytes]:
        while True:
            with self._bucket.translate_errors(name):
                chunk = await body.read(READ_SIZE)
            if not chunk:
                return
            yield chunk

    def _enforce(self, preconditions: Preconditions, info: FileInfo) -> None:
        preconditions.enforce(
            etag=info.etag,
            last_modified=info.last_modified,
            cache_control=info.cache_control or "",
            storage=self._bucket.storage,
            name=info.name,
        )

    def _get_length(self, name: str, answer: Mapping[str, Any]) -> int:
        length = answer.get("ContentLength")
        if length is None:
            raise BackendError(
                f"{name!a} in {self._bucket.storage}: the answer does not tell the file's size; a"
                " proxy in front of the server may compress it.",
                storage=self._bucket.storage,
                name=name,
            )
        return int(length)


def to_conditions(preconditions: Preconditions) -> dict[str, Any]:
    """Return the preconditions that S3 can check, which saves the body of a 304 or 412.

    S3 takes one entity tag, and knows neither lists nor ``*`` nor weak tags.
    Source: Amazon S3 API Reference, GetObject.
    """
    conditions: dict[str, Any] = {}
    match preconditions.if_match:
        case ():
            conditions["IfUnmodifiedSince"] = preconditions.if_unmodified_since
        case (tag,) if tag != ANY_ETAG:
            conditions["IfMatch"] = tag
        case tags if ANY_ETAG not in tags:
            # RFC 9110 section 13.2.2: these come first, so S3 must not answer 304 for the rest.
            return {}
    match preconditions.if_none_match:
        case ():
            conditions["IfModifiedSince"] = preconditions.if_modified_since
        case (tag,) if tag != ANY_ETAG:
            conditions["IfNoneMatch"] = tag.removeprefix("W/")
    return {key: value for key, value in conditions.items() if value is not None}
