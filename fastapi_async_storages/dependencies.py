"""What an endpoint asks for: a storage of the app, or a file that is there.

    @app.get("/documents/{name}")
    async def read(name: str, storage: StorageDep) -> ...

    @app.post("/covers")
    async def choose(
        cover: CoverIn, file: Annotated[StorageFile, NamedFile(get_name, access=is_owner)]
    ) -> ...

Tests put another storage in its place with ``app.dependency_overrides[get_storage]``, or with
``app.dependency_overrides[named_storage("avatars")]``.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Annotated, Any, TypeAlias

from fastapi import Depends
from starlette.requests import HTTPConnection

from fastapi_async_storages.exceptions import ConfigurationError, NotFoundError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.http.access import AccessRule, make_access_dependency
from fastapi_async_storages.http.refusals import Refusals
from fastapi_async_storages.lifespan import STATE_KEY
from fastapi_async_storages.registry import DEFAULT, Storages
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.uploads.pending_names import is_pending

__all__ = [
    "NamedFile",
    "StorageDep",
    "get_storage",
    "named_storage",
]

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


def NamedFile(  # noqa: N802
    get_name: Callable[..., Any], *, access: AccessRule, storage: str | None = None
) -> Any:
    """Declare a stored file that a request names, as a dependency of an endpoint.

    ::

        async def get_name(cover: CoverIn) -> str:
            return cover.file

        @app.put("/albums/{album_id}/cover")
        async def choose_cover(
            album_id: int,
            cover: CoverIn,
            file: Annotated[StorageFile, NamedFile(get_name, access=is_owner)],
        ) -> AlbumOut: ...

    The handle knows size and type of the file, which was there just now. Nobody's rollback deletes
    it. What was just uploaded comes by its ticket, not by its name: see
    :meth:`UploadsRouter.completed`.

    FastAPI validates the body for the endpoint as well, and tells an error twice; ask for it by the
    same parameter name in both, such as ``cover``, or there are two bodies.

    The errors are answered as problems by :func:`add_problem_handlers`. A file that is missing, one
    that ``access`` refuses, and one of an upload that nobody has completed, are the same 404; a
    name that no file can have is a 422.

    Args:
        get_name: A FastAPI dependency that returns the name.
        access: Who may use which file; there is no default, so that it is somebody's decision. A
            rule as of :func:`create_files_router`. To use a file can be more than to read it: with
            the last row that names a file, the file is deleted.
        storage: Which storage of the app; the default one when not given.
    """

    async def get_handle(
        name: Annotated[str, Depends(get_name)],
        storage: Annotated[
            Storage, Depends(named_storage(DEFAULT if storage is None else storage))
        ],
    ) -> StorageFile:
        file = StorageFile(storage, name)
        if is_pending(file.name):
            raise NotFoundError(f"{file.name!a} is not verified yet.", name=file.name)
        return file

    async def get_file(
        file: Annotated[StorageFile, Depends(get_handle)],
        _: Annotated[object, Depends(make_access_dependency(access, get_handle, denial="missing"))],
        __: Annotated[None, Depends(Refusals((404, 422)))],
    ) -> StorageFile:
        await file.get_info()
        return file

    return Depends(get_file)


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
