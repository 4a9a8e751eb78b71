from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request

from fastapi_async_storages import MemoryStorage, Storages
from fastapi_async_storages.exceptions import (
    BackendUnavailableError,
    ConfigurationError,
    StorageClosedError,
)
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client
from tests.servers.http_server import SERVERS, ServerName, serve

pytestmark = pytest.mark.anyio


class UnreachableStorage(MemoryStorage):
    """A storage whose server is down, found out when it is opened or when it is checked."""

    def __init__(self, *, opens: bool) -> None:
        super().__init__()
        self.opens = opens

    @asynccontextmanager
    async def _open_client(self) -> AsyncIterator[None]:
        if not self.opens:
            raise BackendUnavailableError("The server is down.")
        yield

    async def _check(self) -> None:
        raise BackendUnavailableError("The server is down.")


def make_app(lifespan: Any) -> FastAPI:
    app = FastAPI(lifespan=lifespan)

    @app.get("/state")
    async def show_state(request: Request) -> dict[str, list[str]]:
        return {"state": sorted(request.scope["state"]), "names": list(request.state.storages)}

    return app


async def is_closed(storage: MemoryStorage) -> bool:
    try:
        await storage.exists("x")
    except StorageClosedError:
        return True
    return False


async def test_storages_are_open_while_the_app_runs_and_closed_after_it() -> None:
    storages = Storages(MemoryStorage(), avatars=MemoryStorage())
    async with open_client(make_app(storage_lifespan(storages))) as client:
        assert (await client.get("/state")).json() == {
            "state": ["storages"],
            "names": ["default", "avatars"],
        }
        assert not await storages.default.exists("x")
    for name in storages:
        with pytest.raises(StorageClosedError):
            await storages[name].exists("x")


async def test_a_single_storage_is_the_default_one() -> None:
    storage = MemoryStorage()
    async with storage_lifespan(storage)(FastAPI()) as state:
        assert state["storages"].default is storage


async def test_an_app_can_be_started_twice_in_turn() -> None:
    storage = MemoryStorage()
    app = make_app(storage_lifespan(storage))
    for _ in range(2):
        async with open_client(app) as client:
            assert (await client.get("/state")).status_code == 200
            assert not await is_closed(storage)
        assert await is_closed(storage)


async def test_the_apps_own_lifespan_runs_inside_and_its_state_is_merged() -> None:
    storage = MemoryStorage()
    events: list[Any] = []

    @asynccontextmanager
    async def inner(app: FastAPI) -> AsyncIterator[dict[str, int]]:
        events.append(app)
        yield {"answer": 42}
        events.append(await is_closed(storage))

    app = make_app(storage_lifespan(storage, inner))
    async with open_client(app) as client:
        assert (await client.get("/state")).json()["state"] == ["answer", "storages"]
    assert events == [app, False]


async def test_the_apps_own_lifespan_may_have_no_state() -> None:
    @asynccontextmanager
    async def inner(app: FastAPI) -> AsyncIterator[None]:
        yield

    async with storage_lifespan(MemoryStorage(), inner)(FastAPI()) as state:
        assert list(state) == ["storages"]


async def test_it_can_be_used_inside_an_own_lifespan() -> None:
    storage = MemoryStorage()

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with storage_lifespan(storage)(app) as state:
            yield {"answer": 42, **state}

    async with open_client(make_app(own)) as client:
        assert (await client.get("/state")).json()["state"] == ["answer", "storages"]
    assert await is_closed(storage)


async def test_a_router_with_a_lifespan_of_its_own_adds_its_state() -> None:
    @asynccontextmanager
    async def of_router(app: Any) -> AsyncIterator[dict[str, int]]:
        yield {"answer": 42}

    app = make_app(storage_lifespan(MemoryStorage()))
    app.include_router(APIRouter(lifespan=of_router))
    async with open_client(app) as client:
        assert (await client.get("/state")).json()["state"] == ["answer", "storages"]


async def test_a_mounted_app_sees_the_storages_of_the_outer_one() -> None:
    outer = FastAPI(lifespan=storage_lifespan(MemoryStorage()))
    outer.mount("/inner", make_app(None))
    async with open_client(outer) as client:
        assert (await client.get("/inner/state")).json()["names"] == ["default"]


@pytest.mark.parametrize("opens", [False, True])
async def test_a_failing_start_closes_what_was_opened(opens: bool) -> None:
    storages = Storages(MemoryStorage(), down=UnreachableStorage(opens=opens))
    with pytest.raises(BackendUnavailableError, match="down"):
        async with storage_lifespan(storages, check=True)(FastAPI()):
            pytest.fail("The app has started.")
    with pytest.raises(StorageClosedError):
        await storages.default.exists("x")


async def test_without_a_check_the_app_starts_while_a_server_is_down() -> None:
    async with storage_lifespan(UnreachableStorage(opens=True))(FastAPI()) as state:
        assert state


async def test_a_failing_start_of_the_apps_own_lifespan_closes_the_storages() -> None:
    storage = MemoryStorage()

    @asynccontextmanager
    async def inner(app: FastAPI) -> AsyncIterator[None]:
        if app.title != "configured":
            raise LookupError("no settings")
        yield

    with pytest.raises(LookupError):
        async with storage_lifespan(storage, inner)(FastAPI()):
            pytest.fail("The app has started.")
    assert await is_closed(storage)


async def test_state_of_the_same_name_is_refused() -> None:
    @asynccontextmanager
    async def inner(app: FastAPI) -> AsyncIterator[dict[str, int]]:
        yield {"storages": 1}

    with pytest.raises(ConfigurationError, match="'storages'"):
        async with storage_lifespan(MemoryStorage(), inner)(FastAPI()):
            pytest.fail("The app has started.")


def test_a_bare_generator_is_refused() -> None:
    async def inner(app: FastAPI) -> AsyncIterator[None]:
        yield

    def sync_inner(app: FastAPI) -> Iterator[None]:
        yield

    for lifespan in (inner, sync_inner):
        with pytest.raises(ConfigurationError, match="asynccontextmanager"):
            storage_lifespan(MemoryStorage(), lifespan)  # type: ignore[arg-type]


@pytest.mark.parametrize("server", SERVERS)
def test_real_servers_hand_the_state_to_requests(server: ServerName) -> None:
    with serve(make_app(storage_lifespan(MemoryStorage())), server=server) as url:
        assert httpx.get(f"{url}/state").json()["names"] == ["default"]
