"""What an endpoint asks for: a storage of the app.

    @app.get("/documents/{name}")
    async def read(name: str, storage: StorageDep) -> ...

Tests put another storage in its place with ``app.dependency_overrides[get_storage]``, or with
``app.dependency_overrides[named_storage("avatars")]``.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Annotated, TypeAlias

from fastapi import Depends
from starlette.requests import HTTPConnection

from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.lifespan import STATE_KEY
from fastapi_async_storages.registry import DEFAULT, Storages
from fastapi_async_storages.storage import Storage

__all__ = ["StorageDep", "get_storage", "named_storage"]

StorageDependency: TypeAlias = Callable[[HTTPConnection], Awaitable[Storage]]


# A coroutine function although it awaits nothing: FastAPI would run a plain one in a thread.
async def get_storage(connection: HTTPConnection) -> Storage:
    """Return the default storage of the app. A dependency, for HTTP and WebSocket endpoints.

    Raises:
        ConfigurationError: When the app's lifespan did not open the storages.
    """
    return _get_storages(connection).default


@cache
def named_storage(name: str) -> StorageDependency:
    """Return the dependency for one storage of the app, always the same object for one name.

    Use it as ``Annotated[Storage, Depends(named_storage("avatars"))]``.

    Args:
        name: Which storage, as in ``Storages(default=..., avatars=...)``.
    """
    if name == DEFAULT:
        return get_storage

    async def get_named_storage(connection: HTTPConnection) -> Storage:
        return _get_storages(connection)[name]

    return get_named_storage


StorageDep: TypeAlias = Annotated[Storage, Depends(get_storage)]
"""The default storage of the app, as the type of an endpoint's parameter."""


def _get_storages(connection: HTTPConnection) -> Storages:
    storages = connection.scope.get("state", {}).get(STATE_KEY)
    if not isinstance(storages, Storages):
        raise ConfigurationError(
            "This app has no open storages: its lifespan did not run, or is not"
            " FastAPI(lifespan=storage_lifespan(storages)). In tests, TestClient runs the lifespan"
            " when used as a context manager; httpx's ASGITransport never does, so wrap the app in"
            " asgi-lifespan's LifespanManager and pass its .app, or set"
            " app.dependency_overrides[get_storage]."
        )
    return storages
