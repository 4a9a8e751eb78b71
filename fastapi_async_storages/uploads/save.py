"""From a request into a storage: one call that stores an upload and says what it stored."""

import logging
from collections.abc import Mapping

from starlette.datastructures import UploadFile

from fastapi_async_storages.completion import complete
from fastapi_async_storages.exceptions import StorageError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.keys import normalize_prefix, unique_name
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.streams import UploadSource, open_stream
from fastapi_async_storages.uploads.checking import CheckedUpload, check_upload
from fastapi_async_storages.uploads.incoming import IncomingFile
from fastapi_async_storages.uploads.rules import UploadRules

__all__ = ["describe_file", "discard", "save_upload", "store_upload"]

_logger = logging.getLogger("fastapi_async_storages")


async def save_upload(
    upload: UploadFile | UploadSource,
    storage: Storage,
    *,
    prefix: str = "",
    rules: UploadRules | None = None,
    name: str | None = None,
    overwrite: bool = False,
    filename: str | None = None,
    metadata: Mapping[str, str] | None = None,
    cache_control: str | None = None,
) -> StorageFile:
    """Check an upload while it flows into a storage, and return a handle with all that is known.

    The stored name is unique, ``{prefix}/{uuid7}{extension}``; the client's file name is kept as
    data. The content type is what the first bytes prove. On any failure, cancellation included,
    nothing is stored. (Under a given ``name`` there is one exception: when the storage's last
    answer is lost, what is there is left alone, since it may be someone else's.)

    Args:
        upload: The ``UploadFile`` of an endpoint, which is read from its start even when it was
            read before; or anything else that can be uploaded (see :data:`UploadSource`), which is
            read from where it stands.
        storage: Where to store it.
        prefix: Folder-like prefix of the stored name, such as ``"documents"``.
        rules: What is allowed; everything when not given.
        name: Name to store it under, behind the prefix, instead of a unique one. Never take it
            from the client.
        overwrite: Whether a file that has the given ``name`` already is replaced.
        filename: The client's file name, where ``upload`` has none or another one is meant.
        metadata: Own keys and values, at most 2 KB of them together with the file name.
        cache_control: ``Cache-Control`` for the readers of this file.

    Returns:
        A handle whose ``info`` has size, type, file name and SHA-256, and the dimensions of an
        image (when its header is within the first 64 KiB, or the rules ask for them); not the ETag
        and the time, which only the storage knows. The checksum is known when the last byte is
        sent, too late to be stored with the file.

    Raises:
        UploadRefusedError: When the upload breaks a rule; each rule has its own subclass.
        AlreadyExistsError: When ``name`` is taken and ``overwrite`` is not set.
        InvalidNameError: When ``prefix`` or ``name`` is not a valid name.
        StorageError: When the storage fails.
    """
    declared_type = size = None
    if isinstance(upload, UploadFile):
        # An endpoint that looked into the file first would store what is left of it: nothing.
        await upload.seek(0)
        filename, declared_type, size = (
            filename or upload.filename,
            upload.content_type,
            upload.size,
        )
    async with open_stream(upload) as stream:
        checked = await check_upload(
            aiter(stream),
            rules or UploadRules(),
            filename=filename,
            declared_type=declared_type,
            size=stream.size if size is None else size,
        )
        return await store_upload(
            checked,
            storage,
            prefix=prefix,
            name=name,
            overwrite=overwrite,
            metadata=metadata,
            cache_control=cache_control,
        )


async def store_upload(
    checked: CheckedUpload,
    storage: Storage,
    *,
    prefix: str = "",
    name: str | None = None,
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
    cache_control: str | None = None,
) -> StorageFile:
    """Store an upload whose first bytes were checked; :func:`save_upload` does both.

    Args:
        checked: What :func:`check_upload` returned.
        storage: Where to store it.
        prefix: See :func:`save_upload`, as for all that follow.
        name: Name instead of a unique one.
        overwrite: Whether a file of the given name is replaced.
        metadata: Own keys and values.
        cache_control: ``Cache-Control`` for the readers of this file.

    Returns:
        A handle with its ``info``. It is *fresh* unless it may have replaced a file: then deleting
        it would not undo the upload.

    Raises:
        UploadRefusedError: When the upload breaks a rule after all.
        AlreadyExistsError: When ``name`` is taken and ``overwrite`` is not set.
        InvalidNameError: When ``prefix`` or ``name`` is not a valid name.
        StorageError: When the storage fails.
    """
    file = checked.file
    target = (
        unique_name(prefix=prefix, extension=file.extension)
        if name is None
        else f"{normalize_prefix(prefix)}{name}"
    )
    stored_metadata = {**describe_file(file), **(metadata or {})}
    try:
        stored_name = await storage.upload(
            checked,
            target,
            content_type=file.media_type,
            metadata=stored_metadata,
            cache_control=cache_control,
            overwrite=overwrite or name is None,  # Nobody else has a unique name.
        )
    except BaseException:
        # Until the last byte has passed, no storage can have kept anything. After it, an error or
        # a cancellation may only mean that the answer was lost.
        if name is None and checked.checksum is not None:
            await complete(discard(storage, target))
        raise
    known = {} if checked.checksum is None else {"checksum": checked.checksum}
    info = FileInfo.from_stored(
        stored_name,
        checked.size,
        content_type=file.media_type,
        metadata={**stored_metadata, **known},
        cache_control=cache_control,
    )
    stored = StorageFile(storage, stored_name, info)
    stored._fresh = name is None or not overwrite
    return stored


def describe_file(file: IncomingFile) -> dict[str, str]:
    """Return the metadata that says what is known about a file from its first bytes.

    Args:
        file: The file.
    """
    described = {} if file.filename is None else {"filename": file.filename}
    if file.image is not None:
        described |= {"width": str(file.image.width), "height": str(file.image.height)}
    return described


async def discard(storage: Storage, name: str) -> None:
    """Delete what a failed upload may have left; who calls has an error to raise already.

    Args:
        storage: Where.
        name: Which file.
    """
    try:
        await storage.delete(name)
    except StorageError as error:
        _logger.warning("%r may be left behind by a failed upload: %s", name, error)
