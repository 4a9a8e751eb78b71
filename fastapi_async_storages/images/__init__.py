"""What the first bytes of an image tell: its format and dimensions, without decoding a pixel.

Only formats that browsers show, that are made of pixels and whose header is at the start of the
file are read: JPEG, PNG, GIF, WebP, AVIF and BMP. The list is the defence, and so is that nothing
is unpacked: a library that opens images knows dozens of formats more, whose decoders nobody attacks
but attackers. SVG is not among them: it is a document that has no pixels, and that can run scripts.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, overload

from fastapi_async_storages.exceptions import InvalidImageError
from fastapi_async_storages.images._formats import (
    Measured,
    read_avif,
    read_bmp,
    read_gif,
    read_jpeg,
    read_png,
    read_webp,
)
from fastapi_async_storages.media_types import SNIFF_SIZE, sniff_media_type

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "FIRST_READ_BYTES",
    "MAX_HEADER_BYTES",
    "ImageHeader",
    "check_pixels",
    "read_image_header",
]

DEFAULT_MAX_PIXELS = 100_000_000
"""Width times height above which an image is refused unless told otherwise.

Few cameras make larger images, and decoding one takes 400 MB at 4 bytes per pixel, which a file of
some KB can promise.
"""

FIRST_READ_BYTES = 64 * 1024
"""Bytes to read first. They held the header of 97 % of 79 camera and test JPEGs, and of every PNG
of 419, in the test images of Pillow and piexif; the JPEGs in between needed up to 48 KB, for their
EXIF thumbnails and maker notes.

Source: CIPA DC-008 (Exif) section 4.5.2: EXIF data is one segment of at most 64 KiB.
"""

MAX_HEADER_BYTES = 8 * 1024 * 1024
"""Bytes of which the header must be told at the latest.

What may come before a JPEG's dimensions has no limit of its own: colour profiles for print take
0.5 to 3 MB, and some phones put a depth map there.
"""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the header of an image tells.

    Attributes:
        media_type: Media type, such as ``"image/jpeg"``.
        width: Width in pixels as shown, that is with the orientation applied.
        height: Height in pixels as shown.
        is_turned: Whether the image is shown turned by a quarter, so that width and height are
            swapped against the stored pixels.
    """

    media_type: str
    width: int
    height: int
    is_turned: bool = False


@overload
def read_image_header(head: bytes, *, is_whole: Literal[True]) -> ImageHeader: ...
@overload
def read_image_header(head: bytes, *, is_whole: bool = False) -> ImageHeader | None: ...
def read_image_header(head: bytes, *, is_whole: bool = False) -> ImageHeader | None:
    """Read the dimensions of an image from its first bytes. Blocks: run it in a worker thread.

    Args:
        head: The first bytes of the file, as many as there are so far.
        is_whole: Whether they are all of the file.

    Returns:
        The header, or ``None`` when more bytes are needed to tell.

    Raises:
        InvalidImageError: When the bytes are no image of a known format, or no readable one.
    """
    media_type = sniff_media_type(head)
    reader = _READERS.get(media_type or "")
    if media_type is None or reader is None:
        if not is_whole and len(head) < SNIFF_SIZE:
            return None
        raise InvalidImageError(_describe_stranger(media_type))
    measured = _measure(reader, head)
    if measured is not None:
        width, height, is_turned = measured
        if is_turned:
            width, height = height, width
        return ImageHeader(media_type, width, height, is_turned)
    if is_whole:
        raise InvalidImageError(f"it starts as {media_type} and is cut off or damaged")
    if len(head) >= MAX_HEADER_BYTES:
        raise InvalidImageError(
            f"it starts as {media_type} and has no dimensions in its first {len(head)} bytes"
        )
    return None


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image that would take too much memory to decode, a decompression bomb.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        max_pixels: Most pixels allowed.

    Raises:
        InvalidImageError: When width times height is more than ``max_pixels``.
    """
    if width * height > max_pixels:
        raise InvalidImageError(
            f"it has {width} x {height} = {width * height} pixels,"
            f" at most {max_pixels} are allowed (max_pixels)"
        )


def _describe_stranger(media_type: str | None) -> str:
    if media_type == "image/svg+xml":
        return "it is an SVG, a document that has no pixels"
    found = f"it is {media_type}" if media_type else "its first bytes are of no known image format"
    return f"{found}; dimensions are read of JPEG, PNG, GIF, WebP, AVIF and BMP"


def _measure(reader: Callable[[bytes], Measured], head: bytes) -> Measured | None:
    try:
        measured = reader(head)
    # What bytes give that end early or lie. Whether more of them help, the caller knows.
    except (ValueError, LookupError, struct.error, StopIteration):
        return None
    return measured if min(measured[:2]) > 0 else None


_READERS: dict[str, Callable[[bytes], Measured]] = {
    "image/avif": read_avif,
    "image/bmp": read_bmp,
    "image/gif": read_gif,
    "image/jpeg": read_jpeg,
    "image/png": read_png,
    "image/webp": read_webp,
}
