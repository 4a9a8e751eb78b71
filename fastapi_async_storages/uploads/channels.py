"""How the bytes of a direct upload reach the storage: by its own presigned URLs, or by the app."""

import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from fastapi_async_storages.exceptions import StorageError, TypeMismatchError
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.media_types import DEFAULT_MEDIA_TYPE, normalize_media_type
from fastapi_async_storages.presigned import (
    PresignedForm,
    PresignedParts,
    PresignedUploads,
    PresignsUploads,
)
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.uploads.checking import check_upload
from fastapi_async_storages.uploads.incoming import name_upload
from fastapi_async_storages.uploads.pending_names import pending_name
from fastapi_async_storages.uploads.rules import UploadRules
from fastapi_async_storages.uploads.save import discard, store_upload
from fastapi_async_storages.uploads.tickets import Ticket

__all__ = ["Channel", "PlannedUpload", "open_channel", "receive"]

_logger = logging.getLogger("fastapi_async_storages")


@dataclass(frozen=True, slots=True)
class PlannedUpload:
    """How an upload is to be sent.

    Attributes:
        ticket: What was agreed on.
        presigned: Where the storage takes the bytes; ``None`` when the app does.
    """

    ticket: Ticket
    presigned: PresignedForm | PresignedParts | None


class Channel(Protocol):
    """A way for bytes into one storage."""

    async def plan(
        self, ticket: Ticket, *, multipart_threshold: int, expires_in: int
    ) -> PlannedUpload:
        """Say how an upload is to be sent."""

    async def find(self, ticket: Ticket) -> FileInfo:
        """Return what the storage says of an upload that was sent.

        Raises:
            NotFoundError: When there is none.
            UploadRefusedError: When it is incomplete, or not what was agreed on.
        """

    async def publish(self, info: FileInfo, target: FileInfo, metadata: Mapping[str, str]) -> None:
        """Give a version that was verified its own name, if that is free.

        Raises:
            NotFoundError: When it is gone.
            PreconditionFailedError: When another version was sent meanwhile.
            AlreadyExistsError: When somebody else was faster.
        """

    async def abort(self, ticket: Ticket) -> None:
        """Delete what was sent; errors are logged, and left to the sweep."""


async def open_channel(storage: Storage) -> Channel:
    """Return the way for bytes into a storage.

    Args:
        storage: Which storage.
    """
    if isinstance(storage, PresignsUploads):
        return _PresignedChannel(storage, await storage.presigned_uploads())
    return _AppChannel(storage)


async def receive(
    storage: Storage,
    ticket: Ticket,
    chunks: AsyncIterator[bytes],
    *,
    content_type: str | None,
    size: int | None,
    cache_control: str | None,
) -> None:
    """Store the bytes of an upload, as S3 would do with a presigned URL: no more is checked.

    Args:
        storage: Where to.
        ticket: What was agreed on.
        chunks: The bytes.
        content_type: Their type, as the client sends it now.
        size: Their number, if the client tells it now.
        cache_control: ``Cache-Control`` for the readers of the file.

    Raises:
        UploadRefusedError: When they are not what was agreed on.
        StorageError: When the storage fails.
    """
    _check_type(ticket, content_type)
    checked = await check_upload(
        chunks,
        UploadRules(min_size=ticket.size, max_size=ticket.size),
        filename=ticket.filename,
        declared_type=ticket.content_type,
        size=size,
        checksum=ticket.checksum,
    )
    await store_upload(
        checked,
        storage,
        name=pending_name(ticket.unique),
        overwrite=True,
        # The bytes have it, or are not stored.
        metadata={} if ticket.checksum is None else {"checksum": ticket.checksum},
        cache_control=cache_control,
    )


class _PresignedChannel:
    def __init__(self, storage: Storage, uploads: PresignedUploads) -> None:
        self._storage = storage
        self._uploads = uploads

    async def plan(
        self, ticket: Ticket, *, multipart_threshold: int, expires_in: int
    ) -> PlannedUpload:
        name, size, content_type = self._get_name(ticket), ticket.size, ticket.content_type
        if size < multipart_threshold:
            form = await self._uploads.sign_form(
                name,
                size=size,
                content_type=content_type,
                checksum=ticket.checksum,
                expires_in=expires_in,
            )
            return PlannedUpload(ticket, form)
        parts = await self._uploads.sign_parts(
            name, size=size, content_type=content_type, expires_in=expires_in
        )
        return PlannedUpload(replace(ticket, upload_id=parts.upload_id), parts)

    async def find(self, ticket: Ticket) -> FileInfo:
        name = self._get_name(ticket)
        if ticket.upload_id is not None:
            await self._uploads.join_parts(name, ticket.upload_id, size=ticket.size)
        info = await self._uploads.get_info(name)
        _check_type(ticket, info.content_type)
        return info

    async def publish(self, info: FileInfo, target: FileInfo, metadata: Mapping[str, str]) -> None:
        await self._uploads.publish(
            info.name,
            target.name,
            etag=info.etag or "",
            content_type=target.content_type or DEFAULT_MEDIA_TYPE,
            metadata=metadata,
            cache_control=target.cache_control,
        )

    async def abort(self, ticket: Ticket) -> None:
        name = self._get_name(ticket)
        if ticket.upload_id is not None:
            try:
                await self._uploads.abort_parts(name, ticket.upload_id)
            except StorageError as error:
                _logger.warning("Parts of %r may be left behind by an upload: %s", name, error)
        await discard(self._storage, name)

    def _get_name(self, ticket: Ticket) -> str:
        return self._storage.get_name(pending_name(ticket.unique))


class _AppChannel:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def plan(
        self, ticket: Ticket, *, multipart_threshold: int, expires_in: int
    ) -> PlannedUpload:
        return PlannedUpload(ticket, None)

    async def find(self, ticket: Ticket) -> FileInfo:
        return await self._storage.get_info(pending_name(ticket.unique))

    async def publish(self, info: FileInfo, target: FileInfo, metadata: Mapping[str, str]) -> None:
        # What is stored beside the bytes was found out when they came.
        await self._storage.move(info.name, target.name, overwrite=False, if_match=info.etag)

    async def abort(self, ticket: Ticket) -> None:
        await discard(self._storage, pending_name(ticket.unique))


def _check_type(ticket: Ticket, content_type: str | None) -> None:
    if normalize_media_type(content_type) != ticket.content_type:
        raise TypeMismatchError(
            f"{name_upload(ticket.filename)} was announced as {ticket.content_type}, and sent as"
            f" {content_type or 'of no type'}.",
            limit=ticket.content_type,
            received=content_type,
        )
