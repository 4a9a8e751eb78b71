"""One multipart upload: opened, completed, or aborted to its end."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from botocore.exceptions import ClientError

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_payloads import HashedBody
from fastapi_async_storages.completion import complete
from fastapi_async_storages.exceptions import BackendError, StorageError

__all__ = ["MultipartUpload", "open_multipart_upload"]

ABORT_ATTEMPTS = 3
"""How often an upload is aborted whose parts keep arriving."""

_log = logging.getLogger(__name__)


class MultipartUpload:
    """A multipart upload under way.

    Args:
        bucket: The bucket.
        name: Name of the file that the parts will make.
    """

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket = bucket
        self._name = name
        self._client = bucket.client
        self._target = bucket.locate(name)
        self._parts: dict[int, Mapping[str, Any]] = {}
        self._completed = False
        self._answer_lost = False

    @property
    def upload_id(self) -> str:
        """What the server calls the upload, once it is open."""
        return str(self._target["UploadId"])

    async def create(self, headers: Mapping[str, Any]) -> None:
        """Open the upload on the server."""
        try:
            with self._bucket.translate_errors(self._name):
                answer = await self._client.create_multipart_upload(**self._target, **headers)
        except BackendError:
            self._answer_lost = True
            raise
        self._target["UploadId"] = answer["UploadId"]
        self._answer_lost = answer["ResponseMetadata"].get("RetryAttempts", 0) > 0

    async def send(self, number: int, body: HashedBody) -> None:
        """Send one part."""
        async with self._bucket.sending(body, self._name):
            answer = await self._client.upload_part(**self._target, PartNumber=number, Body=body)
        self._keep(number, answer)

    async def copy(self, number: int, source: Mapping[str, Any]) -> None:
        """Copy one part on the server."""
        with self._bucket.translate_errors(self._name):
            answer = await self._client.upload_part_copy(
                **self._target, PartNumber=number, **source
            )
        self._keep(number, answer["CopyPartResult"])

    async def finish(self, conditions: Mapping[str, Any]) -> None:
        """Make the object of the parts."""
        parts: list[Any] = [self._parts[number] for number in sorted(self._parts)]
        with self._bucket.translate_errors(self._name):
            await self._client.complete_multipart_upload(
                **self._target, MultipartUpload={"Parts": parts}, **conditions
            )
        self._completed = True

    async def close(self) -> None:
        """Free the parts, unless they have become an object."""
        try:
            with self._bucket.translate_errors(self._name):
                if not self._completed and "UploadId" in self._target:
                    await self.abort(self._target["UploadId"])
                if self._answer_lost:
                    await self._abort_lost()
        except StorageError as error:
            # What made the upload fail is what the caller must hear of.
            _log.warning("A multipart upload may be left in the bucket: %s", error)

    async def abort(self, upload_id: str) -> None:
        """Free the parts of an upload to the same name, which may be over already.

        Args:
            upload_id: Which upload.
        """
        # A part that was on its way may arrive after the abort, and would stay.
        # Source: Amazon S3 API Reference, AbortMultipartUpload.
        for _ in range(ABORT_ATTEMPTS):
            with suppress(self._client.exceptions.NoSuchUpload):
                await self._client.abort_multipart_upload(**{**self._target, "UploadId": upload_id})
            with suppress(ClientError):  # Who may abort may still not be allowed to look.
                if await self._has_parts(upload_id):
                    continue
            break

    async def _abort_lost(self) -> None:
        """Abort the uploads whose creation was answered, but the answer got lost.

        Nobody knows their ids, so they are the ones to this key that never got a part, unlike those
        of other writers.
        """
        bucket, key = self._target["Bucket"], self._target["Key"]
        answer = await self._client.list_multipart_uploads(Bucket=bucket, Prefix=key)
        for upload in answer.get("Uploads", ()):
            if upload["Key"] == key and not await self._has_parts(upload["UploadId"]):
                await self.abort(upload["UploadId"])

    async def _has_parts(self, upload_id: str) -> bool:
        with suppress(self._client.exceptions.NoSuchUpload):
            answer = await self._client.list_parts(
                **{**self._target, "UploadId": upload_id}, MaxParts=1
            )
            return bool(answer.get("Parts"))
        return False

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
        await complete(upload.close())
