"""An open file of a local storage, read block by block."""

import os

from fastapi_async_storages.backends._local_records import Record
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.ranges import ContentRange

__all__ = ["OpenFile"]

_BLOCK_SIZE = 1024 * 1024
"""Bytes per trip to a worker thread, which takes about 0.1 ms: as long as these bytes take."""


class OpenFile:
    """One version of a file, open for reading. All methods block.

    Args:
        descriptor: Of the file; it belongs to this object from now on.
        record: What is known about the version.
        info: The same, as the storage tells it.
    """

    def __init__(self, descriptor: int, record: Record, info: FileInfo) -> None:
        self._descriptor = descriptor
        self._position = self._end = 0
        self.record = record
        self.info = info

    @property
    def is_open(self) -> bool:
        """Whether it still has to be closed."""
        return self._descriptor >= 0

    def read_first(self, selected: ContentRange | None) -> bytes:
        """Read the first block of a range, or of all; :meth:`read` goes on with the next ones."""
        self._position = selected.start if selected else 0
        self._end = selected.end + 1 if selected else self.info.size
        return self.read()

    def read(self) -> bytes:
        """Read the next block; none when the file ends too early.

        The last one closes the file: that takes no trip to a thread of its own then.
        """
        block = os.pread(
            self._descriptor, min(_BLOCK_SIZE, self._end - self._position), self._position
        )
        self._position += len(block)
        if not block or self._position == self._end:
            self.close()
        return block

    def close(self) -> None:
        """Close the file."""
        # First, so that it is never closed twice: the number may be another file's by then.
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
