"""What the JSON API answers with."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Self

from pydantic import BaseModel

from example_app.models import Document, Photo
from fastapi_async_storages.exceptions import NotFoundError


class DocumentOut(BaseModel):
    """A document, and where to get it."""

    id: int
    filename: str
    content_type: str
    size: int
    created_at: datetime
    url: str
    download_url: str

    @classmethod
    async def of(cls, document: Document) -> Self:
        """Describe a document. The URLs are signed, and work for an hour."""
        return cls(
            id=document.id,
            filename=document.filename,
            content_type=document.content_type,
            size=document.size,
            created_at=document.created_at,
            url=await document.file.get_path(),
            download_url=await document.file.get_path(
                filename=document.filename, disposition="attachment"
            ),
        )


class PhotoOut(BaseModel):
    """A photo with its thumbnail; sizes are in pixels."""

    id: int
    filename: str
    content_type: str
    size: int
    created_at: datetime
    width: int
    height: int
    url: str
    download_url: str
    thumbnail_width: int
    thumbnail_height: int
    thumbnail_url: str

    @classmethod
    async def of(cls, photo: Photo) -> Self:
        """Describe a photo. The dimensions come from the first bytes of the stored images."""
        thumbnail = photo.thumbnail or photo.image
        (width, height), (thumbnail_width, thumbnail_height) = await asyncio.gather(
            photo.image.get_dimensions(), thumbnail.get_dimensions()
        )
        return cls(
            id=photo.id,
            filename=photo.filename,
            content_type=photo.content_type,
            size=photo.size,
            created_at=photo.created_at,
            width=width,
            height=height,
            url=await photo.image.get_path(),
            download_url=await photo.image.get_path(
                filename=photo.filename, disposition="attachment"
            ),
            thumbnail_width=thumbnail_width,
            thumbnail_height=thumbnail_height,
            thumbnail_url=await thumbnail.get_path(),
        )


async def describe_photos(photos: Iterable[Photo]) -> list[PhotoOut]:
    """Describe photos; one that somebody deletes meanwhile is left out."""

    async def describe(photo: Photo) -> PhotoOut | None:
        try:
            return await PhotoOut.of(photo)
        except NotFoundError:
            return None

    described = await asyncio.gather(*map(describe, photos))
    return [photo for photo in described if photo is not None]
