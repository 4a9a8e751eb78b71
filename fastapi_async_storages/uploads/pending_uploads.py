"""The end of uploads that nobody completes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fastapi_async_storages.exceptions import StorageError
from fastapi_async_storages.presigned import PresignsUploads
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.uploads.pending_names import PENDING_PREFIX, is_pending

__all__ = ["sweep_pending"]

_BATCH_SIZE = 1000
"""Names that are deleted at a time. Source: as many as one DeleteObjects request of S3 takes."""


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
