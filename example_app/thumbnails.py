"""Small versions of photos."""

import asyncio
from io import BytesIO

from PIL import Image, ImageOps

from fastapi_async_storages import StorageFile
from fastapi_async_storages.exceptions import InvalidImageError

MAX_SIDE = 320
"""Longest side of a thumbnail in pixels: twice the width at which the page shows it."""


async def make_thumbnail(photo: StorageFile) -> bytes:
    """Return a JPEG of at most 320 x 320 pixels of a stored photo.

    The rules of the upload bound the photo's size and pixels, so reading it whole is safe here.

    Raises:
        InvalidImageError: When the photo's header was right and its pixels are not.
        StorageError: When the photo cannot be read from its storage.
    """
    content = await photo.read()
    try:
        return await asyncio.to_thread(_shrink, content)
    except OSError as error:  # As all of Pillow's are.
        raise InvalidImageError(f"The photo cannot be decoded: {error}.", name=photo.name) from None


def _shrink(content: bytes) -> bytes:
    thumbnail = BytesIO()
    with Image.open(BytesIO(content)) as image:
        # JPEGs decode at a fraction of their size then, which is much faster.
        image.draft("RGB", (MAX_SIDE, MAX_SIDE))
        upright = ImageOps.exif_transpose(image)
        upright.thumbnail((MAX_SIDE, MAX_SIDE))
        upright.convert("RGB").save(thumbnail, "JPEG", quality=80)
    return thumbnail.getvalue()
