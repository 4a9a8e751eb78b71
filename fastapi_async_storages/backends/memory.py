"""Files in the memory of the process: for tests and demos, with every promise of the contract."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

from fastapi_async_storages.backends._selection import select_bytes
from fastapi_async_storages.checksums import Checksum
from fastapi_async_storages.exceptions import AlreadyExistsError, NotFoundError, StorageError
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.links import FileLinks
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.readers import FileReader
from fastapi_async_storages.signing import SecretKey
from fastapi_async_storages.storage import Disposition, Storage
from fastapi_async_storages.streams import CHUNK_SIZE, ByteStream

__all__ = ["MemoryStorage"]


class _MemoryFile(NamedTuple):
    """One version of a file. Never changed: a reader keeps the version that it opened."""

    content: bytes
    info: FileInfo


class MemoryStorage(Storage):
    """Files in the memory of the process. They are gone when the storage object is.

    Names that cannot stand side by side on disk can here: ``a`` beside ``a/b``.

    Args:
        base_url: URL, or absolute path, at which a files router serves this storage; what
            :meth:`get_path` links to.
        secret_key: Key that signs those links, or several for rotation: the first signs. Without
            one, links are plain and never expire.

    Attributes:
        links: Makes and verifies the links.

    Raises:
        ConfigurationError: When ``base_url`` is no URL or path, or a key is too short.
    """

    def __init__(self, *, base_url: str | None = None, secret_key: SecretKey | None = None) -> None:
        super().__init__()
        self.links = FileLinks(base_url, secret_key, storage=repr(self))
        # Each change of the dict is one operation, which is atomic between threads too: a storage
        # may serve an app in one thread and a test in another.
        self._files: dict[str, _MemoryFile] = {}

    def __repr__(self) -> str:
        """Name the storage in messages."""
        return "MemoryStorage()"

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
        await self._checkpoint()
        checksum = Checksum()
        chunks = []
        async for chunk in stream:
            if not stream.is_hashed:
                await checksum.update(chunk)
            chunks.append(chunk)
        content = b"".join(chunks)
        await self._checkpoint()
        info = FileInfo.from_stored(
            name,
            len(content),
            content_type=content_type,
            etag=_make_etag(),
            last_modified=datetime.now(UTC),
            cache_control=cache_control,
            metadata={"checksum": stream.checksum or str(checksum), **metadata},
        )
        self._publish(name, _MemoryFile(content, info), overwrite=overwrite)

    @asynccontextmanager
    async def _open(
        self, name: str, byte_range: ByteRange | None, preconditions: Preconditions
    ) -> AsyncIterator[FileReader]:
        file = await self._find(name)
        selected = select_bytes(file.info, byte_range, preconditions, storage=repr(self))
        start, stop = (selected.start, selected.end + 1) if selected else (0, file.info.size)
        chunks = _slice(file.content, start, stop)
        yield FileReader(_copy(file), chunks, content_range=selected, storage=repr(self))

    async def _get_info(self, name: str) -> FileInfo:
        return _copy(await self._find(name))

    async def _list(self, prefix: str) -> AsyncIterator[FileInfo]:
        await self._checkpoint()
        for name in sorted(name for name in list(self._files) if name.startswith(prefix)):
            file = self._files.get(name)
            if file is not None:  # Deleted since the listing began.
                yield _copy(file)

    async def _copy(
        self, source: str, target: str, *, overwrite: bool, if_match: str | None
    ) -> None:
        file = await self._find(source, if_match)
        info = replace(file.info, name=target, etag=_make_etag(), last_modified=datetime.now(UTC))
        self._publish(target, _MemoryFile(file.content, info), overwrite=overwrite)

    async def _delete(self, name: str) -> None:
        await self._checkpoint()
        self._files.pop(name, None)

    async def _delete_many(self, names: Sequence[str]) -> dict[str, StorageError]:
        for name in names:
            await self._delete(name)
        return {}

    async def _get_path(
        self, name: str, *, expires_in: int, filename: str | None, disposition: Disposition | None
    ) -> str:
        await self._checkpoint()
        return self.links.make(
            name, expires_in=expires_in, filename=filename, disposition=disposition
        )

    async def _check(self) -> None:
        await self._checkpoint()

    async def _find(self, name: str, if_match: str | None = None) -> _MemoryFile:
        await self._checkpoint()
        file = self._files.get(name)
        if file is None:
            raise NotFoundError(
                f"There is no file {name!a} in {self!r}.", storage=repr(self), name=name
            )
        if if_match is not None:
            Preconditions(if_match=(if_match,)).enforce(
                etag=file.info.etag, last_modified=None, storage=repr(self), name=name
            )
        return file

    async def _checkpoint(self) -> None:
        await self._clients.get()
        # Other tasks run in between, and a cancellation arrives, as with every other backend.
        await asyncio.sleep(0)

    def _publish(self, name: str, file: _MemoryFile, *, overwrite: bool) -> None:
        if overwrite:
            self._files[name] = file
        elif self._files.setdefault(name, file) is not file:
            raise AlreadyExistsError(
                f"There is already a file {name!a} in {self!r}.", storage=repr(self), name=name
            )


def _copy(file: _MemoryFile) -> FileInfo:
    """Return a record whose metadata the caller may change."""
    return replace(file.info, metadata=dict(file.info.metadata))


async def _slice(content: bytes, start: int, stop: int) -> AsyncIterator[bytes]:
    for offset in range(start, stop, CHUNK_SIZE):
        yield content[offset : min(offset + CHUNK_SIZE, stop)]


def _make_etag() -> str:
    """Make a strong entity tag that no other version has (RFC 9110 section 8.8.1)."""
    return f'"{uuid4().hex}"'
