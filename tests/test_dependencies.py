import json
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, WebSocket
from httpx import ASGITransport, AsyncClient
from websockets.asyncio.client import connect

from fastapi_async_storages import LocalStorage, MemoryStorage, S3Storage, Storage, Storages
from fastapi_async_storages.dependencies import StorageDep, get_storage, named_storage
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client
from tests.servers.http_server import serve

pytestmark = pytest.mark.anyio

SECRET = "a-secret-that-nobody-may-see-in-an-answer"

AvatarsDep = Annotated[Storage, Depends(named_storage("avatars"))]


def make_app(storages: Storages | None) -> FastAPI:
    app = FastAPI(lifespan=storage_lifespan(storages) if storages else None)

    @app.get("/default/{name}")
    async def read_default(name: str, storage: StorageDep) -> bool:
        return await storage.exists(name)

    @app.get("/avatars/{name}")
    async def read_avatars(name: str, storage: AvatarsDep) -> bool:
        return await storage.exists(name)

    @app.websocket("/ws")
    async def talk(websocket: WebSocket, storage: StorageDep, avatars: AvatarsDep) -> None:
        await websocket.accept()
        await websocket.send_json([await storage.exists("x"), await avatars.exists("x")])
        await websocket.close()

    return app


@pytest.fixture
async def storages() -> Storages:
    storages = Storages(MemoryStorage(), avatars=MemoryStorage())
    await storages.default.upload(b"x", "document")
    await storages["avatars"].upload(b"x", "avatar")
    return storages


async def test_endpoints_get_the_storage_that_they_name(storages: Storages) -> None:
    async with open_client(make_app(storages)) as client:
        found = {
            path: (await client.get(path)).json()
            for path in ("/default/document", "/default/avatar", "/avatars/avatar")
        }
    assert found == {"/default/document": True, "/default/avatar": False, "/avatars/avatar": True}


async def test_websockets_get_them_too() -> None:
    with serve(make_app(Storages(MemoryStorage(), avatars=MemoryStorage()))) as url:
        async with connect(url.replace("http", "ws", 1) + "/ws") as websocket:
            assert json.loads(await websocket.recv()) == [False, False]


def test_one_name_is_one_object() -> None:
    assert named_storage("avatars") is named_storage("avatars")
    assert named_storage("avatars") is not named_storage("other")
    assert named_storage("default") is get_storage


async def test_tests_can_override_them(storages: Storages) -> None:
    app = make_app(None)
    app.dependency_overrides[get_storage] = lambda: storages.default
    app.dependency_overrides[named_storage("avatars")] = lambda: storages["avatars"]
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/default/document")).json() is True
        assert (await client.get("/avatars/avatar")).json() is True


async def test_an_app_whose_lifespan_did_not_run_says_what_to_do(storages: Storages) -> None:
    transport = ASGITransport(make_app(storages))
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        with pytest.raises(ConfigurationError, match=r"storage_lifespan.*ASGITransport"):
            await client.get("/default/document")


async def test_a_storage_that_is_not_there_is_named_with_those_that_are() -> None:
    async with open_client(make_app(Storages(MemoryStorage(), photos=MemoryStorage()))) as client:
        with pytest.raises(ConfigurationError, match=r"'avatars'.*default, photos"):
            await client.get("/avatars/x")


@pytest.mark.parametrize("backend", ["memory", "local", "s3"])
@pytest.mark.parametrize("nested", [False, True])
async def test_an_endpoint_that_returns_its_storage_tells_no_secret(
    backend: str, nested: bool, tmp_path: Path
) -> None:
    storage: Storage
    if backend == "s3":
        storage = S3Storage(
            "bucket",
            region_name="us-east-1",
            aws_access_key_id=SECRET,
            aws_secret_access_key=SECRET,
        )
    elif backend == "local":
        storage = LocalStorage(tmp_path, base_url="/files", secret_key=SECRET)
    else:
        storage = MemoryStorage(base_url="/files", secret_key=SECRET)
    app = FastAPI()

    @app.get("/storage")
    def read_storage():  # type: ignore[no-untyped-def]
        return {"files": [storage]} if nested else storage

    async with open_client(app) as client:
        with pytest.raises(ValueError, match="is no data that can be returned") as caught:
            await client.get("/storage")
    assert SECRET not in str(caught.value)

    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/storage")
    assert answer.status_code == 500
    assert SECRET not in answer.text
