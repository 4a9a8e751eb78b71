"""What the app does with documents and photos, for the pages and the JSON API alike."""

from typing import TypeVar

from fastapi import UploadFile
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.models import Document, Photo
from example_app.thumbnails import make_thumbnail
from fastapi_async_storages import (
    ImageRules,
    Storage,
    StorageFile,
    StorageImage,
    UploadRules,
    save_upload,
)

DOCUMENT_RULES = UploadRules(max_size="50MiB")
LARGE_DOCUMENT_RULES = UploadRules(max_size="5GiB")
"""For those that do not pass through the app."""
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
    """Store a document and commit its row; neither is ever there without the other.

    Raises:
        UploadRefusedError: When it breaks the rules; nothing is stored then.
    """
    file = await save_upload(upload, storage, prefix="documents", rules=DOCUMENT_RULES)
    return await keep_document(file, session)


async def keep_document(file: StorageFile, session: AsyncSession) -> Document:
    """Commit the row of a document that was just stored; if that fails, the file goes."""
    document = Document(**await _describe(file), file=file)
    session.add(document)
    await session.commit()
    return document


async def add_photo(upload: UploadFile, session: AsyncSession, storage: Storage) -> Photo:
    """Store a photo and its thumbnail, and commit their row.

    Raises:
        UploadRefusedError: When it breaks the rules; nothing is stored then.
        InvalidImageError: When its pixels cannot be read; nothing is stored then.
    """
    image = await save_upload(upload, storage, prefix="photos", rules=PHOTO_RULES)
    return await keep_photo(image, session)


async def keep_photo(image: StorageFile, session: AsyncSession) -> Photo:
    """Make the thumbnail of a photo that was just stored, and commit their row.

    Raises:
        InvalidImageError: When its pixels cannot be read; nothing is stored then.
    """
    photo = Photo(**await _describe(image), image=image)
    try:
        # Before the transaction begins: SQLite lets one write at a time, and this takes a while.
        thumbnail = await make_thumbnail(image)
    except BaseException:
        await image.delete()  # No transaction has taken it over, which would do that.
        raise
    photo.thumbnail = StorageImage.pending(thumbnail, filename="thumbnail.jpg")
    session.add(photo)
    await session.commit()
    return photo


async def remove(row: Document | Photo, session: AsyncSession) -> None:
    """Delete a row; its files go when that is committed."""
    await session.delete(row)
    await session.commit()


async def _describe(file: StorageFile) -> dict[str, str | int]:
    info = await file.get_info()
    return {
        "filename": info.filename or "unnamed",
        "content_type": info.content_type or "application/octet-stream",
        "size": info.size,
    }
