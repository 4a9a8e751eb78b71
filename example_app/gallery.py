"""What the app does with documents and photos, for the pages and the JSON API alike."""

from typing import TypeVar

from fastapi import UploadFile
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.models import Document, Photo
from example_app.thumbnails import make_thumbnail
from fastapi_async_storages import ImageRules, Storage, StorageFile, UploadRules, save_upload
from fastapi_async_storages.exceptions import InvalidImageError

DOCUMENT_RULES = UploadRules(max_size="50MiB")
PHOTO_RULES = UploadRules(
    max_size="20MiB",
    types=["image/jpeg", "image/png", "image/webp", "image/gif"],
    image=ImageRules(max_pixels=50_000_000),
)

Row = TypeVar("Row", Document, Photo)


async def list_rows(model: type[Row], session: AsyncSession) -> list[Row]:
    """Return all rows, the newest first."""
    return list(await session.scalars(select(model).order_by(model.id.desc())))


async def add_document(upload: UploadFile, session: AsyncSession, storage: Storage) -> Document:
    """Store a document and commit its row.

    Raises:
        UploadRefusedError: When it breaks the rules; nothing is stored then.
    """
    file = await save_upload(upload, storage, prefix="documents", rules=DOCUMENT_RULES)
    try:
        document = Document(**await _describe(file), file=file)
        session.add(document)
        await session.commit()
    except BaseException:
        await file.delete()
        raise
    return document


async def add_photo(upload: UploadFile, session: AsyncSession, storage: Storage) -> Photo:
    """Store a photo and its thumbnail, and commit their row.

    Raises:
        UploadRefusedError: When it breaks the rules; nothing is stored then.
        InvalidImageError: When its pixels cannot be read; nothing is stored then.
    """
    image = await save_upload(upload, storage, prefix="photos", rules=PHOTO_RULES)
    stored = [image]
    try:
        thumbnail = await save_upload(await _make_thumbnail(image), storage, prefix="thumbnails")
        stored.append(thumbnail)
        photo = Photo(**await _describe(image), image=image, thumbnail=thumbnail)
        session.add(photo)
        await session.commit()
    except BaseException:
        await storage.delete_many([file.name for file in stored])
        raise
    return photo


async def remove(row: Document | Photo, session: AsyncSession, storage: Storage) -> None:
    """Delete a row, then its files: a file that outlives its row is litter, not a broken page."""
    files = [row.file] if isinstance(row, Document) else [row.image, row.thumbnail]
    await session.delete(row)
    await session.commit()
    await storage.delete_many([file.name for file in files])


async def _make_thumbnail(image: StorageFile) -> bytes:
    try:
        return await make_thumbnail(image)
    except OSError as error:  # Pillow's errors are OSErrors.
        raise InvalidImageError(f"The photo cannot be decoded: {error}.", name=image.name) from None


async def _describe(file: StorageFile) -> dict[str, str | int]:
    info = await file.get_info()
    return {
        "filename": info.filename or "unnamed",
        "content_type": info.content_type or "application/octet-stream",
        "size": info.size,
    }
