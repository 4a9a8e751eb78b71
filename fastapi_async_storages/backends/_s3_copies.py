"""Copying objects on the server: in one request up to 5 GiB, in parts above."""

from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Any

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_concurrency import Job, run_bounded
from fastapi_async_storages.backends._s3_multipart import open_multipart_upload
from fastapi_async_storages.backends._s3_objects import ObjectAttributes, to_headers
from fastapi_async_storages.backends._s3_parts import MAX_PART_SIZE, part_size_for
from fastapi_async_storages.backends._s3_writes import (
    CREATE_ONLY,
    add_write_token,
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

    Unlike copies that :func:`copy` makes, of several at the same time one succeeds: two copies of
    the same bytes could not be told apart.

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
    token, marked = add_write_token(attributes)
    headers = to_headers(marked)
    origin = {"CopySource": bucket.locate(source), "CopySourceIfMatch": etag}
    if head["ContentLength"] <= MAX_PART_SIZE:
        parameters = {**headers, **origin, "MetadataDirective": "REPLACE"}
        write = partial(_copy_whole, bucket, source, target, parameters)
    else:
        size = {"ContentLength": head["ContentLength"]}
        write = partial(_copy_parts, bucket, target, size, headers, origin, max_concurrency)

    async def is_ours() -> bool:
        await _find_refusing_etag(bucket, target)
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


async def _require_free(bucket: Bucket, target: str) -> None:
    """Raise when the name is taken.

    Asked before the copy, since R2 and others ignore the condition on copies. Where the server
    knows it, it also holds against a write in between.
    """
    if await _find_etag(bucket, target) is not None:
        raise AlreadyExistsError(
            f"{target!a} in {bucket.storage}: there is a file of this name already.",
            storage=bucket.storage,
            name=target,
        )


async def _is_copy(bucket: Bucket, target: str, head: Mapping[str, Any]) -> bool:
    """Tell whether the target has the bytes of the source: then a repeated request met itself."""
    return bool(await _find_refusing_etag(bucket, target) == head["ETag"])


async def _find_refusing_etag(bucket: Bucket, target: str) -> str:
    """Return the entity tag of the file that made a copy fail, if there is one.

    Raises:
        PreconditionFailedError: When the name is free, so that it was the other condition.
    """
    etag = await _find_etag(bucket, target)
    if etag is None:
        raise PreconditionFailedError(
            f"{target!a} in {bucket.storage}: the source was replaced while it was copied.",
            storage=bucket.storage,
            name=target,
        )
    return etag


async def _find_etag(bucket: Bucket, name: str) -> str | None:
    try:
        return str((await bucket.head(name))["ETag"])
    except NotFoundError:
        return None
