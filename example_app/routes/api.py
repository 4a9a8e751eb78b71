"""The JSON API."""

import asyncio
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, HTTPException, Path, UploadFile, status

from example_app import gallery
from example_app.database import SessionDep
from example_app.models import Document, Photo
from example_app.schemas import DocumentOut, PhotoOut, describe_photos
from fastapi_async_storages import StorageDep
from fastapi_async_storages.http.problems import problem_responses

router = APIRouter(prefix="/api", tags=["gallery"])

Row = TypeVar("Row", Document, Photo)

RowId = Annotated[int, Path(ge=1, le=2**31 - 1)]
"""The id of a row. Databases refuse larger numbers, and not all in the same way.

Source: PostgreSQL documentation, "Numeric Types": integer.
"""

NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such row"}}


@router.get("/documents")
async def list_documents(session: SessionDep) -> list[DocumentOut]:
    """List the documents, the newest first."""
    documents = await gallery.list_rows(Document, session)
    return await asyncio.gather(*map(DocumentOut.of, documents))


@router.post(
    "/documents",
    status_code=status.HTTP_201_CREATED,
    responses=problem_responses(400, 413, 415, 422, 502, 503),
)
async def create_document(
    file: UploadFile, session: SessionDep, storage: StorageDep
) -> DocumentOut:
    """Upload a document of at most 50 MiB."""
    return await DocumentOut.of(await gallery.add_document(file, session, storage))


@router.delete(
    "/documents/{document_id}", status_code=status.HTTP_204_NO_CONTENT, responses=NOT_FOUND
)
async def delete_document(document_id: RowId, session: SessionDep) -> None:
    """Delete a document and its file."""
    await gallery.remove(await find(Document, document_id, session), session)


@router.get("/photos")
async def list_photos(session: SessionDep) -> list[PhotoOut]:
    """List the photos, the newest first."""
    return await describe_photos(await gallery.list_rows(Photo, session))


@router.post(
    "/photos",
    status_code=status.HTTP_201_CREATED,
    responses=problem_responses(400, 413, 415, 422, 502, 503),
)
async def create_photo(file: UploadFile, session: SessionDep, storage: StorageDep) -> PhotoOut:
    """Upload a photo (JPEG, PNG, WebP or GIF) of at most 20 MiB."""
    return await PhotoOut.of(await gallery.add_photo(file, session, storage))


@router.delete("/photos/{photo_id}", status_code=status.HTTP_204_NO_CONTENT, responses=NOT_FOUND)
async def delete_photo(photo_id: RowId, session: SessionDep) -> None:
    """Delete a photo and its files."""
    await gallery.remove(await find(Photo, photo_id, session), session)


async def find(model: type[Row], row_id: int, session: SessionDep) -> Row:
    """Return a row, or answer 404."""
    row = await session.get(model, row_id)
    if row is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"There is no {model.__name__} {row_id}.")
    return row
