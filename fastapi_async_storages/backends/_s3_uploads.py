"""Uploads that browsers send to the bucket themselves: signed, put together, checked, published."""

import base64
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_concurrency import Job, run_bounded
from fastapi_async_storages.backends._s3_copies import publish
from fastapi_async_storages.backends._s3_cors import allow_browser_uploads
from fastapi_async_storages.backends._s3_multipart import MultipartUpload
from fastapi_async_storages.backends._s3_objects import ObjectAttributes, to_file_info, to_utc
from fastapi_async_storages.backends._s3_parts import MAX_PART_SIZE, MAX_PARTS
from fastapi_async_storages.backends._s3_urls import ObjectUrls
from fastapi_async_storages.checksums import to_checksum, to_sha256
from fastapi_async_storages.completion import complete
from fastapi_async_storages.exceptions import (
    FileTooLargeError,
    FileTooSmallError,
    NotFoundError,
)
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.presigned import PresignedForm, PresignedPart, PresignedParts

__all__ = ["S3PresignedUploads"]

WANTED_PARTS = 1000
"""Parts of one upload, at most, as long as parts can be that large: each needs a URL of 0.5 KB."""

_MIB = 1024**2


class S3PresignedUploads:
    """The uploads that clients send to a bucket; see :class:`PresignedUploads`.

    Args:
        bucket: The bucket, with the client of the app.
        signing_bucket: The bucket, with a client of the endpoint that browsers reach.
        urls: Makes the URLs of that endpoint.
        acl: Canned ACL of what is published. What is not, is private.
        part_size: Bytes of a part, at least.
        max_concurrency: How many requests one call makes at a time.
    """

    def __init__(
        self,
        bucket: Bucket,
        signing_bucket: Bucket,
        urls: ObjectUrls,
        *,
        acl: str | None,
        part_size: int,
        max_concurrency: int,
    ) -> None:
        self._bucket = bucket
        self._client = bucket.client
        self._signing_bucket = signing_bucket
        self._urls = urls
        self._acl = acl
        self._part_size = part_size
        self._max_concurrency = max_concurrency

    async def sign_form(
        self, name: str, *, size: int, content_type: str, checksum: str | None, expires_in: int
    ) -> PresignedForm:
        """Sign a POST policy for exactly one file.

        Source: Amazon S3 API Reference, "Creating an HTML form (using AWS Signature Version 4)".
        """
        fields = {"Content-Type": content_type}
        if checksum is not None:
            fields["x-amz-checksum-algorithm"] = "SHA256"
            fields["x-amz-checksum-sha256"] = _encode_checksum(checksum)
        conditions: list[Any] = [{key: value} for key, value in fields.items()]
        place = self._signing_bucket.locate(name)
        with self._signing_bucket.translate_errors(name):
            answer = await self._signing_bucket.client.generate_presigned_post(
                **place,
                Fields=fields,
                Conditions=[*conditions, ["content-length-range", size, size]],
                ExpiresIn=expires_in,
            )
        return PresignedForm(answer["url"], answer["fields"])

    async def sign_parts(
        self, name: str, *, size: int, content_type: str, expires_in: int
    ) -> PresignedParts:
        """Open a multipart upload, and sign each part with its size."""
        sizes = self._cut(size)
        upload = MultipartUpload(self._bucket, name)
        try:
            # To its end: cancelled half-way, the server would have an upload whose id nobody knows.
            await complete(upload.create({"ContentType": content_type}))
            urls = await self._urls.get_parts(name, upload.upload_id, sizes, expires_in=expires_in)
        except BaseException:
            await complete(upload.close())
            raise
        numbered = enumerate(zip(urls, sizes, strict=True), 1)
        parts = [PresignedPart(number, *part) for number, part in numbered]
        return PresignedParts(upload.upload_id, parts)

    async def join_parts(self, name: str, upload_id: str, *, size: int) -> None:
        """Complete a multipart upload, if it is still open and whole."""
        target = {**self._bucket.locate(name), "UploadId": upload_id}
        is_over = suppress(self._client.exceptions.NoSuchUpload)
        with self._bucket.translate_errors(name), is_over:
            parts = await self._list_parts(target)
            if not parts or _measure(parts) < size:
                # SeaweedFS takes the parts away one by one when somebody else has completed it.
                if await self._is_there(name):
                    return
                parts = await self._list_parts(target)
            self._check_whole(name, parts, size)
            await self._client.complete_multipart_upload(
                **target, MultipartUpload={"Parts": [_identify(part) for part in parts]}
            )

    async def abort_parts(self, name: str, upload_id: str) -> None:
        """Abort a multipart upload."""
        with self._bucket.translate_errors(name):
            await MultipartUpload(self._bucket, name).abort(upload_id)

    async def get_info(self, name: str) -> FileInfo:
        """Return what is known of an object, with the SHA-256 that S3 has checked."""
        answer = await self._bucket.head(name, ChecksumMode="ENABLED")
        info = to_file_info(name, answer, size=answer["ContentLength"])
        # Not what the metadata says: that is the client's word.
        return replace(info, checksum=_decode_checksum(answer))

    async def publish(
        self,
        name: str,
        target: str,
        *,
        etag: str,
        content_type: str,
        metadata: Mapping[str, str],
        cache_control: str | None,
    ) -> None:
        """Copy one version to a free name, with what was found out of it."""
        await publish(
            self._bucket,
            name,
            target,
            etag=etag,
            attributes=ObjectAttributes(content_type, metadata, cache_control, self._acl),
            max_concurrency=self._max_concurrency,
        )

    async def abort_stale(self, prefix: str, *, older_than: timedelta) -> int:
        """Abort the multipart uploads that were opened before a time."""
        before = datetime.now(UTC) - older_than
        stale = [
            (name, upload["UploadId"])
            for upload in await self._list_uploads(self._bucket.prefix + prefix)
            if (name := self._bucket.to_name(upload["Key"])) is not None
            and (to_utc(upload["Initiated"]) or before) < before
        ]

        async def jobs() -> AsyncGenerator[Job, None]:
            for name, upload_id in stale:
                yield partial(self.abort_parts, name, upload_id)

        await run_bounded(jobs(), self._max_concurrency)
        return len(stale)

    async def allow_origins(self, origins: Iterable[str]) -> None:
        """Let pages of some origins send uploads."""
        await allow_browser_uploads(self._bucket, origins)

    def _cut(self, size: int) -> Sequence[int]:
        """Return the sizes of the parts of a file, all equal but the last: R2 refuses others."""
        if size > MAX_PARTS * MAX_PART_SIZE:
            raise FileTooLargeError(
                f"{size} bytes are more than an S3 server takes.",
                limit=MAX_PARTS * MAX_PART_SIZE,
                received=size,
            )
        wanted = -(-size // (WANTED_PARTS * _MIB)) * _MIB
        part_size = min(max(self._part_size, wanted), MAX_PART_SIZE)
        whole, rest = divmod(size, part_size)
        return [*[part_size] * whole, *([rest] if rest or not whole else [])]

    def _check_whole(self, name: str, parts: Sequence[Mapping[str, Any]], size: int) -> None:
        received = _measure(parts)
        if received != size or not parts:
            kind = FileTooLargeError if received > size else FileTooSmallError
            raise kind(
                f"Of the {size} bytes that were announced, {received} have come.",
                limit=size,
                received=received,
                storage=self._bucket.storage,
                name=name,
            )

    async def _is_there(self, name: str) -> bool:
        try:
            await self._bucket.head(name)
        except NotFoundError:
            return False
        return True

    async def _list_parts(self, target: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """List the parts that have come, the last version of each."""
        parts: dict[int, Mapping[str, Any]] = {}
        pages = self._client.get_paginator("list_parts").paginate(**target)
        async for page in pages:
            for part in page.get("Parts", ()):
                # SeaweedFS lists the older versions of a part that was sent again too.
                known = parts.get(part["PartNumber"])
                if known is None or known["LastModified"] <= part["LastModified"]:
                    parts[part["PartNumber"]] = part
        return [parts[number] for number in sorted(parts)]

    async def _list_uploads(self, prefix: str) -> Sequence[Mapping[str, Any]]:
        uploads: list[Mapping[str, Any]] = []
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self._bucket.name, Prefix=prefix
        )
        with self._bucket.translate_errors():
            async for page in pages:
                uploads += page.get("Uploads", ())
        return uploads


def _measure(parts: Sequence[Mapping[str, Any]]) -> int:
    return sum(part["Size"] for part in parts)


def _identify(part: Mapping[str, Any]) -> Any:
    """Return what names a part when the parts are joined."""
    keys = ("PartNumber", "ETag")
    checksums = {key: value for key, value in part.items() if key.startswith("Checksum")}
    return {**{key: part[key] for key in keys}, **checksums}


def _encode_checksum(checksum: str) -> str:
    return base64.b64encode(bytes.fromhex(to_sha256(checksum))).decode()


def _decode_checksum(answer: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 of a whole object; of one in parts, S3 has that of its parts' only."""
    value = answer.get("ChecksumSHA256")
    if value is None or answer.get("ChecksumType") == "COMPOSITE" or "-" in value:
        return None
    return to_checksum(base64.b64decode(value).hex())
