"""What an endpoint asks for: a storage of the app, files that arrive, or one that is there.

    @app.get("/documents/{name}")
    async def read(name: str, storage: StorageDep) -> ...

    @app.post("/videos")
    async def create(video: Annotated[StorageFile, StreamedUpload("video")]) -> ...

    @app.post("/covers")
    async def choose(
        cover: CoverIn, file: Annotated[StorageFile, NamedFile(get_name, access=is_owner)]
    ) -> ...

Tests put another storage in its place with ``app.dependency_overrides[get_storage]``, or with
``app.dependency_overrides[named_storage("avatars")]``.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from functools import cache
from typing import Annotated, Any, TypeAlias

from fastapi import Depends
from pydantic import BaseModel
from starlette.requests import HTTPConnection, Request

from fastapi_async_storages.exceptions import ConfigurationError, NotFoundError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.http.access import AccessRule, make_access_dependency
from fastapi_async_storages.lifespan import STATE_KEY
from fastapi_async_storages.openapi import Refusals
from fastapi_async_storages.registry import DEFAULT, Storages
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.uploads.bodies import Progress
from fastapi_async_storages.uploads.forms import UploadForm
from fastapi_async_storages.uploads.multipart import FormLimits
from fastapi_async_storages.uploads.pending_names import is_pending
from fastapi_async_storages.uploads.rules import UploadRules
from fastapi_async_storages.uploads.streaming import UploadedForm, store_form

__all__ = [
    "NamedFile",
    "StorageDep",
    "StreamedForm",
    "StreamedUpload",
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


def StreamedForm(  # noqa: N802
    files: Mapping[str, UploadRules | None],
    *,
    optional: Collection[str] = (),
    fields: type[BaseModel] | None = None,
    storage: str | None = None,
    prefix: str = "",
    cache_control: str | None = None,
    progress: Progress | None = None,
    limits: FormLimits | None = None,
) -> Any:
    """Declare a form whose files are stored while they arrive, as a dependency of an endpoint.

    ::

        @app.post("/videos")
        async def create(
            form: Annotated[
                UploadedForm[VideoIn],
                StreamedForm({"video": video_rules, "poster": image_rules}, fields=VideoIn),
            ],
        ) -> VideoOut: ...

    The form is on its way into the storage before the endpoint runs: there is no temporary file,
    and no more of it in memory than the storage sends at a time. When the endpoint raises, or a
    later dependency, or the response does not validate, the files are deleted again before the
    answer is sent; but for those that a tracked SQLAlchemy flush has taken over.

    FastAPI runs dependencies in their order, and before it looks at path and query. So what decides
    who may upload goes first: into ``dependencies=[...]`` of the route, or before this parameter.
    The log says so at the start of an app whose security scheme comes later.

    Args:
        files: The rules of each file, by the names of their parts; ``None`` allows every file.
        optional: Names of the files that may be missing.
        fields: Model of the other fields, before or after the files. What it does not know is
            ignored, unless its config says ``extra="forbid"``.
        storage: Which storage of the app; the default one when not given.
        prefix: Folder-like prefix of the stored names.
        cache_control: ``Cache-Control`` for the readers of the files.
        progress: Is awaited with the bytes of the body so far, and all that will come or ``None``.
            It serves all requests; a context variable that an earlier dependency sets tells which.
        limits: How much the form may hold beside its files.

    Raises:
        ConfigurationError: When no request could have such a form.
    """
    form = UploadForm(
        files,
        optional=optional,
        fields=fields,
        prefix=prefix,
        cache_control=cache_control,
        progress=progress,
        limits=limits,
    )
    storage_dependency = named_storage(DEFAULT if storage is None else storage)

    async def get_form(
        request: Request,
        _: Annotated[None, Depends(form)],
        storage: Annotated[Storage, Depends(storage_dependency)],
    ) -> AsyncIterator[UploadedForm[Any]]:
        async with store_form(form, request, storage) as uploaded:
            yield uploaded

    # This scope ends before the answer is sent, and what the endpoint raised is raised in it.
    return Depends(get_form, scope="function")


def StreamedUpload(  # noqa: N802
    name: str,
    *,
    rules: UploadRules | None = None,
    required: bool = True,
    storage: str | None = None,
    prefix: str = "",
    cache_control: str | None = None,
    progress: Progress | None = None,
    limits: FormLimits | None = None,
) -> Any:
    """Declare a file that is stored while it arrives, as a dependency of an endpoint.

    ::

        rules = UploadRules(max_size="2GiB", types=["video/*"])

        @app.post("/videos")
        async def create(video: Annotated[StorageFile, StreamedUpload("video", rules=rules)]): ...

    This is :func:`StreamedForm` with one file, and all that is said there holds. The body may also
    be the file itself: of a ``PUT`` with any type, or with a type that HTML forms do not send, such
    as ``application/octet-stream``. Its name comes from ``Content-Disposition: attachment;
    filename="..."``, if the client sends that.

    Args:
        name: Name of the part with the file.
        rules: What is allowed; everything when not given.
        required: Whether the file must be there; the endpoint gets ``None`` when it need not and
            is not.
        storage: Which storage of the app; the default one when not given.
        prefix: Folder-like prefix of the stored name.
        cache_control: ``Cache-Control`` for the readers of the file.
        progress: Is awaited with the bytes of the body so far, and all that will come or ``None``.
        limits: How much the form may hold beside the file.
    """
    form_dependency = StreamedForm(
        {name: rules},
        optional=() if required else (name,),
        storage=storage,
        prefix=prefix,
        cache_control=cache_control,
        progress=progress,
        limits=limits,
    )

    async def get_file(form: Annotated[UploadedForm[None], form_dependency]) -> StorageFile | None:
        return form.files.get(name)

    return Depends(get_file)


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
