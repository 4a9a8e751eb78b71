"""Every backend keeps every promise."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastapi_async_storages import FileInfo, LocalStorage, MemoryStorage, S3Storage
from fastapi_async_storages.backends._s3_parts import MIN_PART_SIZE
from fastapi_async_storages.testing.contract import StorageContract, check_storage
from tests.backends.conftest import MakeS3Storage


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage()


class TestLocalStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> LocalStorage:
        return LocalStorage(tmp_path / "root")


class TestS3Storage(StorageContract):
    @pytest.fixture
    def storage(self, make_s3_storage: MakeS3Storage) -> S3Storage:
        return make_s3_storage(part_size=MIN_PART_SIZE)


class TestS3StorageOnObstore(StorageContract):
    @pytest.fixture
    def engine(self) -> str:
        return "obstore"

    @pytest.fixture
    def storage(self, make_s3_storage: MakeS3Storage) -> S3Storage:
        return make_s3_storage(part_size=MIN_PART_SIZE)


@pytest.mark.anyio
async def test_check_storage_runs_the_same_checks() -> None:
    await check_storage(MemoryStorage())


class Forgetful(MemoryStorage):
    """Lists files that it has forgotten, and forgets one that it has."""

    async def _list(self, prefix: str) -> AsyncIterator[FileInfo]:
        async for info in super()._list(prefix):
            if not info.name.endswith("/a/x"):
                yield info


@pytest.mark.anyio
async def test_check_storage_says_which_promise_is_broken() -> None:
    with pytest.RaisesGroup(*[AssertionError] * 3) as raised:
        await check_storage(Forgetful())
    notes = [error.__notes__[0] for error in raised.value.exceptions]
    assert [note.split("'")[1] for note in notes] == [
        "list_is_complete_and_in_order",
        "list_keeps_to_the_boundary_of_a_prefix",
        "list_finds_files_by_the_start_of_their_names",
    ]
