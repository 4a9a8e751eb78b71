import asyncio
import io
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import anyio
import pytest
from starlette.datastructures import UploadFile

from fastapi_async_storages.streams import CHUNK_SIZE, UploadSource, is_upload_source, open_stream

pytestmark = pytest.mark.anyio

CONTENTS = [b"", b"x", b"x" * CHUNK_SIZE, b"xy" * CHUNK_SIZE + b"z"]


async def read_all(source: UploadSource) -> tuple[bytes, int | None]:
    async with open_stream(source) as stream:
        chunks = [chunk async for chunk in stream]
    assert all(type(chunk) is bytes and chunk for chunk in chunks)
    return b"".join(chunks), stream.size


async def iterate(content: bytes) -> AsyncIterator[bytes]:
    yield b""
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


class Iterable:
    """Has ``__aiter__`` only, and yields other kinds of bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Any]:
        half = len(self.content) // 2
        yield bytearray(self.content[:half])
        yield memoryview(self.content)[half:]


class Readable:
    """Has ``read`` only, and is slow enough to block a loop that calls it."""

    def __init__(self, content: bytes) -> None:
        self.file = io.BytesIO(content)
        self.threads: set[int] = set()

    def read(self, size: int = -1, /) -> bytes:
        self.threads.add(threading.get_ident())
        return self.file.read(size)


class AsyncReadable:
    def __init__(self, content: bytes) -> None:
        self.file = io.BytesIO(content)

    async def read(self, size: int = -1, /) -> bytes:
        await asyncio.sleep(0)
        return self.file.read(size)


class Spooled(io.BytesIO):
    """A subclass may do anything in its ``read``, so it is read in a thread."""


def rolled_file(content: bytes) -> UploadFile:
    """An upload on the disk, as Starlette makes it."""
    file = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=1))  # noqa: SIM115
    file.write(content)
    file.seek(0)
    return UploadFile(file, size=len(content))


@pytest.mark.parametrize("content", CONTENTS, ids=len)
@pytest.mark.parametrize(
    "make, sized",
    [
        (bytes, True),
        (bytearray, True),
        (memoryview, True),
        (lambda content: memoryview(content).cast("H") if len(content) % 2 == 0 else content, True),
        (io.BytesIO, True),
        (Spooled, True),
        (Readable, False),
        (AsyncReadable, False),
        (iterate, False),
        (Iterable, False),
        (lambda content: UploadFile(io.BytesIO(content)), False),
        (rolled_file, False),
    ],
)
async def test_every_source_brings_its_bytes(
    content: bytes, make: Callable[[bytes], UploadSource], sized: bool
) -> None:
    source = make(content)
    assert is_upload_source(source)
    assert await read_all(source) == (content, len(content) if sized else None)
    if isinstance(source, UploadFile):
        assert not source.file.closed
        source.file.close()


@pytest.mark.parametrize("content", CONTENTS, ids=len)
async def test_files_and_paths(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert await read_all(path) == (content, len(content))
    with path.open("rb") as buffered, path.open("rb", buffering=0) as raw:
        for file in (buffered, raw):
            assert await read_all(file) == (content, len(content))
            assert not file.closed
            file.seek(len(content) // 2)
            rest = content[len(content) // 2 :]
            assert await read_all(file) == (rest, len(rest))
            assert await read_all(file) == (b"", 0)
    async with await anyio.open_file(path, "rb") as asynchronous:
        assert await read_all(asynchronous) == (content, None)


async def test_a_pipe_has_no_size() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert await read_all(file) == (b"through a pipe", None)


@pytest.mark.parametrize("source", ["text", "/a/path", None, 1, [b"a"], iter([b"a"]), object()])
async def test_other_things_are_refused(source: Any) -> None:
    assert not is_upload_source(source)
    with pytest.raises(TypeError, match=f"Cannot upload a {type(source).__name__}: pass bytes"):
        open_stream(source)


class TextReadable:
    def read(self, size: int = -1, /) -> str:
        return "text"


class NoneReadable:
    def read(self, size: int = -1, /) -> None:
        """As a socket without data does."""


async def iterate_texts() -> AsyncIterator[Any]:
    yield b"bytes"
    yield "text"


@pytest.mark.parametrize(
    "source, kind",
    [(TextReadable(), "str"), (NoneReadable(), "NoneType"), (iterate_texts(), "str")],
)
async def test_what_is_no_bytes_is_refused_when_it_comes(source: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"must yield bytes, not {kind}"):
        await read_all(source)


async def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with (tmp_path / "file").open() as file, pytest.raises(TypeError, match="binary mode"):
        open_stream(file)  # type: ignore[arg-type]


async def test_a_path_that_is_no_file_raises_as_open_does(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await read_all(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        await read_all(tmp_path)


async def test_sync_reads_leave_the_event_loop_alone() -> None:
    source = Readable(b"x" * 3 * CHUNK_SIZE)
    await read_all(source)
    assert threading.get_ident() not in source.threads


async def test_a_generator_is_closed_at_the_end_of_the_block() -> None:
    closed = []

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"1"
            yield b"2"
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async with open_stream(source()) as stream:
        async for _chunk in stream:
            break
    assert closed


def count_open(path: Path) -> int:
    def is_open(link: Path) -> bool:
        try:
            return link.samefile(path)
        except OSError:
            return False  # That of the listing itself.

    return sum(map(is_open, Path("/dev/fd").iterdir()))


async def test_a_path_is_closed_however_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3 * CHUNK_SIZE)

    async def read_some(chunks: int) -> None:
        async with open_stream(path) as stream:
            async for _chunk in stream:
                assert count_open(path) == 1
                if (chunks := chunks - 1) == 0:
                    return

    for chunks in (1, 2, 4):
        await read_some(chunks)
        assert count_open(path) == 0
    for steps in range(30):
        task = asyncio.ensure_future(read_some(4))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert count_open(path) == 0


async def test_a_chunk_is_a_copy() -> None:
    changing = bytearray(b"x" * 2 * CHUNK_SIZE)
    async with open_stream(changing) as stream:
        first = await anext(aiter(stream))
        changing[:] = bytes(len(changing))
        assert first == b"x" * CHUNK_SIZE
