"""Writing objects: in one request, or in parts side by side."""

import asyncio
import random
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, TypeAlias

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_concurrency import Job, run_bounded
from fastapi_async_storages.backends._s3_errors import ConflictError
from fastapi_async_storages.backends._s3_multipart import open_multipart_upload
from fastapi_async_storages.backends._s3_objects import WRITE_TOKEN, ObjectAttributes, to_headers
from fastapi_async_storages.backends._s3_parts import PartReader
from fastapi_async_storages.backends._s3_payloads import HashedBody
from fastapi_async_storages.checksums import to_checksum
from fastapi_async_storages.completion import complete
from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    InvalidMetadataError,
    NotFoundError,
    PreconditionFailedError,
)
from fastapi_async_storages.info import check_metadata

__all__ = [
    "CREATE_ONLY",
    "Write",
    "add_write_token",
    "create",
    "has_write_token",
    "put",
    "put_parts",
    "write_checked",
]

Write: TypeAlias = Callable[[ObjectAttributes, Mapping[str, Any]], Awaitable[None]]
"""Sends one request that stores a file with these attributes, if these conditions hold."""

CREATE_ONLY: Mapping[str, Any] = {"IfNoneMatch": "*"}
"""The condition of a write that must not replace anything (RFC 9110 section 13.1.2)."""

CONFLICT_ATTEMPTS = 5
"""How often a create-only write that conflicts with another one is sent."""

CONFLICT_DELAY = 0.1
"""Seconds before the first repetition, at most; doubled for each further one."""


async def put(
    bucket: Bucket, name: str, body: HashedBody, attributes: ObjectAttributes, *, overwrite: bool
) -> None:
    """Store a file in one request.

    Args:
        bucket: Where to.
        name: Name of the file.
        body: All of its bytes.
        attributes: What is stored beside them; the checksum is added.
        overwrite: ``False`` stores it only if the name is free.
    """

    async def write(attributes: ObjectAttributes, conditions: Mapping[str, Any]) -> None:
        request = {**bucket.locate(name), **to_headers(attributes), **conditions}
        body.seek(0)  # A conflict has it sent again, and the SDK rewinds within one call only.
        if body.is_small:
            body.is_signed = bucket.signs_bodies
            with bucket.translate_errors(name):
                await bucket.client.put_object(**request, Body=body)
        else:
            async with bucket.sending(body, name):
                await bucket.client.put_object(**request, Body=body)

    await write_checked(bucket, name, body, attributes, write, overwrite=overwrite)


async def write_checked(
    bucket: Bucket,
    name: str,
    body: HashedBody,
    attributes: ObjectAttributes,
    write: Write,
    *,
    overwrite: bool,
) -> None:
    """Store a file in one request, with its checksum.

    Args:
        bucket: Where to.
        name: Name of the file.
        body: All of its bytes.
        attributes: What is stored beside them; the checksum is added, unless they have it.
        write: Sends the request.
        overwrite: ``False`` stores it only if the name is free.
    """
    if "checksum" not in attributes.metadata:
        await body.hash()
        attributes = _add_checksum(attributes, body)
    if overwrite:
        await write(attributes, {})
    else:
        token, marked = add_write_token(attributes)
        await create(
            bucket,
            name,
            partial(write, marked, CREATE_ONLY),
            partial(has_write_token, bucket, name, token),
        )


async def put_parts(
    bucket: Bucket,
    name: str,
    parts: PartReader,
    attributes: ObjectAttributes,
    *,
    overwrite: bool,
    max_concurrency: int,
) -> None:
    """Store a file in parts; at most ``max_concurrency`` of them are in memory at a time.

    Args:
        bucket: Where to.
        name: Name of the file.
        parts: Its bytes.
        attributes: What is stored beside them.
        overwrite: ``False`` stores it only if the name is free at the end.
        max_concurrency: How many parts are sent at a time.
    """
    token, marked = ("", attributes) if overwrite else add_write_token(attributes)
    async with open_multipart_upload(bucket, name, to_headers(marked)) as upload:

        async def jobs() -> AsyncGenerator[Job, None]:
            for number in count(1):
                # Not kept in a variable: the part is freed as soon as it is sent.
                yield partial(upload.send, number, await parts.read())
                if parts.ended:
                    return

        await run_bounded(jobs(), max_concurrency)
        # To its end: a request that is cancelled on its way may still make the object, while the
        # abort that follows is on its way too.
        if overwrite:
            await complete(upload.finish({}))
        else:
            finish = partial(upload.finish, CREATE_ONLY)
            is_ours = partial(has_write_token, bucket, name, token)
            await complete(create(bucket, name, finish, is_ours))


async def create(
    bucket: Bucket,
    name: str,
    write: Callable[[], Awaitable[None]],
    is_ours: Callable[[], Awaitable[bool]],
) -> None:
    """Make a write that must not replace anything, and tell its own object from another's.

    When the answer to a request is lost, the request is sent again (by the SDK, by a proxy), and
    then meets the object that it made itself: 412, although nobody else was there.

    Args:
        bucket: Where to.
        name: Name of the file.
        write: Sends the request.
        is_ours: Tells whether the object that is there is the one that ``write`` made.

    Raises:
        AlreadyExistsError: When another write came first.
        ConflictError: When others were under way all the time.
    """
    for attempt in count(1):
        try:
            return await write()
        except PreconditionFailedError:
            if await is_ours():
                return None
            raise AlreadyExistsError(
                f"{name!a} in {bucket.storage}: there is a file of this name already.",
                storage=bucket.storage,
                name=name,
            ) from None
        except ConflictError:
            if attempt == CONFLICT_ATTEMPTS:
                raise
            # Jitter, so that the writers do not meet again.
            await asyncio.sleep(random.uniform(0, CONFLICT_DELAY * 2**attempt))  # noqa: S311
    raise AssertionError


async def has_write_token(bucket: Bucket, name: str, token: str) -> bool:
    """Tell whether an object was made by the write that has this token."""
    try:
        answer = await bucket.head(name)
    except NotFoundError:
        return False
    return bool(answer.get("Metadata", {}).get(WRITE_TOKEN) == token)


def add_write_token(attributes: ObjectAttributes) -> tuple[str, ObjectAttributes]:
    """Return a new token, and the attributes with it.

    Args:
        attributes: What is stored beside the bytes.
    """
    token = secrets.token_urlsafe(12)
    return token, replace(attributes, metadata={**attributes.metadata, WRITE_TOKEN: token})


def _add_checksum(attributes: ObjectAttributes, body: HashedBody) -> ObjectAttributes:
    metadata = {"checksum": to_checksum(body.sha256 or ""), **attributes.metadata}
    try:
        check_metadata(metadata)
    except InvalidMetadataError:
        return attributes  # S3 would take no more.
    return replace(attributes, metadata=metadata)
