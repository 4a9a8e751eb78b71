"""The bytes of an upload, cut into the parts that S3 takes."""

from collections.abc import AsyncIterator

from fastapi_async_storages.backends._s3_payloads import HashedBody
from fastapi_async_storages.exceptions import FileTooLargeError
from fastapi_async_storages.streams import ByteStream

__all__ = ["DEFAULT_PART_SIZE", "MAX_PARTS", "MAX_PART_SIZE", "MIN_PART_SIZE", "PartReader"]

MIN_PART_SIZE = 5 * 1024**2
"""Fewest bytes of a part that is not the last one.

Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits" (all four numbers).
"""

MAX_PART_SIZE = 5 * 1024**3
"""Most bytes of a part, and of an upload or a copy in one request."""

MAX_PARTS = 10_000
"""Most parts of an upload."""

DEFAULT_PART_SIZE = 8 * 1024**2
"""Bytes of a part unless told otherwise: as in boto3's transfers."""


def part_size_for(total: int, part_size: int) -> int:
    """Return the size of the parts of a file so that 10,000 of them are enough.

    Args:
        total: Size of the file in bytes.
        part_size: Wanted size of a part in bytes.

    Returns:
        The wanted size, or the next whole MiB that is enough. All parts have it but the last:
        Cloudflare R2 refuses other uploads.
    """
    needed = -(-total // MAX_PARTS)
    return part_size if needed <= part_size else -(-needed // 1024**2) * 1024**2


def growing_part_size(number: int, part_size: int) -> int:
    """Return the size of one part of a file whose size only its end will tell.

    The first 5,000 parts have the wanted size (39 GiB with the default); then it doubles with every
    1,000 parts, so that the 10,000 parts hold 13 times as much as they would otherwise.

    Args:
        number: Number of the part, from 1.
        part_size: Wanted size of a part in bytes.
    """
    return min(part_size << max((number - 1) // 1000 - 4, 0), MAX_PART_SIZE)


class PartReader:
    """Reads a stream part by part.

    Attributes:
        ended: Whether all parts have been read.

    Args:
        stream: The bytes.
        part_size: Wanted size of a part in bytes.
        storage: How errors name the storage.
        name: How errors name the file.
    """

    def __init__(self, stream: ByteStream, part_size: int, *, storage: str, name: str) -> None:
        self.ended = False
        self._peeked: HashedBody | None = None
        self._chunks: AsyncIterator[bytes] = aiter(stream)
        self._rest = memoryview(b"")
        self._total = stream.size
        self._part_size = part_size
        self._number = 0
        self._bytes_read = 0
        self._storage = storage
        self._name = name

    async def peek(self) -> HashedBody:
        """Read the next part, and keep it for the next :meth:`read` too."""
        self._peeked = await self.read()
        return self._peeked

    async def read(self) -> HashedBody:
        """Read the next part into memory.

        Returns:
            The part, positioned at its start; empty when the file is.

        Raises:
            FileTooLargeError: When there are more bytes than S3's number of parts can hold.
        """
        if self._peeked is not None:
            part, self._peeked = self._peeked, None
            return part
        self._number += 1
        if self._number > MAX_PARTS:
            raise FileTooLargeError(
                f"{self._name!a} has more bytes than {MAX_PARTS} parts hold; pass a file whose size"
                f" can be told, or a larger part_size to {self._storage}.",
                limit=self._bytes_read,
                storage=self._storage,
                name=self._name,
            )
        part = await self._fill(self._next_size())
        self._bytes_read += part.tell()
        part.seek(0)
        return part

    def _next_size(self) -> int:
        if self._total is None:
            return growing_part_size(self._number, self._part_size)
        return part_size_for(self._total, self._part_size)

    async def _fill(self, size: int) -> HashedBody:
        # One buffer that grows, where a list of chunks joined at its end would need twice a part.
        part = HashedBody()
        room = size
        while room:
            if not self._rest and not await self._read_chunk():
                break
            taken, self._rest = self._rest[:room], self._rest[room:]
            room -= part.write(taken)
        if not self._rest:
            await self._read_chunk()
        return part

    async def _read_chunk(self) -> bool:
        """Get the next chunk, or note the end."""
        try:
            self._rest = memoryview(await anext(self._chunks))
        except StopAsyncIteration:
            self.ended = True
            return False
        return True
