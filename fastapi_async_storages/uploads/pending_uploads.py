"""Uploads that are not verified yet: their names, and the end of those that nobody completes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fastapi_async_storages.exceptions import StorageError
from fastapi_async_storages.keys import is_unique_name
from fastapi_async_storages.presigned import PresignsUploads
from fastapi_async_storages.storage import Storage

__all__ = ["PENDING_PREFIX", "is_pending", "pending_name", "sweep_pending"]

PENDING_PREFIX = "pending/"
"""What the names of uploads begin with that are not verified yet."""

_BATCH_SIZE = 1000
"""Names that are deleted at a time. Source: as many as one DeleteObjects request of S3 takes."""


def pending_name(unique: str) -> str:
    """Return the name of an upload until it is verified.

    Args:
        unique: What is unique in the name of the file.
    """
    return f"{PENDING_PREFIX}{unique}"


def is_pending(name: str) -> bool:
    """Tell whether a name is one of an upload that nobody has verified.

    Args:
        name: Name of a file, in its safe form.
    """
    # Some file systems take names for the same that differ in case only.
    folded = name.casefold()
    unique = folded.removeprefix(PENDING_PREFIX)
    return unique != folded and not set("/.") & set(unique) and is_unique_name(unique)


async def sweep_pending(storage: Storage, *, older_than: timedelta = timedelta(days=1)) -> int:
    """Delete direct uploads that were never completed, and the parts of unfinished ones.

    To be run now and then, such as once a day, by one worker or by several at the same time. A
    bucket can do the same by itself: with a lifecycle rule for the prefix ``pending/`` (behind the
    prefix of the storage, if it has one) that has both ``Expiration`` with ``Days: 1`` and
    ``AbortIncompleteMultipartUpload`` with ``DaysAfterInitiation: 1``.

    Args:
        storage: Which storage.
        older_than: How long ago the last byte came, or an upload in parts was begun. It must be
            longer than ``expires_in`` of the routers that upload to the storage.

    Returns:
        How many uploads were deleted.

    Raises:
        StorageError: When one could not be deleted; all others are.
    """
    before = datetime.now(UTC) - older_than
    count, errors, batch = 0, dict[str, StorageError](), list[str]()

    async def delete(names: Sequence[str]) -> int:
        failed = await storage.delete_many(names)
        errors.update(failed)
        return len(names) - len(failed)

    async for info in storage.list(PENDING_PREFIX):
        if is_pending(info.name) and info.last_modified and info.last_modified < before:
            batch.append(info.name)
        if len(batch) == _BATCH_SIZE:
            count += await delete(batch)
            batch.clear()
    count += await delete(batch)
    if isinstance(storage, PresignsUploads):
        uploads = await storage.presigned_uploads()
        count += await uploads.abort_stale(PENDING_PREFIX, older_than=older_than)
    for error in errors.values():
        raise error
    return count
