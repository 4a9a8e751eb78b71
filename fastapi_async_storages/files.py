"""Handles on stored files: which storage, which name, and what is already known."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from fastapi_async_storages.images import DEFAULT_MAX_PIXELS, read_dimensions
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.storage import Disposition, FileReader, Storage

__all__ = ["StorageFile", "StorageImage"]


class StorageFile:
    """A handle on one stored file. Making one does no I/O, and does not check that it exists.

    Two handles are equal when they name the same file of the same storage. ``str(file)`` is the
    name, so a handle can stand where a name is wanted.

    Args:
        storage: Where the file is.
        name: Its name there.
        info: What is known about it, if anything.

    Raises:
        InvalidNameError: When the name is invalid.
    """

    def __init__(self, storage: Storage, name: str, info: FileInfo | None = None) -> None:
        self._storage = storage
        self._name = storage.get_name(name)
        self._info = info

    @property
    def storage(self) -> Storage:
        """Where the file is."""
        return self._storage

    @property
    def name(self) -> str:
        """Its name there."""
        return self._name

    @property
    def info(self) -> FileInfo | None:
        """What is known about the file so far; :meth:`get_info` finds out."""
        return self._info

    async def get_info(self) -> FileInfo:
        """Return what is known about the file, asking the storage the first time.

        Raises:
            NotFoundError: When there is no such file.
        """
        if self._info is None:
            self._info = await self._storage.get_info(self._name)
        return self._info

    async def get_size(self) -> int:
        """Return the size in bytes; costs nothing once the file's record is known.

        Raises:
            NotFoundError: When there is no such file.
        """
        return (await self.get_info()).size

    async def exists(self) -> bool:
        """Ask the storage whether the file is there."""
        return await self._storage.exists(self._name)

    async def get_path(
        self,
        *,
        expires_in: int | timedelta | None = None,
        filename: str | None = None,
        disposition: Disposition | None = None,
    ) -> str:
        """Return a URL of the file; see :meth:`Storage.get_path`."""
        return await self._storage.get_path(
            self._name, expires_in=expires_in, filename=filename, disposition=disposition
        )

    def open(
        self, *, byte_range: ByteRange | None = None
    ) -> AbstractAsyncContextManager[FileReader]:
        """Open the file for reading; see :meth:`Storage.open`."""
        return self._storage.open(self._name, byte_range=byte_range)

    async def read(self) -> bytes:
        """Read the whole file into memory. Use :meth:`open` when it may be large.

        Raises:
            NotFoundError: When there is no such file.
        """
        async with self.open() as reader:
            return await reader.read()

    async def delete(self) -> None:
        """Delete the file. It is no error when there is none."""
        await self._storage.delete(self._name)

    def __eq__(self, other: object) -> bool:
        """Tell whether both handles name the same file."""
        if not isinstance(other, StorageFile):
            return NotImplemented
        return self._storage is other._storage and self._name == other._name

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash((id(self._storage), self._name))

    def __str__(self) -> str:
        """Return the name."""
        return self._name

    def __repr__(self) -> str:
        """Show the storage and the name."""
        return f"{type(self).__name__}({self._storage!r}, {self._name!r})"


class StorageImage(StorageFile):
    """A handle on one stored image."""

    async def get_dimensions(self, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
        """Return width and height in pixels as shown, that is with the EXIF orientation applied.

        Reads only as many leading bytes as the header needs. Costs nothing when the file's record
        has the dimensions.

        Args:
            max_pixels: Width times height above which the image is refused.

        Raises:
            NotFoundError: When there is no such file.
            InvalidImageError: When it is not an image, or promises more than ``max_pixels``.
            MissingDependencyError: When Pillow is not installed.
        """
        ...
