"""SHA-256 of what was sent is what is stored, and a flipped bit is found when the file is read."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fastapi_async_storages import (
    ByteRange,
    LocalStorage,
    MemoryStorage,
    S3Storage,
    Storage,
    StorageFile,
    save_upload,
)
from fastapi_async_storages.exceptions import (
    ChecksumUnknownError,
    CorruptFileError,
    IncompleteReadError,
)
from fastapi_async_storages.testing.faults import Corrupt, FaultyStorage, Pause, Truncate
from tests.servers.s3 import S3Server, open_sdk_client
from tests.storages import BACKENDS, make_storage

pytestmark = pytest.mark.anyio

MIB = 1024**2
PART_SIZE = 5 * MIB


def checksum_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(params=BACKENDS)
def storage(request: pytest.FixtureRequest) -> Any:
    options = {"part_size": PART_SIZE} if request.param == "s3" else {}
    with make_storage(
        request.param, lambda: request.getfixturevalue("s3_server"), **options
    ) as storage:
        yield storage


async def read(storage: Storage, name: str, **options: Any) -> bytes:
    async with storage.open(name, **options) as reader:
        return await reader.read()


@pytest.mark.parametrize("size", [0, 1, 100_000, 3 * MIB])
@pytest.mark.parametrize("overwrite", [True, False])
async def test_the_record_has_the_checksum_of_what_was_sent(
    storage: Storage, size: int, overwrite: bool
) -> None:
    content = os.urandom(size)
    async with storage:
        await storage.upload(content, "a.bin", overwrite=overwrite)
        assert (await storage.get_info("a.bin")).checksum == checksum_of(content)
        assert await read(storage, "a.bin", verify=True) == content
        await storage.copy("a.bin", "b.bin")
        await storage.move("b.bin", "c.bin")
        assert await read(storage, "c.bin", verify=True) == content


async def test_the_upload_knows_the_checksum_of_a_file_of_any_size(storage: Storage) -> None:
    content = os.urandom(PART_SIZE + MIB)
    async with storage:
        file = await save_upload(content, storage)
        assert file.info is not None
        assert file.info.checksum == checksum_of(content)
        await file.verify()
        assert await read(storage, file.name, verify=checksum_of(content)) == content
        with pytest.raises(CorruptFileError) as caught:
            await read(storage, file.name, verify=checksum_of(b""))
        assert (caught.value.expected, caught.value.actual) == (
            checksum_of(b""),
            checksum_of(content),
        )
        assert (caught.value.storage, caught.value.name) == (repr(storage), file.name)


async def test_a_checksum_that_the_caller_stored_is_the_one_to_expect(storage: Storage) -> None:
    async with storage:
        await storage.upload(b"1", "a.txt", metadata={"checksum": checksum_of(b"2")})
        assert (await storage.get_info("a.txt")).checksum == checksum_of(b"2")
        with pytest.raises(CorruptFileError):
            await read(storage, "a.txt", verify=True)
        assert await read(storage, "a.txt") == b"1"


async def test_a_part_of_a_file_cannot_be_verified(storage: Storage) -> None:
    async with storage:
        await storage.upload(b"123", "a.txt")
        with pytest.raises(ValueError, match="whole file"):
            await read(storage, "a.txt", byte_range=ByteRange(0, 1), verify=True)


async def test_metadata_may_fill_all_the_room_there_is(storage: Storage) -> None:
    metadata = {"filename": "a" * (2048 - len("filename"))}
    async with storage:
        await storage.upload(b"123", "a.txt", metadata=metadata)
        assert (await storage.get_info("a.txt")).filename == metadata["filename"]


@pytest.mark.parametrize(
    "fault, error",
    [
        (Corrupt("open", at=2 * MIB), CorruptFileError),
        (Truncate("open", at=9), IncompleteReadError),
    ],
)
async def test_bytes_that_change_on_their_way_are_found(
    fault: Corrupt | Truncate, error: type[Exception]
) -> None:
    storage = FaultyStorage(MemoryStorage(), [fault])
    file = await save_upload(bytes(3 * MIB), storage)
    with pytest.raises(error):
        await file.verify()
    assert fault.happened == 1
    await file.verify()


async def test_bytes_that_change_while_they_are_stored_are_found() -> None:
    storage = FaultyStorage(MemoryStorage(), [Corrupt("upload", at=0)])
    file = await save_upload(b"123", storage)
    assert await file.read() == b"023"
    with pytest.raises(CorruptFileError):
        await file.verify()


class TestFlippedBitOnDisk:
    @pytest.fixture
    async def file(self, tmp_path: Path) -> StorageFile:
        return await save_upload(b"the content", LocalStorage(tmp_path), name="a.txt")

    async def test_that_nothing_else_shows(self, file: StorageFile, tmp_path: Path) -> None:
        """A disk that forgets changes no time, and tells nobody."""
        before = (tmp_path / "a.txt").stat()
        (tmp_path / "a.txt").write_bytes(b"the contenu")
        os.utime(tmp_path / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert await file.read() == b"the contenu"
        with pytest.raises(CorruptFileError):
            await file.verify()
        # Known from the storage alone, too.
        with pytest.raises(CorruptFileError):
            await read(file.storage, "a.txt", verify=True)
        with pytest.raises(CorruptFileError):
            await StorageFile(file.storage, "a.txt").verify()

    async def test_by_a_program_that_wrote_the_file(
        self, file: StorageFile, tmp_path: Path
    ) -> None:
        """The storage takes that for another file; who has the handle does not."""
        (tmp_path / "a.txt").write_bytes(b"the cont3nt, and more")
        with pytest.raises(CorruptFileError):
            await file.verify()
        with pytest.raises(ChecksumUnknownError, match="no checksum"):
            await read(file.storage, "a.txt", verify=True)


async def test_who_reads_on_after_a_cancellation_gets_no_short_file(storage: Storage) -> None:
    name = await storage.upload(bytes(3_000_000), "a.bin")
    faulty = FaultyStorage(storage)
    pause = Pause("open", at=2_000_000)
    faulty.plan.append(pause)
    async with faulty.open(name) as reader:
        reading = asyncio.ensure_future(reader.read())
        await pause.reached()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        with pytest.raises(IncompleteReadError, match="open it again"):
            await reader.read()
        with pytest.raises(IncompleteReadError, match="open it again"):
            aiter(reader)


class TestFlippedBitInTheBucket:
    async def replace(self, server: S3Server, key: str, content: bytes) -> None:
        """Put other bytes in the place of an object, with all that belongs to it."""
        async with open_sdk_client(server) as client:
            head = await client.head_object(Bucket=server.bucket, Key=key)
            await client.put_object(
                Bucket=server.bucket,
                Key=key,
                Body=content,
                ContentType=head["ContentType"],
                Metadata=head["Metadata"],
            )

    @pytest.mark.parametrize("size", [11, PART_SIZE + 1])
    async def test_is_found(self, s3_server: S3Server, size: int) -> None:
        prefix = uuid4().hex
        content = bytes(size)
        async with S3Storage(
            s3_server.bucket,
            endpoint_url=s3_server.endpoint_url,
            aws_access_key_id=s3_server.access_key,
            aws_secret_access_key=s3_server.secret_key,
            prefix=prefix,
            part_size=PART_SIZE,
        ) as storage:
            file = await save_upload(content, storage)
            await self.replace(s3_server, f"{prefix}/{file.name}", content[:-1] + b"\x01")
            assert len(await file.read()) == size
            with pytest.raises(CorruptFileError):
                await file.verify()
            # The storage itself knows it of files of one part.
            error = CorruptFileError if size < PART_SIZE else ChecksumUnknownError
            with pytest.raises(error):
                await read(storage, file.name, verify=True)
