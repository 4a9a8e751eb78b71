"""The contract: what every storage promises, whatever holds the bytes."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from types import TracebackType
from typing import Any, NoReturn, Self

from fastapi_async_storages.clients import LoopClients
from fastapi_async_storages.dispositions import Disposition
from fastapi_async_storages.exceptions import (
    InvalidMetadataError,
    InvalidNameError,
    NotFoundError,
    StorageError,
)
from fastapi_async_storages.info import FileInfo, check_metadata
from fastapi_async_storages.keys import normalize_name, normalize_prefix
from fastapi_async_storages.media_types import guess_media_type
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.readers import FileReader
from fastapi_async_storages.streams import ByteStream, UploadSource, open_stream

__all__ = ["DEFAULT_CONTENT_TYPE", "Disposition", "Storage"]

DEFAULT_CONTENT_TYPE = "application/octet-stream"
"""Type of bytes of which nothing is known. Source: RFC 2046 section 4.5.1."""

DEFAULT_EXPIRES_IN = 3600
"""Seconds that a signed URL works unless told otherwise.

Source: the default of ``generate_presigned_url`` in botocore, which people expect.
"""

NAMES_AT_ONCE = 100
"""Names of many that are checked before other tasks of the event loop run again.

Source: measured; that takes 1 ms, or 10 ms when all of them are as long as names may be.
"""


class Storage(ABC):
    """A place that holds files by name.

    The public methods check names and arguments once, then call the private method of the same
    name that a backend writes, so no backend can forget a check.

    A storage opens itself on first use in the running event loop. ``async with storage:`` opens it
    at once and closes it at the end; so does ``storage_lifespan`` for an app.
    """

    def __init__(self) -> None:
        self._clients: LoopClients[Any] = LoopClients(self._open_client, repr(self))

    @property
    def presigns(self) -> bool:
        """Whether :meth:`get_path` returns URLs of the backend itself, which expire."""
        return False

    def get_name(self, name: str) -> str:
        """Return the safe form of a name, as the storage holds it.

        Args:
            name: ``/``-separated and relative, such as ``"reports/2026/summary.pdf"``.

        Raises:
            InvalidNameError: When the name is empty, absolute, longer than 1024 bytes in UTF-8, or
                has a ``..`` segment, a backslash or a control character.
        """
        try:
            return normalize_name(name)
        except InvalidNameError as error:
            error.storage = repr(self)
            raise

    async def upload(
        self,
        file: UploadSource,
        name: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        cache_control: str | None = None,
        overwrite: bool = True,
    ) -> str:
        """Store a file, all or nothing: nobody ever sees a part of it.

        Args:
            file: Bytes, a path, a binary file, an ``UploadFile`` or an async iterator of bytes.
                Files are read from where they stand, and stay open.
            name: Where to store it.
            content_type: Media type; guessed from the name's extension when not given.
            metadata: Own keys and values, at most 2 KB of them.
            cache_control: ``Cache-Control`` for the readers of this file.
            overwrite: ``False`` stores the file only if the name is free, atomically.

        Returns:
            The name under which the file is stored.

        Raises:
            AlreadyExistsError: When the name is taken and ``overwrite`` is ``False``.
            InvalidNameError: See :meth:`get_name`.
            InvalidMetadataError: When the metadata does not fit every backend, or ``content_type``
                or ``cache_control`` is not a value of one line of ASCII.
            TypeError: When ``file`` is nothing that can be uploaded.
        """
        stored_name = self._check_name(name)
        for value in (content_type, cache_control):
            _check_header_value(value)
        async with self._clients.working(), open_stream(file) as stream:
            await self._upload(
                stored_name,
                stream,
                content_type=content_type or guess_media_type(stored_name) or DEFAULT_CONTENT_TYPE,
                metadata=check_metadata(metadata),
                cache_control=cache_control,
                overwrite=overwrite,
            )
        return stored_name

    @asynccontextmanager
    async def open(
        self,
        name: str,
        *,
        byte_range: ByteRange | None = None,
        preconditions: Preconditions | None = None,
        verify: bool | str = False,
    ) -> AsyncIterator[FileReader]:
        """Open a file for reading, in one round trip that brings its record too.

        Args:
            name: Which file.
            byte_range: Which bytes of it; all when not given.
            preconditions: Which versions of it; any when not given.
            verify: Compare the SHA-256 of what is read with the one that was stored with the file,
                or with the one given, as ``"sha256:"`` and 64 hex digits. Only the end of the file
                tells, so what is done with its bytes before must be undone when that raises.

        Yields:
            The reader; it is closed at the end of the block, however much was read.

        Raises:
            NotFoundError: On entry, when there is no such file.
            PreconditionFailedError: On entry, when the stored version is not a wanted one.
            NotModifiedError: On entry, when the stored version is one that the reader has.
            RangeNotSatisfiableError: On entry, when the file has no byte of the range.
            ChecksumUnknownError: On entry, when the file cannot be verified.
            IncompleteReadError: While reading, when the connection is lost before the last byte.
            CorruptFileError: After the last byte, when the file is not what was stored.
            ValueError: When a range is to be verified.
        """
        stored_name = self._check_name(name)
        if verify and byte_range is not None:
            raise ValueError("A checksum is that of a whole file, so no range can be verified.")
        async with self._open(stored_name, byte_range, preconditions or Preconditions()) as reader:
            if verify:
                reader.expect(verify if isinstance(verify, str) else None)
            yield reader

    async def get_info(self, name: str) -> FileInfo:
        """Return what is known about a file, in one round trip.

        Raises:
            NotFoundError: When there is no such file.
        """
        return await self._get_info(self._check_name(name))

    async def get_size(self, name: str) -> int:
        """Return the size of a file in bytes.

        Raises:
            NotFoundError: When there is no such file.
        """
        return (await self.get_info(name)).size

    async def exists(self, name: str) -> bool:
        """Tell whether there is such a file. Every error but "not found" raises."""
        try:
            await self.get_info(name)
        except NotFoundError:
            return False
        return True

    async def get_path(
        self,
        name: str,
        *,
        expires_in: int | timedelta | None = None,
        filename: str | None = None,
        disposition: Disposition | None = None,
    ) -> str:
        """Return a URL of a file. Whether the file exists is not checked.

        Args:
            name: Which file.
            expires_in: Seconds that a signed URL works; an hour when not given.
            filename: Name under which a browser saves the file.
            disposition: Whether a browser shows the file or saves it.

        Raises:
            ConfigurationError: When the storage has no URL to give.
            ValueError: When ``expires_in`` is not positive.
        """
        if isinstance(expires_in, timedelta):
            expires_in = int(expires_in.total_seconds())
        if expires_in is not None and expires_in < 1:
            raise ValueError(f"expires_in must be at least 1 second, not {expires_in}.")
        return await self._get_path(
            self._check_name(name),
            expires_in=expires_in or DEFAULT_EXPIRES_IN,
            filename=filename,
            disposition=disposition,
        )

    async def list(self, prefix: str = "") -> AsyncIterator[FileInfo]:
        """Iterate over files in the order of their names (by Unicode code points).

        Args:
            prefix: Folder-like prefix; ``"a"`` lists ``a/x`` and ``a/b/y``, not ``ab/x`` or ``a``.

        Yields:
            The record of each file; a backend may leave out what its listing does not tell.
        """
        # Empty is every file. Anything else ends at a "/" boundary.
        async for info in self._list(normalize_prefix(prefix)):
            yield info

    async def copy(
        self, source: str, target: str, *, overwrite: bool = True, if_match: str | None = None
    ) -> str:
        """Copy a file with all that belongs to it, on the server where the backend can.

        Args:
            source: Which file.
            target: Name of the copy.
            overwrite: ``False`` copies only if the target's name is free.
            if_match: Entity tag (with its quotes) that the source must still have.

        Returns:
            The name of the copy.

        Raises:
            NotFoundError: When there is no such file.
            AlreadyExistsError: When the target is taken and ``overwrite`` is ``False``.
            PreconditionFailedError: When the source is another version than ``if_match``.
        """
        stored_source, stored_target = self._check_name(source), self._check_name(target)
        async with self._clients.working():
            await self._copy(stored_source, stored_target, overwrite=overwrite, if_match=if_match)
        return stored_target

    async def move(
        self, source: str, target: str, *, overwrite: bool = True, if_match: str | None = None
    ) -> str:
        """Give a file another name: :meth:`copy`, then :meth:`delete` of the source.

        Readers never find the file under neither name. Moving a file onto itself does nothing.

        Args:
            source: Which file.
            target: Its new name.
            overwrite: ``False`` moves only if the target's name is free.
            if_match: Entity tag (with its quotes) that the source must still have.

        Returns:
            The new name.

        Raises:
            NotFoundError: When there is no such file.
            AlreadyExistsError: When the target is taken and ``overwrite`` is ``False``.
            PreconditionFailedError: When the source is another version than ``if_match``.
        """
        stored_source, stored_target = self._check_name(source), self._check_name(target)
        if stored_source == stored_target:
            await self._get_info(stored_source)
        else:
            async with self._clients.working():
                await self._move(
                    stored_source, stored_target, overwrite=overwrite, if_match=if_match
                )
        return stored_target

    async def delete(self, name: str) -> None:
        """Delete a file. It is no error when there is none."""
        await self._delete(self._check_name(name))

    async def delete_many(self, names: Iterable[str]) -> dict[str, StorageError]:
        """Delete files, many in one request where the backend can.

        Args:
            names: Which files; it is no error when one is missing.

        Returns:
            The files that could not be deleted, each with its error; empty when all went well.

        Raises:
            InvalidNameError: When a name is invalid; nothing is deleted then.
        """
        stored_names = list[str]()
        # Other tasks run in between, and may change what was passed.
        for name in list(names):
            stored_names.append(self._check_name(name))
            if len(stored_names) % NAMES_AT_ONCE == 0:
                await asyncio.sleep(0)
        return await self._delete_many(stored_names)

    async def check(self) -> None:
        """Find out now whether the storage can work: reachable, allowed, set up.

        Raises:
            StorageError: With one message that names the storage and what is wrong.
        """
        await self._check()

    async def __aenter__(self) -> Self:
        """Open the storage in the running event loop."""
        await self._clients.enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, when this is the end of the outermost ``async with``."""
        await self._clients.exit()

    async def drain(self, seconds: float) -> None:
        """Wait until no upload, copy or move is under way in the running event loop.

        What takes longer is ended as by :meth:`aclose`. The storage stays open.

        Args:
            seconds: How long to wait at most.
        """
        await self._clients.drain(seconds)

    async def aclose(self) -> None:
        """Close the storage in the running event loop; closing twice does no harm.

        From then on using it raises :class:`StorageClosedError`, until it is entered again. So do
        uploads, copies and moves that are under way, after they have cleaned up: nothing is left
        of them. :meth:`drain` lets them finish first.
        """
        await self._clients.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied, which would take the credentials along.

        A handle on a file, and a model or a column with one, holds its storage.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            f"{self!r} cannot be pickled or copied: it has connections, and may have credentials."
            " Pass on the names of files, and make handles of them there."
        )

    # What a backend writes. Names are safe and arguments are checked when these are called.

    def _check_name(self, name: str) -> str:
        """Return the name to use for the one that a caller passed to a verb."""
        return self.get_name(name)

    @abstractmethod
    def __repr__(self) -> str:
        """Name the storage in messages, never with a credential. Called by ``__init__``."""

    def _open_client(self) -> AbstractAsyncContextManager[Any]:
        """Open what all calls in one event loop share; ``await self._clients.get()`` returns it.

        See :class:`LoopClients`: the context manager must not be an async generator.
        """
        return nullcontext()

    @abstractmethod
    async def _upload(
        self,
        name: str,
        stream: ByteStream,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        cache_control: str | None,
        overwrite: bool,
    ) -> None: ...

    @abstractmethod
    def _open(
        self, name: str, byte_range: ByteRange | None, preconditions: Preconditions
    ) -> AbstractAsyncContextManager[FileReader]: ...

    @abstractmethod
    async def _get_info(self, name: str) -> FileInfo: ...

    @abstractmethod
    def _list(self, prefix: str) -> AsyncIterator[FileInfo]:
        """List all names that start with ``prefix``, wherever in a name it ends."""

    @abstractmethod
    async def _copy(
        self, source: str, target: str, *, overwrite: bool, if_match: str | None
    ) -> None: ...

    async def _move(
        self, source: str, target: str, *, overwrite: bool, if_match: str | None
    ) -> None:
        """Move a file; a backend with an atomic rename does better than this."""
        await self._copy(source, target, overwrite=overwrite, if_match=if_match)
        await self._delete(source)

    @abstractmethod
    async def _delete(self, name: str) -> None: ...

    @abstractmethod
    async def _delete_many(self, names: Sequence[str]) -> dict[str, StorageError]: ...

    @abstractmethod
    async def _get_path(
        self, name: str, *, expires_in: int, filename: str | None, disposition: Disposition | None
    ) -> str: ...

    @abstractmethod
    async def _check(self) -> None: ...


def _check_header_value(value: str | None) -> None:
    # Both come back as HTTP headers some day, where a line break would start another header.
    if value is not None and not (value and value.isascii() and value.isprintable()):
        raise InvalidMetadataError(
            f"Invalid value {value[:100]!a} for content_type or cache_control: use printable ASCII."
        )
