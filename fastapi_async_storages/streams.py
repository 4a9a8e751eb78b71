"""Everything that can be uploaded, as one stream of bytes that never blocks the event loop."""

import inspect
import io
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias, TypeGuard

from fastapi_async_storages.completion import run_in_thread

__all__ = [
    "CHUNK_SIZE",
    "AsyncReadable",
    "ByteStream",
    "HashedSource",
    "SyncReadable",
    "UploadSource",
    "is_upload_source",
    "open_stream",
]

CHUNK_SIZE = 256 * 1024
"""Bytes per read of a file: enough to outweigh the trip to a worker thread (about 50 us)."""


class AsyncReadable(Protocol):
    """A binary file whose ``read`` is a coroutine, such as Starlette's ``UploadFile``."""

    def read(self, size: int = -1, /) -> Awaitable[bytes]:
        """Read up to ``size`` bytes."""


class SyncReadable(Protocol):
    """A binary file such as ``open(..., "rb")`` returns."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes."""


UploadSource: TypeAlias = (
    bytes
    | bytearray
    | memoryview
    | os.PathLike[str]
    | BinaryIO
    | SyncReadable
    | AsyncReadable
    | AsyncIterable[bytes]
)
"""What can be uploaded: bytes, a path, a binary file (sync or async), an async iterator of bytes.

Files are read from where they stand and stay open: who opened one closes it.
"""


class HashedSource(AsyncIterable[bytes]):
    """An upload that is hashed on its way to the storage, so that the storage need not do it again.

    Attributes:
        checksum: ``"sha256:"`` and 64 hex digits once every byte has passed, else ``None``.
    """

    checksum: str | None = None


class ByteStream:
    """The bytes of one upload, in chunks of any size, to be read once.

    Attributes:
        size: Number of bytes that will come, or ``None`` when only the end will tell.
        is_hashed: Whether its source hashes the bytes, so that :attr:`checksum` will be known.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        size: int | None = None,
        *,
        hashed: HashedSource | None = None,
    ) -> None:
        self.size = size
        self.is_hashed = hashed is not None
        self._hashed = hashed
        self._chunks = chunks

    @property
    def checksum(self) -> str | None:
        """The checksum that its source knows once the last byte has been read; else ``None``."""
        return None if self._hashed is None else self._hashed.checksum

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the chunks, none of them empty."""
        return self._chunks


def is_upload_source(value: object) -> TypeGuard[UploadSource]:
    """Tell whether a value looks like something that can be uploaded; :func:`open_stream` is sure.

    Args:
        value: Anything. A string is never content: it is a name, or text without an encoding.
    """
    return isinstance(
        value, bytes | bytearray | memoryview | os.PathLike | AsyncIterable
    ) or callable(getattr(value, "read", None))


def open_stream(source: UploadSource) -> AbstractAsyncContextManager[ByteStream]:
    """Turn anything that can be uploaded into a :class:`ByteStream`.

    Reads of a sync file run in a worker thread (but for ``io.BytesIO``, which only copies memory).
    At the end a path is closed again, and an async generator too: nobody else could know when.

    Args:
        source: See :data:`UploadSource`.

    Raises:
        TypeError: When the source is none of these, or yields something else than bytes.
        OSError: When a path cannot be opened or a file cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _stream_of(_slice(source), memoryview(source).nbytes)
    if isinstance(source, os.PathLike):
        return _open_path(source)
    read = getattr(source, "read", None)
    if inspect.iscoroutinefunction(read):
        return _stream_of(_read_async(read))
    if isinstance(source, AsyncIterable):
        hashed = source if isinstance(source, HashedSource) else None
        return _stream_of(_checked(source), hashed=hashed)
    if callable(read) and not _is_text(source):
        return _open_file(read, source)
    raise TypeError(
        f"Cannot upload a {type(source).__name__}: pass bytes, a pathlib.Path, a file opened in"
        " binary mode, an UploadFile, or an async iterator of bytes."
    )


@asynccontextmanager
async def _stream_of(
    chunks: AsyncGenerator[bytes, None],
    size: int | None = None,
    *,
    hashed: HashedSource | None = None,
) -> AsyncIterator[ByteStream]:
    async with aclosing(chunks):
        yield ByteStream(chunks, size, hashed=hashed)


@asynccontextmanager
async def _open_path(path: os.PathLike[str]) -> AsyncIterator[ByteStream]:
    opened: list[BinaryIO] = []  # Keeps the file for the clean-up when the open is cancelled.
    try:
        await run_in_thread(lambda: opened.append(Path(path).open("rb")))  # noqa: SIM115
        async with _open_file(opened[0].read, opened[0]) as stream:
            yield stream
    finally:
        for file in opened:
            file.close()  # Nothing was written, so there is nothing to wait for.


@asynccontextmanager
async def _open_file(read: Callable[[int], bytes], file: object) -> AsyncIterator[ByteStream]:
    if type(file) is io.BytesIO:
        size, chunks = _remaining_size(file), _read_memory(file)
    else:
        size, chunks = await run_in_thread(_remaining_size, file), _read_sync(read)
    async with _stream_of(chunks, size) as stream:
        yield stream


def _is_text(file: object) -> bool:
    return isinstance(file, io.TextIOBase)


def _remaining_size(file: object) -> int | None:
    """Return how many bytes are left to read, or ``None`` for a pipe or a file that can't seek."""
    try:
        position = file.tell()  # type: ignore[attr-defined]
        end = file.seek(0, os.SEEK_END)  # type: ignore[attr-defined]
        file.seek(position)  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None
    # Some file-like objects return nothing from seek().
    return max(end - position, 0) if isinstance(end, int) else None


async def _slice(source: bytes | bytearray | memoryview) -> AsyncGenerator[bytes, None]:
    if isinstance(source, bytes) and 0 < len(source) <= CHUNK_SIZE:
        yield source
        return
    view = memoryview(source).cast("B")
    for start in range(0, len(view), CHUNK_SIZE):
        yield bytes(view[start : start + CHUNK_SIZE])


async def _read_memory(file: io.BytesIO) -> AsyncGenerator[bytes, None]:
    while chunk := file.read(CHUNK_SIZE):
        yield chunk


async def _read_sync(read: Callable[[int], object]) -> AsyncGenerator[bytes, None]:
    while chunk := _to_bytes(await run_in_thread(read, CHUNK_SIZE)):
        yield chunk


async def _read_async(read: Callable[[int], Awaitable[object]]) -> AsyncGenerator[bytes, None]:
    while chunk := _to_bytes(await read(CHUNK_SIZE)):
        yield chunk


async def _checked(source: AsyncIterable[object]) -> AsyncGenerator[bytes, None]:
    chunks = aiter(source)
    try:
        async for chunk in chunks:
            if checked := _to_bytes(chunk):
                yield checked
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _to_bytes(chunk: object) -> bytes:
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, bytearray | memoryview):
        return bytes(chunk)
    raise TypeError(f"An upload must yield bytes, not {type(chunk).__name__}.")
