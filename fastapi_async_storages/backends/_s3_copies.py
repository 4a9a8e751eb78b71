"""Copying objects on the server: in one request up to 5 GiB, in parts above."""

import secrets
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Any

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_concurrency import Job, run_bounded
from fastapi_async_storages.backends._s3_multipart import open_multipart_upload
from fastapi_async_storages.backends._s3_objects import WRITE_TOKEN, ObjectAttributes, to_headers
from fastapi_async_storages.backends._s3_parts import MAX_PART_SIZE, part_size_for
from fastapi_async_storages.backends._s3_writes import (
    CREATE_ONLY,
    create,
    has_write_token,
)
from fastapi_async_storages.completion import complete
from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    NotFoundError,
    PreconditionFailedError,
)

__all__ = ["copy", "publish"]

COPY_PART_SIZE = 512 * 1024**2
"""Bytes of a part of a copy: large, since they only move within the server."""

# What CopyObject takes over by itself, and CreateMultipartUpload must be told.
_KEPT_HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
)


async def copy(
    bucket: Bucket,
    source: str,
    target: str,
    *,
    overwrite: bool,
    if_match: str | None,
    acl: str | None,
    max_concurrency: int,
) -> None:
    """Copy a file with what is stored beside its bytes.

    Args:
        bucket: Where.
        source: Which file.
        target: Name of the copy.
        overwrite: ``False`` copies only if the target's name is free.
        if_match: Entity tag that the source must have.
        acl: Canned ACL of the copy; S3 does not copy ACLs.
        max_concurrency: How many parts are copied at a time.
    """
    condition: dict[str, Any] = {"IfMatch": if_match} if if_match is not None else {}
    head = await bucket.head(source, **condition)
    if not overwrite:
        await _require_free(bucket, target)
    if source == target:
        return  # S3 refuses a copy onto itself that changes nothing.
    size, etag = head["ContentLength"], head["ETag"]
    kept = {key: head[key] for key in _KEPT_HEADERS if key in head}
    headers: dict[str, Any] = {"ACL": acl} if acl is not None else {}
    if not overwrite:
        await _create(bucket, source, target, {**kept, **headers}, etag, size, max_concurrency)
    elif size <= MAX_PART_SIZE:
        origin: dict[str, Any] = {"CopySource": bucket.locate(source)}
        if if_match is not None:
            origin["CopySourceIfMatch"] = if_match
        await _copy_whole(bucket, source, target, {**headers, **origin}, {})
    else:
        headers = {**kept, **headers}
        await _copy_parts(bucket, source, target, headers, etag, size, max_concurrency, {})


async def publish(
    bucket: Bucket,
    source: str,
    target: str,
    *,
    etag: str,
    attributes: ObjectAttributes,
    max_concurrency: int,
) -> None:
    """Copy one version of a file to a name that must be free, with other attributes.

    Args:
        bucket: Where.
        source: Which file.
        target: Name of the copy.
        etag: Entity tag that the source must have.
        attributes: What is stored beside the bytes of the copy.
        max_concurrency: How many parts are copied at a time.
    """
    head = await bucket.head(source, IfMatch=etag)
    await _require_free(bucket, target)
    await _create(
        bucket,
        source,
        target,
        to_headers(attributes),
        etag,
        head["ContentLength"],
        max_concurrency,
    )


async def _create(
    bucket: Bucket,
    source: str,
    target: str,
    headers: Mapping[str, Any],
    etag: str,
    size: int,
    max_concurrency: int,
) -> None:
    """Copy one version of a file to a name that must be free; of several copies one succeeds."""
    # A token, because two copies of the same bytes could not be told apart.
    token = secrets.token_urlsafe(12)
    headers = {**headers, "Metadata": {**headers.get("Metadata", {}), WRITE_TOKEN: token}}
    if size <= MAX_PART_SIZE:
        origin = {"CopySource": bucket.locate(source), "CopySourceIfMatch": etag}
        parameters = {**headers, **origin, "MetadataDirective": "REPLACE"}
        write = partial(_copy_whole, bucket, source, target, parameters)
    else:
        write = partial(_copy_parts, bucket, source, target, headers, etag, size, max_concurrency)

    async def is_ours() -> bool:
        await _require_taken(bucket, target)
        return await has_write_token(bucket, target, token)

    await create(bucket, target, partial(write, CREATE_ONLY), is_ours)


async def _copy_whole(
    bucket: Bucket,
    source: str,
    target: str,
    parameters: Mapping[str, Any],
    conditions: Mapping[str, Any],
) -> None:
    with bucket.translate_errors(source):
        await bucket.client.copy_object(**bucket.locate(target), **parameters, **conditions)


async def _copy_parts(
    bucket: Bucket,
    source: str,
    target: str,
    headers: Mapping[str, Any],
    etag: str,
    size: int,
    max_concurrency: int,
    conditions: Mapping[str, Any],
) -> None:
    # All parts are of the same version.
    origin = {"CopySource": bucket.locate(source), "CopySourceIfMatch": etag}
    part_size = part_size_for(size, COPY_PART_SIZE)
    async with open_multipart_upload(bucket, target, headers) as upload:

        async def jobs() -> AsyncGenerator[Job, None]:
            for number, start in enumerate(range(0, size, part_size), 1):
                end = min(start + part_size, size) - 1
                yield partial(
                    upload.copy, number, {**origin, "CopySourceRange": f"bytes={start}-{end}"}
                )

        await run_bounded(jobs(), max_concurrency)
        await complete(upload.finish(conditions))


async def _require_free(bucket: Bucket, target: str) -> None:
    """Raise when the name is taken.

    Asked before the copy, since R2 and others ignore the condition on copies. Where the server
    knows it, it also holds against a write in between.
    """
    if await _exists(bucket, target):
        raise AlreadyExistsError(
            f"{target!a} in {bucket.storage}: there is a file of this name already.",
            storage=bucket.storage,
            name=target,
        )


async def _require_taken(bucket: Bucket, target: str) -> None:
    """After a condition did not hold: raise when the name is free, so that it was the other one."""
    if not await _exists(bucket, target):
        raise PreconditionFailedError(
            f"{target!a} in {bucket.storage}: the source was replaced while it was copied.",
            storage=bucket.storage,
            name=target,
        )


async def _exists(bucket: Bucket, name: str) -> bool:
    try:
        await bucket.head(name)
    except NotFoundError:
        return False
    return True
