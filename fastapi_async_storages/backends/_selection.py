"""What a reader gets of a file, for backends that decide it themselves."""

from fastapi_async_storages.exceptions import RangeNotSatisfiableError
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.ranges import ByteRange, ContentRange

__all__ = ["select_bytes"]


def select_bytes(
    info: FileInfo, byte_range: ByteRange | None, preconditions: Preconditions, *, storage: str
) -> ContentRange | None:
    """Return which bytes a reader gets; ``None`` is all of them.

    Preconditions come first, the range after them (RFC 9110 section 13.2.2).

    Args:
        info: The file's record.
        byte_range: The bytes that the reader wants, if not all.
        preconditions: The versions that the reader wants or has.
        storage: How errors name the storage.

    Raises:
        PreconditionFailedError: When the file is not a wanted version.
        NotModifiedError: When the file is a version that the reader has.
        RangeNotSatisfiableError: When the file has no byte of the range.
    """
    preconditions.enforce(
        etag=info.etag,
        last_modified=info.last_modified,
        cache_control=info.cache_control or "",
        storage=storage,
        name=info.name,
    )
    if byte_range is None:
        return None
    try:
        return byte_range.resolve(info.size)
    except RangeNotSatisfiableError as error:
        error.storage, error.name = storage, info.name
        raise
