import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image

from fastapi_async_storages import LocalStorage, MemoryStorage, S3Storage
from fastapi_async_storages.exceptions import (
    InvalidImageError,
    InvalidNameError,
    NotFoundError,
    PreconditionFailedError,
)
from fastapi_async_storages.files import StorageFile, StorageImage
from fastapi_async_storages.images import FIRST_READ_BYTES
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.readers import FileReader
from fastapi_async_storages.storage import Storage
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.anyio

SIZE = (1600, 1200)
PHOTO_PADDING = 5_000_000
"""Bytes behind the header, as many as the pixels of a photo take."""


def make_jpeg(*, orientation: int = 1, icc_profile: bytes = b"") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = BytesIO()
    Image.new("L", SIZE).save(buffer, "JPEG", exif=exif, icc_profile=icc_profile)
    return buffer.getvalue()


def make_s3_storage(server: S3Server, endpoint_url: str | None = None) -> S3Storage:
    return S3Storage(
        server.bucket,
        endpoint_url=endpoint_url or server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        prefix=f"files-{uuid4().hex}",
    )


@pytest.fixture(params=["memory", "local", "s3"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    made: Storage
    if request.param == "memory":
        made = MemoryStorage()
    elif request.param == "local":
        made = LocalStorage(tmp_path)
    else:
        made = make_s3_storage(request.getfixturevalue("s3_server"))
    async with made:
        yield made


class CountingStorage(MemoryStorage):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_read = 0
        self.ranges: list[ByteRange | None] = []
        self.infos = 0

    @asynccontextmanager
    async def _open(
        self, name: str, byte_range: ByteRange | None, preconditions: Preconditions
    ) -> AsyncIterator[FileReader]:
        self.ranges.append(byte_range)
        async with super()._open(name, byte_range, preconditions) as reader:
            counted = self._count(aiter(reader))
            yield FileReader(reader.info, counted, content_range=reader.content_range)

    async def _count(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self.bytes_read += len(chunk)
            yield chunk

    async def _get_info(self, name: str) -> FileInfo:
        self.infos += 1
        return await super()._get_info(name)


class CountingProxy:
    """Passes a TCP port on to another, and counts the bytes that come back."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("http://").rpartition(":")
        self._target = (host, int(port))
        self.bytes_received = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}"

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        await asyncio.gather(
            self._pass_on(reader, upstream_writer, counts=False),
            self._pass_on(upstream_reader, writer, counts=True),
        )

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, counts: bool
    ) -> None:
        try:
            while data := await source.read(65536):
                self.bytes_received += len(data) if counts else 0
                target.write(data)
                await target.drain()
        finally:
            target.close()


async def test_dimensions(storage: Storage) -> None:
    await storage.upload(make_jpeg(), "photo.jpg")

    assert await StorageImage(storage, "photo.jpg").get_dimensions() == SIZE


async def test_dimensions_are_as_shown(storage: Storage) -> None:
    await storage.upload(make_jpeg(orientation=6), "photo.jpg")

    assert await StorageImage(storage, "photo.jpg").get_dimensions() == SIZE[::-1]


async def test_dimensions_behind_a_large_profile(storage: Storage) -> None:
    await storage.upload(make_jpeg(icc_profile=bytes(600_000)), "print.jpg")

    assert await StorageImage(storage, "print.jpg").get_dimensions() == SIZE


async def test_dimensions_of_a_missing_file(storage: Storage) -> None:
    with pytest.raises(NotFoundError, match=r"missing\.png"):
        await StorageImage(storage, "missing.png").get_dimensions()


async def test_dimensions_of_an_empty_file(storage: Storage) -> None:
    await storage.upload(b"", "empty.png")

    with pytest.raises(InvalidImageError, match=r"'empty\.png' in .* it is empty") as caught:
        await StorageImage(storage, "empty.png").get_dimensions()

    assert (caught.value.storage, caught.value.name) == (repr(storage), "empty.png")


async def test_dimensions_of_a_file_that_is_cut_off(storage: Storage) -> None:
    await storage.upload(make_jpeg(icc_profile=bytes(600_000))[:100_000], "cut.jpg")

    with pytest.raises(InvalidImageError, match=r"'cut\.jpg' in .* cut off"):
        await StorageImage(storage, "cut.jpg").get_dimensions()


async def test_dimensions_of_a_text(storage: Storage) -> None:
    await storage.upload(b"hello world", "photo.png")

    with pytest.raises(InvalidImageError, match=r"'photo\.png' in .* it is text/plain"):
        await StorageImage(storage, "photo.png").get_dimensions()


async def test_a_decompression_bomb_is_refused(storage: Storage) -> None:
    await storage.upload(make_jpeg(), "photo.jpg")
    image = StorageImage(storage, "photo.jpg")

    with pytest.raises(InvalidImageError, match=r"1600 x 1200 = 1920000 pixels, at most 1000000"):
        await image.get_dimensions(max_pixels=1_000_000)

    assert await image.get_dimensions(max_pixels=1_920_000) == SIZE
    with pytest.raises(InvalidImageError, match="at most 1919999"):
        await image.get_dimensions(max_pixels=1_919_999)


async def test_what_was_found_stays_in_the_handle(storage: Storage) -> None:
    await storage.upload(make_jpeg(), "photo.jpg")
    image = StorageImage(storage, "photo.jpg")
    await image.get_dimensions()

    await storage.delete("photo.jpg")

    assert await image.get_dimensions() == SIZE
    assert image.info is not None
    assert (image.info.width, image.info.height) == SIZE
    assert await image.get_size() == len(make_jpeg())


async def test_dimensions_kept_beside_the_file(storage: Storage) -> None:
    await storage.upload(b"?", "photo.jpg", metadata={"width": "30", "height": "20"})

    assert await StorageImage(storage, "photo.jpg").get_dimensions() == (30, 20)


async def test_one_request_reads_the_header_of_a_large_photo() -> None:
    storage = CountingStorage()
    await storage.upload(make_jpeg() + bytes(PHOTO_PADDING), "photo.jpg")

    await StorageImage(storage, "photo.jpg").get_dimensions()

    assert storage.ranges == [ByteRange(0, FIRST_READ_BYTES - 1)]
    assert storage.bytes_read == FIRST_READ_BYTES
    assert storage.infos == 0


async def test_a_second_request_begins_where_the_first_ended() -> None:
    storage = CountingStorage()
    await storage.upload(make_jpeg(icc_profile=bytes(100_000)) + bytes(PHOTO_PADDING), "print.jpg")

    await StorageImage(storage, "print.jpg").get_dimensions()

    first = FIRST_READ_BYTES
    assert storage.ranges == [ByteRange(0, first - 1), ByteRange(first, 2 * first - 1)]
    assert storage.bytes_read == 2 * first


async def test_a_known_record_costs_nothing() -> None:
    storage = CountingStorage()
    info = FileInfo("photo.jpg", 3, width=30, height=20)
    image = StorageImage(storage, "photo.jpg", info)

    assert await image.get_dimensions() == (30, 20)
    assert await image.get_size() == 3
    assert await image.get_info() is info
    assert (storage.ranges, storage.infos) == ([], 0)


async def test_a_record_without_dimensions_is_completed() -> None:
    storage = MemoryStorage()
    await storage.upload(make_jpeg(), "photo.jpg", metadata={"filename": "Foto.jpg"})
    info = await storage.get_info("photo.jpg")
    image = StorageImage(storage, "photo.jpg", info)

    await image.get_dimensions()

    assert image.info == replace(info, width=SIZE[0], height=SIZE[1])


async def test_s3_sends_no_more_than_the_header(s3_server: S3Server) -> None:
    proxy = CountingProxy(s3_server.endpoint_url)
    async with proxy.run() as endpoint_url, make_s3_storage(s3_server, endpoint_url) as storage:
        await storage.upload(make_jpeg() + bytes(PHOTO_PADDING), "photo.jpg")
        before = proxy.bytes_received

        await StorageImage(storage, "photo.jpg").get_dimensions()

        assert FIRST_READ_BYTES < proxy.bytes_received - before < FIRST_READ_BYTES + 2048


async def test_a_file_replaced_while_its_header_is_read() -> None:
    class ReplacingStorage(CountingStorage):
        @asynccontextmanager
        async def _open(
            self, name: str, byte_range: ByteRange | None, preconditions: Preconditions
        ) -> AsyncIterator[FileReader]:
            async with super()._open(name, byte_range, preconditions) as reader:
                yield reader
            await self.upload(make_jpeg(orientation=6), name)

    storage = ReplacingStorage()
    await storage.upload(make_jpeg(icc_profile=bytes(100_000)), "photo.jpg")

    with pytest.raises(PreconditionFailedError, match=r"photo\.jpg"):
        await StorageImage(storage, "photo.jpg").get_dimensions()


async def test_reading_and_deleting(storage: Storage) -> None:
    await storage.upload(b"hello world", "hello.txt")
    file = StorageFile(storage, "hello.txt")

    async with file.open(byte_range=ByteRange(6)) as reader:
        assert await reader.read() == b"world"
    assert await file.read() == b"hello world"
    assert await file.get_size() == 11
    assert await file.exists()

    await file.delete()

    assert not await file.exists()
    with pytest.raises(NotFoundError, match=r"hello\.txt"):
        await file.read()


async def test_url() -> None:
    storage = MemoryStorage(base_url="/files", secret_key="k" * 32)

    url = await StorageFile(storage, "a b.txt").get_path(expires_in=60, disposition="inline")

    assert url.startswith("/files/a%20b.txt?")


def test_a_handle_is_a_value() -> None:
    storage = MemoryStorage()
    file = StorageFile(storage, "folder//a.txt")

    assert str(file) == file.name == "folder/a.txt"
    assert file.storage is storage
    assert repr(file) == "StorageFile(MemoryStorage(), 'folder/a.txt')"
    assert file == StorageFile(storage, "folder/a.txt", FileInfo("folder/a.txt", 1))
    assert len({file, StorageImage(storage, "folder/a.txt")}) == 1
    assert file != StorageFile(storage, "folder/b.txt")
    assert file != StorageFile(MemoryStorage(), "folder/a.txt")
    assert file != "folder/a.txt"


def test_a_deep_copy_keeps_the_storage() -> None:
    file = StorageFile(MemoryStorage(), "a.txt")

    assert copy.deepcopy([file])[0].storage is file.storage


def test_an_invalid_name_is_refused() -> None:
    with pytest.raises(InvalidNameError, match=r"\.\."):
        StorageFile(MemoryStorage(), "../a.txt")


async def test_a_stored_name_is_checked_when_it_is_used() -> None:
    file = StorageImage.from_stored(MemoryStorage(), "../a.txt")

    assert isinstance(file, StorageImage)
    assert file.name == "../a.txt"
    with pytest.raises(InvalidNameError, match=r"\.\."):
        await file.get_info()
    with pytest.raises(InvalidNameError, match=r"\.\."):
        await file.get_dimensions()
