"""The older contract of a storage, and the handles with the older order of arguments."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any, BinaryIO, Self, cast

from anyio import to_thread

import fastapi_async_storages
from fastapi_async_storages.dispositions import Disposition
from fastapi_async_storages.images import DEFAULT_MAX_PIXELS, ImageHeader, read_image_header
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.storage import Storage

__all__ = ["BaseStorage", "StorageFile", "StorageImage"]


class BaseStorage(ABC):
    """What the older library asks of a storage: six verbs, of which ``open`` reads the whole file.

    Handles and column types of this package work with any subclass. Everything else, such as
    routers and uploads, needs a :class:`fastapi_async_storages.Storage`, which :class:`S3Storage`
    is too.
    """

    @abstractmethod
    def get_name(self, name: str) -> str:
        """Return the form of a name under which a file is stored."""

    @abstractmethod
    async def get_size(self, name: str) -> int:
        """Return the size of a file in bytes."""

    @abstractmethod
    async def get_path(self, name: str) -> str:
        """Return a URL of a file."""

    @abstractmethod
    def open(self, name: str) -> Awaitable[BytesIO]:
        """Read a whole file into memory; an ``async def`` fits."""

    @abstractmethod
    async def upload(self, file: BinaryIO, name: str) -> str:
        """Store a file, and return the name under which it is stored."""

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Delete a file."""


class StorageFile(fastapi_async_storages.StorageFile):
    """A handle on one stored file.

    The older way: the name comes first and is not checked before it is used, and
    :meth:`get_size` asks the storage every time, which answers 0 for a missing file.

    Args:
        name: Name of the file.
        storage: Where it is.
    """

    def __init__(self, name: str, storage: BaseStorage | Storage) -> None:
        # The handle calls only what both kinds of storages have, but for what is new.
        super().__init__(cast("Storage", storage), "unchecked")
        self._name = name

    @classmethod
    def from_stored(cls, storage: Storage, name: str, info: FileInfo | None = None) -> Self:
        """Make a handle as :class:`fastapi_async_storages.StorageFile` does."""
        handle = cls(name, storage)
        handle._info = info
        return handle

    async def get_size(self) -> int:
        """Return the size in bytes, as the storage tells it."""
        return await self._storage.get_size(self._name)

    async def get_path(
        self,
        *,
        expires_in: int | timedelta | None = None,
        filename: str | None = None,
        disposition: Disposition | None = None,
    ) -> str:
        """Return a URL of the file. The arguments are new, and need a storage that has them."""
        options = {"expires_in": expires_in, "filename": filename, "disposition": disposition}
        given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
        return await self._storage.get_path(self._name, **given)

    async def upload(self, file: BinaryIO) -> str:
        """Store a file under this name, and return the name under which it is stored."""
        self._info = None
        return await self._storage.upload(file, self._name)


class StorageImage(StorageFile, fastapi_async_storages.StorageImage):
    """A handle on one stored image.

    The older way: width and height are those of the stored pixels, whatever the EXIF orientation
    says. Not the older way: only the header is read, and only formats whose header can be read so
    are known, see :mod:`fastapi_async_storages.images`.

    Args:
        name: Name of the file.
        storage: Where it is.
        width: Width in pixels when known, else 0.
        height: Height in pixels when known, else 0.
    """

    # A handle on a file that is viewed as an image has no attributes of its own.
    _width = 0
    _height = 0

    def __init__(
        self, name: str, storage: BaseStorage | Storage, width: int = 0, height: int = 0
    ) -> None:
        super().__init__(name, storage)
        self._width, self._height = width, height

    async def get_dimensions(self, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
        """Return width and height of the stored pixels; costs nothing once they are known.

        Args:
            max_pixels: Width times height above which the image is refused.

        Raises:
            NotFoundError: When there is no such file.
            InvalidImageError: When it is not an image, or promises more than ``max_pixels``.
        """
        if self._width and self._height:
            return self._width, self._height
        return await super().get_dimensions(max_pixels=max_pixels)

    async def _measure(self) -> FileInfo:
        storage = cast("BaseStorage | Storage", self._storage)
        if isinstance(storage, Storage):
            return await super()._measure()
        content = (await storage.open(self._name)).read()
        header = await to_thread.run_sync(lambda: read_image_header(content, is_whole=True))
        width, height = self._dimensions_of(header)
        return replace(FileInfo(self._name, len(content)), width=width, height=height)

    @staticmethod
    def _dimensions_of(header: ImageHeader) -> tuple[int, int]:
        if header.is_turned:
            return header.height, header.width
        return header.width, header.height
