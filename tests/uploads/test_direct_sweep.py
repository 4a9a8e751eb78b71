"""What nobody completes: deleted by the sweep, and nothing else with it."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from fastapi_async_storages import MemoryStorage, S3Storage, Storage
from fastapi_async_storages.exceptions import PermissionDeniedError, StorageError
from fastapi_async_storages.keys import unique_name
from fastapi_async_storages.uploads.pending_names import is_pending
from fastapi_async_storages.uploads.pending_uploads import sweep_pending
from tests.uploads.front_end import list_names, list_open_parts, run_uploads

pytestmark = pytest.mark.anyio

NOW = timedelta(seconds=-5)
"""Older than in five seconds: everything."""


@pytest.mark.parametrize("threshold", [0, "1MiB"])
async def test_an_abandoned_upload_is_swept(storage: Storage, threshold: int | str) -> None:
    async with run_uploads(storage, multipart_threshold=threshold) as front_end:
        announced, sent, done = [await front_end.plan(b"content") for _ in range(3)]
        for plan in (sent, done):
            await front_end.send(plan, b"content")
        name = (await front_end.complete(done)).json()["name"]
        before = sorted(await list_names(storage)), await list_open_parts(storage)

        assert await sweep_pending(storage) == 0
        assert (sorted(await list_names(storage)), await list_open_parts(storage)) == before

        has_parts = "parts" in announced
        assert await sweep_pending(storage, older_than=NOW) == (2 if has_parts else 1)
        assert await list_names(storage) == [name]
        assert await list_open_parts(storage) == []
        for plan in (announced, sent):
            assert (await front_end.complete(plan)).status_code == 404
        assert await sweep_pending(storage, older_than=NOW) == 0


async def test_only_pending_uploads_are_swept(storage: Storage) -> None:
    unique = unique_name()
    others = [
        unique,
        f"pending/{unique}.txt",
        f"pending/own/{unique}",
        "pending/report",
        f"documents/pending/{unique}",
        f"pendings/{unique}",
    ]
    for name in [*others, f"pending/{unique}"]:
        await storage.upload(b"content", name)
    assert await sweep_pending(storage, older_than=NOW) == 1
    assert sorted(await list_names(storage)) == sorted(others)


async def test_more_than_one_batch_is_swept(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi_async_storages.uploads.pending_uploads._BATCH_SIZE", 3)
    for _ in range(7):
        await storage.upload(b"content", f"pending/{unique_name()}")
    assert await sweep_pending(storage, older_than=NOW) == 7
    assert await list_names(storage) == []


async def test_uploads_outside_of_pending_keep_their_parts(storage: Storage) -> None:
    if not isinstance(storage, S3Storage):
        pytest.skip("Only S3 takes files in parts.")
    uploads = await storage.presigned_uploads()
    plan = await uploads.sign_parts("videos/a", size=5, content_type="video/mp4", expires_in=60)
    assert await sweep_pending(storage, older_than=NOW) == 0
    assert len(await list_open_parts(storage)) == 1
    await uploads.abort_parts("videos/a", plan.upload_id)


class StubbornStorage(MemoryStorage):
    """A storage in which some files cannot be deleted, as with an object lock on S3."""

    kept: str

    async def _delete_many(self, names: Sequence[str]) -> dict[str, StorageError]:
        await super()._delete_many([name for name in names if name != self.kept])
        return {self.kept: PermissionDeniedError("It is locked.", name=self.kept)}


async def test_what_cannot_be_deleted_is_told_after_all_else_is_gone() -> None:
    storage = StubbornStorage()
    storage.kept, *others = (f"pending/{unique_name()}" for _ in range(5))
    for name in [storage.kept, *others]:
        await storage.upload(b"content", name)
    with pytest.raises(PermissionDeniedError, match="locked"):
        await sweep_pending(storage, older_than=NOW)
    assert await list_names(storage) == [storage.kept]


@pytest.mark.parametrize(
    "name, expected",
    [
        (f"pending/{unique_name()}", True),
        ("pending/", False),
        ("pending", False),
        (f"pending/{UUID(int=0)}", False),
        (f"PENDING/{unique_name()}".upper(), True),
        (f"pending/{unique_name()}/x", False),
    ],
)
def test_a_pending_name_is_known_by_its_form(name: str, *, expected: bool) -> None:
    assert is_pending(name) is expected
