"""Files in a folder of this machine, or of a network file system."""

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import TypeVar

from fastapi_async_storages.backends._selection import select_bytes
from fastapi_async_storages.completion import run_in_thread
from fastapi_async_storages.exceptions import ConfigurationError, InvalidNameError, StorageError
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.links import FileLinks
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.ranges import ByteRange, ContentRange
from fastapi_async_storages.readers import FileReader
from fastapi_async_storages.signing import SecretKey
from fastapi_async_storages.storage import Disposition, Storage
from fastapi_async_storages.streams import ByteStream

if sys.platform == "win32":
    raise ConfigurationError(
        "LocalStorage needs a POSIX system: it keeps inside of its root by openat() and O_NOFOLLOW,"
        " and has file locks by flock(). On Windows use WSL, S3Storage or MemoryStorage."
    )

from fastapi_async_storages.backends._local_errors import translate
from fastapi_async_storages.backends._local_files import Files
from fastapi_async_storages.backends._local_folders import Folders, find_problem
from fastapi_async_storages.backends._local_open_file import OpenFile
from fastapi_async_storages.backends._local_records import Record
from fastapi_async_storages.backends._local_temporary import TemporaryFile, remove_leftovers

__all__ = ["LocalStorage"]

T = TypeVar("T")

_BLOCK_SIZE = 1024 * 1024
"""Bytes per write in a worker thread: the trip to one takes about 0.1 ms, as long as they take."""

_NAMES_PER_TRIP = 100


class LocalStorage(Storage):
    """Files in a folder, each under its own name.

    What a file has beside its bytes (content type, metadata, entity tag) is kept in the hidden
    folder ``.fastapi-async-storages`` below the root: extended attributes do not exist everywhere,
    and many programs that copy files lose them. A file that was put there by hand works too: its
    type is guessed from its extension, its entity tag is made of inode, time and size.

    Nothing below the root is reached through a symbolic link, not even one that stays inside, and
    nothing but regular files is read. The root itself may be a symbolic link. Hard links look like
    any file: who can make one below the root decides what is read.

    ``a`` and ``a/b`` cannot be stored side by side: :class:`AlreadyExistsError`. On a file system
    that takes ``A`` and ``a`` for one name, so does the storage. Folders come with their first
    file, and go with their last.

    Several processes may share the root. The file system needs ``flock``.

    Args:
        root: The folder. It is made when the first file is stored.
        base_url: URL, or absolute path, at which a files router serves this storage; what
            :meth:`get_path` links to.
        secret_key: Key that signs those links, or several for rotation: the first signs. Without
            one, links are plain and never expire.

    Attributes:
        links: Makes and verifies the links.

    Raises:
        ConfigurationError: When ``base_url`` is no URL or path, or a key is too short.
    """

    def __init__(
        self,
        root: str | PathLike[str],
        *,
        base_url: str | None = None,
        secret_key: SecretKey | None = None,
    ) -> None:
        # Made absolute now: a later change of the working directory changes nothing.
        self._root = Path(fspath(root)).absolute()
        super().__init__()
        self.links = FileLinks(base_url, secret_key, storage=repr(self))
        self._files = Files(str(self._root), storage=repr(self))

    def __repr__(self) -> str:
        """Name the storage in messages."""
        return f"LocalStorage({str(self._root)!r})"

    def get_name(self, name: str) -> str:
        """Return the safe form of a name, as the storage holds it.

        Args:
            name: ``/``-separated and relative, such as ``"reports/2026/summary.pdf"``.

        Raises:
            InvalidNameError: See :meth:`Storage.get_name`; also when a part between two ``/`` is
                longer than 255 bytes, or the name is in the storage's own hidden folder.
        """
        safe = super().get_name(name)
        if problem := find_problem(safe):
            raise InvalidNameError(
                f"Invalid file name {safe[:100]!a} for {self!r}: {problem}.",
                storage=repr(self),
                name=name,
            )
        return safe

    async def get_local_path(self, name: str) -> Path:
        """Return where a file is on this machine, for a server that sends it from there.

        Meant for ``X-Accel-Redirect``, ``X-Sendfile`` and ``http.response.pathsend``. The file is
        checked as for reading; whoever opens the path later follows what is there then.

        Raises:
            NotFoundError: When there is no such file.
        """
        stored_name = self.get_name(name)
        await self._get_info(stored_name)
        return self._root / stored_name

    def _open_client(self) -> AbstractAsyncContextManager[None]:
        return _Cleaned(self._files.folders)

    async def _upload(
        self,
        name: str,
        stream: ByteStream,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        cache_control: str | None,
        overwrite: bool,
    ) -> None:
        await self._clients.get()
        temporary = TemporaryFile(self._files.folders, is_hashed=not stream.is_hashed)
        publish = partial(
            self._files.publish,
            temporary,
            name,
            content_type=content_type,
            metadata=metadata,
            cache_control=cache_control,
            overwrite=overwrite,
        )
        pending: list[bytes] = []
        size = 0
        try:
            async for chunk in stream:
                pending.append(chunk)
                size += len(chunk)
                if size >= _BLOCK_SIZE:
                    await self._run(partial(temporary.write, pending), name, writing=True)
                    pending, size = [], 0
            last = partial(publish, last=pending, checksum=stream.checksum)
            await self._run(last, name, writing=True)
        finally:
            if temporary.is_open:
                await run_in_thread(temporary.discard)

    @asynccontextmanager
    async def _open(
        self, name: str, byte_range: ByteRange | None, preconditions: Preconditions
    ) -> AsyncIterator[FileReader]:
        def select(file: OpenFile) -> ContentRange | None:
            return select_bytes(file.info, byte_range, preconditions, storage=repr(self))

        async with self._open_file(name, select) as (_, reader):
            yield reader

    async def _get_info(self, name: str) -> FileInfo:
        await self._clients.get()
        return await self._run(partial(self._files.get_info, name), name)

    async def _list(self, prefix: str) -> AsyncIterator[FileInfo]:
        if prefix:
            self.get_name(prefix)
        await self._clients.get()
        files = self._files.walk(prefix)
        while batch := await self._run(lambda: list(islice(files, _NAMES_PER_TRIP)), None):
            for info in batch:
                yield info

    async def _copy(
        self, source: str, target: str, *, overwrite: bool, if_match: str | None
    ) -> None:
        def select(file: OpenFile) -> None:
            self._check_version(file.record, source, if_match)

        async with self._open_file(source, select) as (record, reader):
            await self._upload(
                target,
                ByteStream(aiter(reader), record.size),
                content_type=record.content_type,
                metadata=record.metadata,
                cache_control=record.cache_control,
                overwrite=overwrite,
            )

    async def _move(
        self, source: str, target: str, *, overwrite: bool, if_match: str | None
    ) -> None:
        await self._clients.get()
        check = partial(self._check_version, name=source, if_match=if_match)
        move = partial(self._files.move, source, target, overwrite=overwrite, check=check)
        await self._run(move, target, writing=True)

    async def _delete(self, name: str) -> None:
        await self._clients.get()
        await self._run(partial(self._files.delete, name), name)

    async def _delete_many(self, names: Sequence[str]) -> dict[str, StorageError]:
        await self._clients.get()
        failed: dict[str, StorageError] = {}
        for name in names:
            try:
                await self._run(partial(self._files.delete, name), name)
            except StorageError as error:
                failed[name] = error
        return failed

    async def _get_path(
        self, name: str, *, expires_in: int, filename: str | None, disposition: Disposition | None
    ) -> str:
        await self._clients.get()
        return self.links.make(
            name, expires_in=expires_in, filename=filename, disposition=disposition
        )

    async def _check(self) -> None:
        await self._clients.get()
        temporary = TemporaryFile(self._files.folders)
        try:
            await self._run(temporary.sync, None, writing=True)
        finally:
            await run_in_thread(temporary.discard)

    @asynccontextmanager
    async def _open_file(
        self, name: str, select: Callable[[OpenFile], ContentRange | None]
    ) -> AsyncIterator[tuple[Record, FileReader]]:
        opened: list[OpenFile] = []  # Keeps the file for the clean-up when the open is cancelled.

        def open_and_read() -> tuple[ContentRange | None, bytes]:
            opened.append(self._files.open(name))
            selected = select(opened[0])
            return selected, opened[0].read_first(selected)

        try:
            await self._clients.get()
            # One trip to a thread for both, as it takes longer than they do.
            selected, first = await self._run(open_and_read, name)
            file, chunks = opened[0], self._read_chunks(opened[0], first)
            del first  # Else a slow reader would hold it to the end.
            async with aclosing(chunks):
                reader = FileReader(file.info, chunks, content_range=selected, storage=repr(self))
                yield file.record, reader
        finally:
            for file in opened:
                if file.is_open:
                    await run_in_thread(file.close)

    async def _read_chunks(self, file: OpenFile, chunk: bytes) -> AsyncGenerator[bytes, None]:
        while chunk:  # None before the end means that somebody cut the file: the reader says so.
            yield chunk
            chunk = await self._run(file.read, file.info.name) if file.is_open else b""

    def _check_version(self, record: Record, name: str, if_match: str | None) -> None:
        if if_match is not None:
            Preconditions(if_match=(if_match,)).enforce(
                etag=record.etag, last_modified=None, storage=repr(self), name=name
            )

    async def _run(
        self, function: Callable[[], T], name: str | None, *, writing: bool = False
    ) -> T:
        """Call what blocks in a worker thread, with its errors translated."""
        try:
            return await run_in_thread(function)
        except StorageError:
            raise
        except OSError as error:
            raise translate(error, storage=repr(self), name=name, writing=writing) from error


class _Cleaned(AbstractAsyncContextManager[None]):
    """Removes what killed processes left, when the storage is opened."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    async def __aenter__(self) -> None:
        await run_in_thread(remove_leftovers, self._folders)

    async def __aexit__(self, *_: object) -> None:
        return None
