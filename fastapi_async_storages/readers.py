"""The reader of an open file: its record, and its bytes while they arrive."""

from collections.abc import AsyncIterator

from fastapi_async_storages.checksums import Checksum
from fastapi_async_storages.exceptions import (
    ChecksumUnknownError,
    CorruptFileError,
    IncompleteReadError,
)
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.ranges import ContentRange

__all__ = ["FileReader"]


class FileReader:
    """An open file: what is known about it, and its bytes, read once.

    Attributes:
        info: The file's record, from the same round trip as the bytes.
        content_range: Which bytes come, when a range was asked for; ``None`` for the whole file.
    """

    def __init__(
        self,
        info: FileInfo,
        chunks: AsyncIterator[bytes],
        *,
        content_range: ContentRange | None = None,
        storage: str | None = None,
    ) -> None:
        self.info = info
        self.content_range = content_range
        self._expected: str | None = None
        self._is_broken = False
        self._chunks = self._check(chunks)
        self._storage = storage

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the chunks as the backend delivers them.

        Raises:
            IncompleteReadError: While iterating, when the body ends before its last byte; and at
                once, when reading has failed or was cancelled before.
            CorruptFileError: After the last chunk of a verified file that is not what was stored.
        """
        self._check_unbroken()
        return self._chunks

    async def read(self) -> bytes:
        """Read all that is left into memory. Iterate instead when the file may be large.

        Raises:
            IncompleteReadError: When the body ends before its last byte.
            CorruptFileError: When a verified file is not what was stored.
        """
        return b"".join([chunk async for chunk in self])

    def expect(self, checksum: str | None) -> None:
        """Verify the file while it is read: raise at its end when it is another one.

        Args:
            checksum: ``"sha256:"`` and 64 hex digits, or ``None`` for the one in the record.

        Raises:
            ChecksumUnknownError: When there is none in the record either.
        """
        self._expected = checksum or self.info.checksum
        if self._expected is None:
            raise ChecksumUnknownError(
                f"{self.info.name!a} in {self._storage} cannot be verified: its record has no"
                " checksum; pass the one that save_upload() returned.",
                storage=self._storage,
                name=self.info.name,
            )

    def _check_unbroken(self) -> None:
        if self._is_broken:
            raise IncompleteReadError(
                f"Reading {self.info.name!a} in {self._storage} has failed or was cancelled before:"
                " open it again.",
                storage=self._storage,
                name=self.info.name,
            )

    async def _check(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        received = 0
        checksum = Checksum()
        try:
            async for chunk in chunks:
                received += len(chunk)
                if self._expected is not None:
                    await checksum.update(chunk)
                yield chunk
            self._check_whole(received, str(checksum))
        except BaseException:
            # A generator that has raised looks like one that is at its end.
            self._is_broken = True
            raise

    def _check_whole(self, received: int, checksum: str) -> None:
        expected = self.content_range.length if self.content_range else self.info.size
        # A lost connection can look like an end of the body; a short file must never pass for one.
        if received != expected:
            raise IncompleteReadError(
                f"The body of {self.info.name!a} in {self._storage} ended after {received} of"
                f" {expected} bytes.",
                storage=self._storage,
                name=self.info.name,
            )
        if self._expected not in (None, checksum):
            raise CorruptFileError(
                f"{self.info.name!a} in {self._storage} has other bytes than were stored, by its"
                f" checksum: {checksum}, and not {self._expected}.",
                storage=self._storage,
                name=self.info.name,
                expected=self._expected,
                actual=checksum,
            )
