"""Copying objects on the server: in one request up to 5 GiB, in parts above."""

from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Any

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_concurrency import Job, run_bounded
from fastapi_async_storages.backends._s3_multipart import open_multipart_upload
from fastapi_async_storages.backends._s3_parts import MAX_PART_SIZE, part_size_for
from fastapi_async_storages.backends._s3_writes import CREATE_ONLY, create
from fastapi_async_storages.completion import complete
from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    NotFoundError,
    PreconditionFailedError,
)

__all__ = ["copy"]

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
    if not overwrite and await _find_etag(bucket, target) is not None:
        # Asked first, since R2 and others ignore the condition on copies. Where the server knows
        # it, it also holds against a write in between.
        raise AlreadyExistsError(
            f"{target!a} in {bucket.storage}: there is a file of this name already.",
            storage=bucket.storage,
            name=target,
        )
    if source == target:
        return  # S3 refuses a copy onto itself that changes nothing.
    headers = {"ACL": acl} if acl is not None else {}
    origin: dict[str, Any] = {"CopySource": bucket.locate(source)}
    if head["ContentLength"] <= MAX_PART_SIZE:
        if if_match is not None:
            origin["CopySourceIfMatch"] = if_match
        write = partial(_copy_whole, bucket, source, target, {**headers, **origin})
    else:
        origin["CopySourceIfMatch"] = head["ETag"]  # All parts are of the same version.
        write = partial(_copy_parts, bucket, target, head, headers, origin, max_concurrency)
    if overwrite:
        await write({})
    else:
        await create(
            bucket, target, partial(write, CREATE_ONLY), partial(_is_copy, bucket, target, head)
        )


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
    target: str,
    head: Mapping[str, Any],
    headers: Mapping[str, Any],
    origin: Mapping[str, Any],
    max_concurrency: int,
    conditions: Mapping[str, Any],
) -> None:
    size = head["ContentLength"]
    part_size = part_size_for(size, COPY_PART_SIZE)
    kept = {key: head[key] for key in _KEPT_HEADERS if key in head}
    async with open_multipart_upload(bucket, target, {**kept, **headers}) as upload:

        async def jobs() -> AsyncGenerator[Job, None]:
            for number, start in enumerate(range(0, size, part_size), 1):
                end = min(start + part_size, size) - 1
                yield partial(
                    upload.copy, number, {**origin, "CopySourceRange": f"bytes={start}-{end}"}
                )

        await run_bounded(jobs(), max_concurrency)
        await complete(upload.finish(conditions))


async def _is_copy(bucket: Bucket, target: str, head: Mapping[str, Any]) -> bool:
    """Tell whether the target has the bytes of the source: then a repeated request met itself."""
    etag = await _find_etag(bucket, target)
    if etag is None:
        raise PreconditionFailedError(
            f"{target!a} in {bucket.storage}: the source was replaced while it was copied.",
            storage=bucket.storage,
            name=target,
        )
    return bool(etag == head["ETag"])


async def _find_etag(bucket: Bucket, name: str) -> str | None:
    try:
        return str((await bucket.head(name))["ETag"])
    except NotFoundError:
        return None
