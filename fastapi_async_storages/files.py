"""Handles on stored files: which storage, which name, and what is already known."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Self, TypeVar, cast

from anyio import to_thread

from fastapi_async_storages.descriptions import Described
from fastapi_async_storages.exceptions import InvalidImageError, RangeNotSatisfiableError
from fastapi_async_storages.images import (
    DEFAULT_MAX_PIXELS,
    FIRST_READ_BYTES,
    MAX_HEADER_BYTES,
    ImageHeader,
    check_pixels,
    read_image_header,
)
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.pending import PendingFile
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.readers import FileReader
from fastapi_async_storages.storage import Disposition, Storage
from fastapi_async_storages.streams import UploadSource

__all__ = ["StorageFile", "StorageImage"]

HandleT = TypeVar("HandleT", bound="StorageFile")


class StorageFile(Described):
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
        # Whether the file was just uploaded and nothing has promised yet to keep it. The upload
        # sets it; who ties the file to a transaction clears it, and deletes the file on rollback;
        # a request that fails while it is still set deletes the file.
        self._fresh = False
        # The transaction that stored the file or took it over, until it has ended; and whether
        # that end was the end of the file too.
        self._keeper: object = None
        self._is_deleted = False
        # What a row says of the file, where it says more than the name: also what we know not of.
        self._record: Mapping[str, Any] | None = None

    @classmethod
    def from_stored(cls, storage: Storage, name: str, info: FileInfo | None = None) -> Self:
        """Make a handle on a name that a database holds, without checking it.

        A row must load even when another program wrote a name there that no storage takes. The name
        is checked when the handle is used.

        Args:
            storage: Where the file is.
            name: Its name there, as it was stored.
            info: What is known about it, if anything.
        """
        handle = cls(storage, "unchecked", info)
        handle._name = name
        return handle

    @classmethod
    def pending(cls, content: UploadSource, *, filename: str | None = None) -> Self:
        """Mark content for the flush of a tracked session to store: what a model is assigned.

        Args:
            content: An ``UploadFile``, bytes, a path, or anything else that can be uploaded.
            filename: The client's file name, where ``content`` has none or another one is meant.

        Returns:
            A :class:`PendingFile`. For type checkers it is the handle that the attribute holds
            after the flush.
        """
        return cast("Self", PendingFile(content, filename=filename))

    def _view_as(self, handle_class: type[HandleT]) -> HandleT:
        """Return this handle as one of another class, which shares all that it knows and learns.

        That a fresh file found its keeper must be seen by both: one is in the request, one in the
        model.
        """
        view = handle_class.__new__(handle_class)
        view.__dict__ = self.__dict__
        return view

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
        self, *, byte_range: ByteRange | None = None, verify: bool = False
    ) -> AbstractAsyncContextManager[FileReader]:
        """Open the file for reading; see :meth:`Storage.open`.

        Args:
            byte_range: Which bytes of it; all when not given.
            verify: Compare the SHA-256 of what is read with the one that this handle knows (from
                :func:`save_upload`, or from the row), or else with the one stored with the file.
        """
        known = self._info.checksum if verify and self._info is not None else None
        return self._storage.open(self._name, byte_range=byte_range, verify=known or verify)

    async def verify(self) -> None:
        """Read the whole file, and compare it with what was stored by its SHA-256.

        Raises:
            NotFoundError: When there is no such file.
            ChecksumUnknownError: When neither this handle nor the storage knows its checksum.
            CorruptFileError: When it is not what was stored.
        """
        async with self.open(verify=True) as reader:
            async for _ in reader:
                pass

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

    def __copy__(self) -> Self:
        """Return the handle itself: of two fresh ones, one would not hear of the other's keeper."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the handle itself: a copy of its storage would be another storage."""
        return self

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

        Reads only as many leading bytes as the header needs, mostly in one request. Costs nothing
        when the file's record has the dimensions, as it has from then on.

        Args:
            max_pixels: Width times height above which the image is refused.

        Raises:
            NotFoundError: When there is no such file.
            InvalidImageError: When it is not an image, or promises more than ``max_pixels``.
            PreconditionFailedError: When it was replaced while its header was read.
        """
        try:
            info = self._info
            if info is None or info.width is None or info.height is None:
                info = self._info = await self._measure()
            width, height = info.width or 0, info.height or 0
            check_pixels(width, height, max_pixels)
        except InvalidImageError as error:
            raise InvalidImageError(
                f"Cannot use {self._name!a} in {self._storage!r} as an image: {error}.",
                storage=repr(self._storage),
                name=self._name,
            ) from error
        return width, height

    async def _measure(self) -> FileInfo:
        """Read the header, and return the file's record with the dimensions."""
        head = b""
        preconditions = Preconditions()
        while True:
            size = min(max(FIRST_READ_BYTES, 2 * len(head)), MAX_HEADER_BYTES)
            try:
                async with self._storage.open(
                    self._name,
                    byte_range=ByteRange(len(head), size - 1),
                    preconditions=preconditions,
                ) as reader:
                    info = reader.info
                    if info.width is not None and info.height is not None:
                        return info
                    head += await reader.read()
            except RangeNotSatisfiableError:
                raise InvalidImageError("it is empty") from None
            # Up to some ms for a header of many pieces.
            read: partial[ImageHeader | None] = partial(
                read_image_header, head, is_whole=len(head) >= info.size
            )
            header = await to_thread.run_sync(read)
            if header is not None:
                width, height = self._dimensions_of(header)
                return replace(info, width=width, height=height)
            if info.etag is not None:
                # A head put together from two versions would be of neither.
                preconditions = Preconditions(if_match=(info.etag,))

    @staticmethod
    def _dimensions_of(header: ImageHeader) -> tuple[int, int]:
        return header.width, header.height
