"""The fixtures that come with the package, and that they come without being asked for."""

import sys
from pathlib import Path
from textwrap import dedent
from typing import Annotated

import anyio
import pytest
from fastapi import APIRouter, Depends, FastAPI, UploadFile
from httpx import ASGITransport, AsyncClient

from fastapi_async_storages import MemoryStorage, StorageDep, save_upload
from fastapi_async_storages.dependencies import get_storage
from tests.asgi import open_client

pytestmark = pytest.mark.anyio

router = APIRouter()


@router.post("/documents")
async def create_document(file: UploadFile, storage: StorageDep) -> str:
    return await (await save_upload(file, storage)).get_path()


async def test_a_router_works_on_the_memory_storage_without_a_lifespan(
    storage_app: FastAPI, memory_storage: MemoryStorage
) -> None:
    storage_app.include_router(router)
    async with AsyncClient(transport=ASGITransport(storage_app), base_url="http://test") as client:
        await check_round_trip(client)
    assert len([info async for info in memory_storage.list()]) == 1


async def test_a_router_works_on_the_memory_storage_with_a_lifespan(
    storage_app: FastAPI, memory_storage: MemoryStorage
) -> None:
    storage_app.include_router(router)
    async with open_client(storage_app) as client:
        await check_round_trip(client)
        assert len([info async for info in memory_storage.list()]) == 1


async def check_round_trip(client: AsyncClient) -> None:
    created = await client.post("/documents", files={"file": ("a.txt", b"content")})
    url = created.json()
    assert (await client.get(url)).content == b"content"
    missing = await client.get(url.replace(".txt", ".png"))
    assert missing.headers["content-type"] == "application/problem+json"
    assert (await client.get(url.partition("?")[0])).status_code == 403


async def test_a_test_may_put_another_storage_in_its_place(storage_app: FastAPI) -> None:
    other = MemoryStorage()

    async def get_other() -> MemoryStorage:
        return other

    @storage_app.get("/names")
    async def list_names(storage: Annotated[MemoryStorage, Depends(get_storage)]) -> list[str]:
        return [info.name async for info in storage.list()]

    storage_app.dependency_overrides[get_storage] = get_other
    await other.upload(b"", "a.txt")
    async with open_client(storage_app) as client:
        assert (await client.get("/names")).json() == ["a.txt"]


async def test_any_project_has_the_fixtures_and_pays_little_for_them(tmp_path: Path) -> None:
    (tmp_path / "test_project.py").write_text(
        dedent("""
            import asyncio, sys

            def test_nothing_is_loaded_before_it_is_asked_for():
                loaded = [name for name in sys.modules if name.startswith("fastapi")]
                plugin = "fastapi_async_storages.pytest_plugin"
                assert sorted(loaded) == ["fastapi_async_storages", plugin]

            def test_fixtures(memory_storage, storage_app):
                asyncio.run(memory_storage.upload(b"1", "a.txt"))
                assert storage_app.title
        """)
    )
    # Schemathesis has a plugin too, which loads a lot.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:schemathesis"]
    done = await anyio.run_process(command, cwd=tmp_path, check=False)
    assert b"2 passed" in done.stdout, done.stdout.decode() + done.stderr.decode()
