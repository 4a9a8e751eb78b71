"""Forms whose files are stored while they arrive, as dependencies of an endpoint.

    @app.post("/videos")
    async def create(video: Annotated[StorageFile, StreamedUpload("video")]) -> ...

The files are in the storage when the endpoint runs, and gone again when it raises.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Annotated, Any

from fastapi import Depends
from pydantic import BaseModel
from starlette.requests import Request

from fastapi_async_storages.dependencies import named_storage
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.registry import DEFAULT
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.uploads.bodies import Progress
from fastapi_async_storages.uploads.forms import UploadForm
from fastapi_async_storages.uploads.multipart import FormLimits
from fastapi_async_storages.uploads.rules import UploadRules
from fastapi_async_storages.uploads.streaming import UploadedForm, store_form

__all__ = ["StreamedForm", "StreamedUpload"]


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
