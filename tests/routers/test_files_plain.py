"""Requests without a query take a shorter way, on which nothing may be different or left out."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request

from fastapi_async_storages import (
    MemoryStorage,
    Storages,
    create_files_router,
    get_storage,
    named_storage,
    public,
)
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client

pytestmark = pytest.mark.anyio

NAMES = [
    "page.html",
    "deep/er/photo.png",
    "żółć 日本語.txt",
    "a//b",
    "none.txt",
    "a/../b",
    "pending/x",
]

PLAIN = "/files/a.txt"
WITH_QUERY = "/files/a.txt?unknown=1"


@pytest.fixture
async def storage() -> AsyncIterator[MemoryStorage]:
    """A storage with some of :data:`NAMES`."""
    async with MemoryStorage() as storage:
        for name in ("a.txt", "page.html", "deep/er/photo.png", "żółć 日本語.txt", "a/b"):
            await storage.upload(b"0123456789", name)
        yield storage


def make_app(storage: MemoryStorage) -> FastAPI:
    """An app that is opened with the storage; it has no routes."""
    return FastAPI(lifespan=storage_lifespan(storage))


async def refuse() -> None:
    """Let nobody in. A dependency."""
    raise HTTPException(401, "Who are you?")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", NAMES)
async def test_the_answer_is_the_one_to_a_request_with_a_query(
    storage: MemoryStorage, method: str, name: str
) -> None:
    app = make_app(storage)
    app.include_router(create_files_router(access=public), prefix="/files")
    async with open_client(app) as client:
        plain = await client.request(method, f"/files/{quote(name)}")
        other = await client.request(method, f"/files/{quote(name)}?unknown=1")
    assert (plain.status_code, plain.content) == (other.status_code, other.content)
    assert dict(plain.headers) == dict(other.headers)


@pytest.mark.parametrize("request_headers", [{"range": "bytes=2-4"}, {"if-none-match": "*"}])
async def test_conditions_and_ranges_hold(
    storage: MemoryStorage, request_headers: dict[str, str]
) -> None:
    app = make_app(storage)
    app.include_router(create_files_router(access=public), prefix="/files")
    async with open_client(app) as client:
        plain = await client.get(PLAIN, headers=request_headers)
        other = await client.get(WITH_QUERY, headers=request_headers)
    assert plain.status_code in (206, 304)
    assert (plain.status_code, plain.content) == (other.status_code, other.content)


@pytest.mark.parametrize("target", [PLAIN, WITH_QUERY])
class TestDependencies:
    """What an app adds to the router runs for every request."""

    async def test_of_the_included_router(self, storage: MemoryStorage, target: str) -> None:
        app = make_app(storage)
        app.include_router(
            create_files_router(access=public), prefix="/files", dependencies=[Depends(refuse)]
        )
        async with open_client(app) as client:
            assert (await client.get(target)).status_code == 401

    async def test_of_a_router_around_it(self, storage: MemoryStorage, target: str) -> None:
        app = make_app(storage)
        around = APIRouter(dependencies=[Depends(refuse)])
        around.include_router(create_files_router(access=public), prefix="/files")
        app.include_router(around)
        async with open_client(app) as client:
            assert (await client.get(target)).status_code == 401

    async def test_of_the_app(self, storage: MemoryStorage, target: str) -> None:
        app = FastAPI(lifespan=storage_lifespan(storage), dependencies=[Depends(refuse)])
        app.include_router(create_files_router(access=public), prefix="/files")
        async with open_client(app) as client:
            assert (await client.get(target)).status_code == 401


@pytest.mark.parametrize("target", [PLAIN, WITH_QUERY])
class TestOverrides:
    """Tests of an app put another storage in the place of its own."""

    async def test_of_the_default_storage(self, storage: MemoryStorage, target: str) -> None:
        app = make_app(MemoryStorage())
        app.include_router(create_files_router(access=public), prefix="/files")
        app.dependency_overrides[get_storage] = lambda: storage
        async with open_client(app) as client:
            assert (await client.get(target)).content == b"0123456789"

    async def test_of_a_named_one_by_what_has_parameters(
        self, storage: MemoryStorage, target: str
    ) -> None:
        async def choose(request: Request, unknown: str = "0") -> MemoryStorage:
            return storage if request.url.query == f"unknown={unknown}" * int(unknown) else other

        other = MemoryStorage()
        app = FastAPI(lifespan=storage_lifespan(Storages(default=other, avatars=other)))
        app.include_router(create_files_router(access=public, storage="avatars"), prefix="/files")
        app.dependency_overrides[named_storage("avatars")] = choose
        async with open_client(app) as client:
            assert (await client.get(target)).content == b"0123456789"

    async def test_of_the_app_that_is_mounted(self, storage: MemoryStorage, target: str) -> None:
        inner = FastAPI()
        inner.include_router(create_files_router(access=public), prefix="/files")
        inner.dependency_overrides[get_storage] = lambda: storage
        app = make_app(MemoryStorage())
        app.mount("/inner", inner)
        async with open_client(app) as client:
            assert (await client.get(f"/inner{target}")).content == b"0123456789"


async def test_the_schema_has_each_operation_once(storage: MemoryStorage) -> None:
    app = make_app(storage)
    app.include_router(create_files_router(access=public), prefix="/files")
    paths = app.openapi()["paths"]
    assert list(paths) == ["/files/{name}"]
    assert [parameter["name"] for parameter in paths["/files/{name}"]["get"]["parameters"]] == [
        "name",
        "download",
        "filename",
    ]


async def test_the_route_has_its_name(storage: MemoryStorage) -> None:
    app = make_app(storage)

    @app.get("/where")
    async def tell(request: Request) -> str:
        return str(request.url_for("files:default", name="a.txt"))

    app.include_router(create_files_router(access=public), prefix="/files")
    async with open_client(app) as client:
        url = (await client.get("/where")).json()
        assert (await client.get(url)).content == b"0123456789"


async def test_other_methods_are_refused(storage: MemoryStorage) -> None:
    app = make_app(storage)
    app.include_router(create_files_router(access=public), prefix="/files")
    async with open_client(app) as client:
        plain = await client.put(PLAIN)
        other = await client.put(WITH_QUERY)
    assert plain.status_code == other.status_code == 405
    assert plain.headers["allow"] == other.headers["allow"]
