"""Forms whose files go to a storage while they arrive: no temporary file, no copy in memory."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.requests import Request

from fastapi_async_storages.completion import complete
from fastapi_async_storages.exceptions import StorageError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.uploads.bodies import (
    FORM_TYPE,
    URLENCODED_TYPE,
    get_content_length,
    get_filename,
    get_media_type,
    read_body,
)
from fastapi_async_storages.uploads.checking import check_upload
from fastapi_async_storages.uploads.form_fields import body_error
from fastapi_async_storages.uploads.forms import UploadForm
from fastapi_async_storages.uploads.multipart import FormPart, read_parts
from fastapi_async_storages.uploads.save import store_upload

__all__ = ["UploadedForm", "store_form"]

_logger = logging.getLogger("fastapi_async_storages")

FieldsT = TypeVar("FieldsT")


@dataclass(frozen=True, slots=True)
class UploadedForm(Generic[FieldsT]):
    """A form that was received: its files are in the storage.

    Attributes:
        files: Handles on the stored files, by the names of their parts. A file that is optional
            and was not sent is not in it.
        fields: The other fields; ``None`` when the form has no model for them.
    """

    files: Mapping[str, StorageFile]
    fields: FieldsT


@asynccontextmanager
async def store_form(
    form: UploadForm, request: Request, storage: Storage
) -> AsyncIterator[UploadedForm[Any]]:
    """Store the files of a request while they arrive.

    Files that nobody has promised to keep are deleted again when the block raises, as they are when
    something later in the form is refused.

    Args:
        form: Which form the route takes; it has looked at the headers.
        request: The request.
        storage: Where to store the files.

    Yields:
        The form, once its last byte is stored.

    Raises:
        RequestValidationError: When files or fields are missing, doubled or invalid.
        UploadRefusedError: When a file breaks a rule, or the form a limit.
        MalformedBodyError: When the body is no such form, or ends early.
        StorageError: When the storage fails.
    """
    receiver = _FormReceiver(form, request, storage)
    try:
        async with aclosing(read_body(request, form.progress, form.limits.idle_timeout)) as body:
            if get_media_type(request) == FORM_TYPE:
                fields = await receiver.store_parts(body)
            else:
                await receiver.store_raw(body)
                fields = None
        yield UploadedForm(receiver.files, fields)
    except BaseException:
        await complete(_delete_fresh(receiver.files.values()))
        raise


class _FormReceiver:
    """Takes one form, part by part.

    Attributes:
        files: Handles on the files that are stored so far.
    """

    def __init__(self, form: UploadForm, request: Request, storage: Storage) -> None:
        self.files: dict[str, StorageFile] = {}
        self._form = form
        self._request = request
        self._storage = storage

    async def store_raw(self, body: AsyncIterator[bytes]) -> None:
        [name] = self._form.files
        media_type = get_media_type(self._request)
        await self._store(
            name,
            body,
            filename=get_filename(self._request),
            # What curl says when it is told nothing.
            declared_type=None if media_type == URLENCODED_TYPE else media_type,
            size=get_content_length(self._request),
        )

    async def store_parts(self, body: AsyncIterator[bytes]) -> BaseModel | None:
        form, texts = self._form, list[tuple[str, str]]()
        content_type = self._request.headers["content-type"]
        async with aclosing(read_parts(content_type, body, form.limits)) as parts:
            async for part in parts:
                if part.filename is not None:
                    await self._take_file(part)
                elif part.name in form.files:
                    await _check_no_text(part)
                else:
                    texts.append((part.name, await part.read()))
        required = form.files.keys() - form.optional - self.files.keys()
        missing = [body_error("missing", name, "Field required") for name in sorted(required)]
        return form.fields.parse(texts, missing)

    async def _take_file(self, part: FormPart) -> None:
        chunks: AsyncIterator[bytes] = part.chunks
        if not part.filename:
            first = await anext(chunks, None)
            if first is None:
                return  # What a browser sends of an input in which nobody chose a file.
            chunks = _chain(first, chunks)
        if part.name not in self._form.files:
            raise RequestValidationError(
                [body_error("unexpected_file", part.name, "No file of this name is expected")]
            )
        if part.name in self.files:
            raise RequestValidationError(
                [body_error("duplicate_file", part.name, "Only one file of this name is allowed")]
            )
        declared_type = part.headers.get("content-type")
        await self._store(
            part.name, chunks, filename=part.filename, declared_type=declared_type, size=None
        )

    async def _store(
        self,
        name: str,
        chunks: AsyncIterator[bytes],
        *,
        filename: str | None,
        declared_type: str | None,
        size: int | None,
    ) -> None:
        form = self._form
        checked = await check_upload(
            chunks, form.files[name], filename=filename, declared_type=declared_type, size=size
        )
        self.files[name] = await store_upload(
            checked, self._storage, prefix=form.prefix, cache_control=form.cache_control
        )


async def _check_no_text(part: FormPart) -> None:
    if await part.read():
        raise RequestValidationError(
            [body_error("file_expected", part.name, "Input should be a file")]
        )


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield first
    async for chunk in rest:
        yield chunk


async def _delete_fresh(files: Iterable[StorageFile]) -> None:
    for file in files:
        if file._fresh:
            try:
                await file.delete()
            except StorageError as error:
                # What made the request fail is what the client must hear of.
                _logger.warning("%r may be left behind by a failed upload: %s", file, error)
