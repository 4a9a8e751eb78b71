"""Storing the contents that one flush has found: side by side, all of them or none."""

import inspect
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi_async_storages.completion import complete, run_in_thread, run_together
from fastapi_async_storages.exceptions import StorageError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.integrations.sqlalchemy.cleanup import clean_up
from fastapi_async_storages.integrations.sqlalchemy.column_types import FileColumnType
from fastapi_async_storages.integrations.sqlalchemy.names import FileNames
from fastapi_async_storages.pending import PendingFile
from fastapi_async_storages.uploads.save import save_upload

__all__ = ["Content", "store_contents"]

_CONCURRENCY = 16
"""Uploads of one flush at a time: what one client of an S3 server keeps busy (measured)."""


@dataclass(frozen=True, slots=True)
class Content:
    """Content that a flush is to store, and how.

    Attributes:
        pending: The content.
        type: The type of the column that gets the name, with its storage, prefix and rules.
        label: How errors name the attribute.
    """

    pending: PendingFile
    type: FileColumnType[Any]
    label: str


async def store_contents(contents: Sequence[Content]) -> list[StorageFile]:
    """Store contents, several at a time. When one fails, those that were stored are deleted.

    Args:
        contents: What to store, and where.

    Returns:
        A fresh handle for each, in the same order.

    Raises:
        StorageError: Of the first one that failed.
    """
    stored: dict[int, StorageFile] = {}
    groups = iter(_group(contents))

    async def work() -> None:
        for group in groups:
            for index in group:
                stored[index] = await _store(contents[index])

    try:
        await run_together(work() for _ in range(min(_CONCURRENCY, len(contents))))
    except BaseException:
        await complete(clean_up(FileNames(stored.values())))
        raise
    return [stored[index] for index in range(len(contents))]


def _group(contents: Sequence[Content]) -> Iterable[list[int]]:
    """Group what reads the same file object, which two readers at once would share out."""
    groups: dict[object, list[int]] = {}
    for index, content in enumerate(contents):
        source = content.pending.content
        # Bytes have no position that readers could move under each other.
        key = ("bytes", index) if isinstance(source, bytes) else ("object", id(source))
        groups.setdefault(key, []).append(index)
    return groups.values()


async def _store(content: Content) -> StorageFile:
    try:
        await _rewind(content)
        return await save_upload(
            content.pending.content,
            content.type.storage,
            prefix=content.type.prefix,
            rules=content.type.rules,
            filename=content.pending.filename,
        )
    except StorageError as error:
        error.add_note(f"It was to be stored for {content.label}.")
        raise


async def _rewind(content: Content) -> None:
    """Go to where the content begins, which an earlier attempt may have left behind."""
    pending = content.pending
    source, start, was_read = pending.content, pending.start, pending.was_read
    pending.was_read = True
    seek: Any = getattr(source, "seek", None)
    if isinstance(source, io.BytesIO) and start is not None:
        seek(start)
    elif start is not None:
        await run_in_thread(seek, start)
    elif not was_read or isinstance(source, bytes | bytearray | memoryview | os.PathLike):
        return
    elif inspect.iscoroutinefunction(seek):
        await seek(0)  # Such as an UploadFile, of which save_upload() always takes all.
    else:
        raise ValueError(
            f"{content.label} cannot be stored: an earlier flush has begun to read {pending!r},"
            " which cannot be read twice. Assign the content anew."
        )
