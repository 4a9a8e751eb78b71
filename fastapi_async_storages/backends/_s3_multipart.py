"""One multipart upload: opened, completed, or aborted to its end."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_payloads import HashedBody
from fastapi_async_storages.completion import complete
from fastapi_async_storages.exceptions import StorageError

__all__ = ["MultipartUpload", "open_multipart_upload"]

_log = logging.getLogger(__name__)


class MultipartUpload:
    """A multipart upload under way.

    Args:
        bucket: The bucket.
        name: Name of the file that the parts will make.
    """

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._client = bucket.client
        self._signs_bodies = bucket.signs_bodies
        self._target = bucket.locate(name)
        self._translate_errors = partial(bucket.translate_errors, name)
        self._parts: dict[int, Mapping[str, Any]] = {}
        self._completed = False

    async def create(self, headers: Mapping[str, Any]) -> None:
        """Open the upload on the server."""
        with self._translate_errors():
            answer = await self._client.create_multipart_upload(**self._target, **headers)
        self._target["UploadId"] = answer["UploadId"]

    async def send(self, number: int, body: HashedBody) -> None:
        """Send one part."""
        if self._signs_bodies:
            await body.hash()
        with self._translate_errors():
            answer = await self._client.upload_part(**self._target, PartNumber=number, Body=body)
        self._keep(number, answer)

    async def copy(self, number: int, source: Mapping[str, Any]) -> None:
        """Copy one part on the server."""
        with self._translate_errors():
            answer = await self._client.upload_part_copy(
                **self._target, PartNumber=number, **source
            )
        self._keep(number, answer["CopyPartResult"])

    async def finish(self, conditions: Mapping[str, Any]) -> None:
        """Make the object of the parts."""
        parts: list[Any] = [self._parts[number] for number in sorted(self._parts)]
        with self._translate_errors():
            await self._client.complete_multipart_upload(
                **self._target, MultipartUpload={"Parts": parts}, **conditions
            )
        self._completed = True

    async def abort(self) -> None:
        """Free the parts, unless they have become an object."""
        if self._completed or "UploadId" not in self._target:
            return
        try:
            with self._translate_errors(), suppress(self._client.exceptions.NoSuchUpload):
                await self._client.abort_multipart_upload(**self._target)
        except StorageError as error:
            # What made the upload fail is what the caller must hear of.
            _log.warning("A multipart upload could not be aborted: %s", error)

    def _keep(self, number: int, answer: Mapping[str, Any]) -> None:
        # Where the SDK has the server check the parts, it wants to be told their checksums again.
        checksums = {key: value for key, value in answer.items() if key.startswith("Checksum")}
        self._parts[number] = {"PartNumber": number, "ETag": answer["ETag"], **checksums}


@asynccontextmanager
async def open_multipart_upload(
    bucket: Bucket, name: str, headers: Mapping[str, Any]
) -> AsyncIterator[MultipartUpload]:
    """Open a multipart upload; it is aborted when the block raises or leaves it incomplete.

    Args:
        bucket: The bucket.
        name: Name of the file that the parts will make.
        headers: What is stored beside the bytes.
    """
    upload = MultipartUpload(bucket, name)
    try:
        # To its end: cancelled half-way, the server would have an upload whose id nobody knows.
        await complete(upload.create(headers))
        yield upload
    finally:
        await complete(upload.abort())
