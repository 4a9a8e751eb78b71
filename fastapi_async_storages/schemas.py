"""What an API answers with about files, with the URLs that Pydantic cannot wait for."""

from collections.abc import Iterable
from datetime import timedelta
from typing import overload

from pydantic import BaseModel, Field
from starlette.requests import Request

from fastapi_async_storages.completion import run_together
from fastapi_async_storages.dispositions import Disposition
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.routers.urls import file_url

__all__ = ["FileOut", "file_out", "files_out"]


class FileOut(BaseModel):
    """A stored file and where to get it. What is not known about it is null."""

    name: str = Field(description="Name in the storage.")
    filename: str | None = Field(description="Name that its uploader gave it.")
    size: int | None = Field(description="Size in bytes.", ge=0)
    content_type: str | None = Field(description="Media type.")
    width: int | None = Field(description="Width in pixels, of an image.", ge=0)
    height: int | None = Field(description="Height in pixels, of an image.", ge=0)
    url: str = Field(description="Where to get it, for a limited time if it is signed.")


@overload
async def file_out(
    file: StorageFile,
    *,
    request: Request | None = None,
    expires_in: int | timedelta | None = None,
    filename: str | None = None,
    disposition: Disposition | None = None,
) -> FileOut: ...


@overload
async def file_out(
    file: StorageFile | None,
    *,
    request: Request | None = None,
    expires_in: int | timedelta | None = None,
    filename: str | None = None,
    disposition: Disposition | None = None,
) -> FileOut | None: ...


async def file_out(
    file: StorageFile | None,
    *,
    request: Request | None = None,
    expires_in: int | timedelta | None = None,
    filename: str | None = None,
    disposition: Disposition | None = None,
) -> FileOut | None:
    """Describe a file, with its URL.

    The storage is not asked: the answer has what the handle knows. That of a new upload, and that
    of an ``AttachmentType`` column, knows all; that of a ``FileType`` column only the name, until
    ``await file.get_info()``.

    Args:
        file: Which file; ``None``, as a nullable column has it, stays ``None``.
        request: The request that is being answered. With it the URL is that of :func:`file_url`:
            absolute, and of the app's files router. Without it, it is ``file.get_path()``.
        expires_in: Seconds that a signed URL works; an hour when not given.
        filename: Name under which a browser saves the file.
        disposition: Whether a browser shows the file or saves it.

    Raises:
        ConfigurationError: When there is no URL of the file.
    """
    if file is None:
        return None
    if request is None:
        url = await file.get_path(expires_in=expires_in, filename=filename, disposition=disposition)
    else:
        url = await file_url(
            request, file, expires_in=expires_in, filename=filename, disposition=disposition
        )
    return FileOut.model_validate({**dict(file), "url": url})


async def files_out(
    files: Iterable[StorageFile],
    *,
    request: Request | None = None,
    expires_in: int | timedelta | None = None,
    disposition: Disposition | None = None,
) -> list[FileOut]:
    """Describe files, with their URLs, which are made all at a time.

    Args:
        files: Which files.
        request: See :func:`file_out`, as for all that follow.
        expires_in: Seconds that signed URLs work.
        disposition: Whether a browser shows the files or saves them.

    Returns:
        One description for each file, in their order.

    Raises:
        ConfigurationError: When there is no URL of a file.
    """
    described: dict[int, FileOut] = {}

    async def describe(index: int, file: StorageFile) -> None:
        described[index] = await file_out(
            file, request=request, expires_in=expires_in, disposition=disposition
        )

    await run_together(describe(index, file) for index, file in enumerate(files))
    return [described[index] for index in range(len(described))]
