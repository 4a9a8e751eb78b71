"""The page: upload, look, download, delete."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

from fastapi import APIRouter, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from example_app import gallery
from example_app.database import SessionDep
from example_app.models import Document, Photo
from example_app.routes.api import RowId, find
from example_app.schemas import DocumentOut, describe_photos
from fastapi_async_storages import StorageDep
from fastapi_async_storages.exceptions import StorageError
from fastapi_async_storages.http.problems import get_status

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(Path(__file__).parent.parent / "templates")


@router.get("/", response_class=HTMLResponse)
async def show_gallery(request: Request, session: SessionDep) -> Response:
    """Show all documents and photos."""
    return await render(request, session)


@router.post("/documents")
async def upload_document(
    request: Request, file: UploadFile, session: SessionDep, storage: StorageDep
) -> Response:
    """Take a document from the form."""
    return await submit(gallery.add_document(file, session, storage), request, session)


@router.post("/photos")
async def upload_photo(
    request: Request, file: UploadFile, session: SessionDep, storage: StorageDep
) -> Response:
    """Take a photo from the form."""
    return await submit(gallery.add_photo(file, session, storage), request, session)


@router.post("/documents/{document_id}/delete")
async def delete_document_form(
    document_id: RowId, request: Request, session: SessionDep
) -> Response:
    """Delete a document: forms cannot send DELETE."""
    document = await find(Document, document_id, session)
    return await submit(gallery.remove(document, session), request, session)


@router.post("/photos/{photo_id}/delete")
async def delete_photo_form(photo_id: RowId, request: Request, session: SessionDep) -> Response:
    """Delete a photo: forms cannot send DELETE."""
    photo = await find(Photo, photo_id, session)
    return await submit(gallery.remove(photo, session), request, session)


async def submit(work: Awaitable[object], request: Request, session: SessionDep) -> Response:
    """Do what a form asks, then show the gallery again, with the error if there was one."""
    try:
        await work
    except StorageError as error:
        status = get_status(error, method=request.method)
        if status >= 500:
            raise  # The app's problem handler logs it and tells the client nothing more.
        return await render(request, session, message=str(error), status_code=status)
    # See Other: a reload of the page that follows sends no second upload.
    return RedirectResponse("/", status_code=303)


async def render(
    request: Request, session: SessionDep, *, message: str | None = None, status_code: int = 200
) -> Response:
    """Render the gallery."""
    documents = await gallery.list_rows(Document, session)
    photos = await gallery.list_rows(Photo, session)
    return templates.TemplateResponse(
        request,
        "gallery.html",
        {
            "documents": await asyncio.gather(*map(DocumentOut.of, documents)),
            "photos": await describe_photos(photos),
            "message": message,
        },
        status_code=status_code,
    )
