"""What the first bytes of an image tell: its format and dimensions, without decoding a pixel.

Only formats that browsers show, that are made of pixels and whose header is at the start of the
file are read: JPEG, PNG, GIF, WebP, AVIF and BMP. The list is the defence: Pillow knows dozens of
formats more, among them some (EPS, PostScript) for which it starts another program, and old ones
whose decoders nobody attacks but attackers. SVG is not among them: it is a document that has no
pixels, and that can run scripts.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Literal, TypeAlias, overload

from fastapi_async_storages.exceptions import InvalidImageError, MissingDependencyError
from fastapi_async_storages.media_types import SNIFF_SIZE, sniff_media_type

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

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


_QUARTER_TURNS = frozenset({5, 6, 7, 8})
"""EXIF orientations with rows and columns swapped. Source: CIPA DC-008 (Exif), tag 274."""


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
        MissingDependencyError: When Pillow is needed and not installed.
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


# Width and height of the stored pixels, and whether the image is shown turned by a quarter.
_Measured: TypeAlias = tuple[int, int, bool]
_Reader: TypeAlias = Callable[[bytes], _Measured]


def _describe_stranger(media_type: str | None) -> str:
    if media_type == "image/svg+xml":
        return "it is an SVG, a document that has no pixels"
    found = f"it is {media_type}" if media_type else "its first bytes are of no known image format"
    return f"{found}; dimensions are read of JPEG, PNG, GIF, WebP, AVIF and BMP"


def _measure(reader: _Reader, head: bytes) -> _Measured | None:
    try:
        measured = reader(head)
    except MissingDependencyError:
        raise
    # Bytes that end early or lie have made Pillow raise nearly every builtin exception, and it
    # documents none. Whether more bytes help, the caller knows.
    except Exception:  # noqa: BLE001
        return None
    return measured if min(measured[:2]) > 0 else None


def _read_with_pillow(format_name: str, head: bytes) -> _Measured:
    try:
        from PIL import BmpImagePlugin, ExifTags, Image, JpegImagePlugin, PngImagePlugin  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependencyError(
            "Reading the dimensions of an image needs Pillow:"
            " pip install 'fastapi-async-storages[images]'"
        ) from error
    # Not `Image.open`: it warns of, or refuses, what is above a global limit of pixels that is the
    # app's own, and a JPEG with more than one picture makes it look beyond the header.
    openers: dict[str, type[ImageFile]] = {
        "BMP": BmpImagePlugin.BmpImageFile,
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
    }
    image = openers[format_name](BytesIO(head))
    # Not the method of PngImageFile, which decodes the image to find EXIF data behind the pixels.
    orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    return *image.size, orientation in _QUARTER_TURNS


def _read_gif(head: bytes) -> _Measured:
    """Source: GIF89a specification, section 18 (Logical Screen Descriptor)."""
    return *struct.unpack_from("<HH", head, 6), False


def _read_webp(head: bytes) -> _Measured:
    """Read the first chunk. EXIF data is behind the pixels, and browsers do not look at it.

    Source: RFC 9649 sections 2.5 to 2.7 (the container) and 3 (lossless); RFC 6386 section 9.1
    (the frame header of the lossy format).
    """
    chunk = head[12:16]
    if chunk == b"VP8X":  # each less one, in 24 bits
        width_low, width_high, height_low, height_high = struct.unpack_from("<HBHB", head, 24)
        return 1 + width_low + (width_high << 16), 1 + height_low + (height_high << 16), False
    if chunk == b"VP8L":  # each less one, in 14 bits
        bits = struct.unpack_from("<I", head, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), False
    if chunk == b"VP8 ":  # in 14 bits, below a scale of 2 bits
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF, False
    raise ValueError(f"A WebP starts with an image chunk, not {chunk!a}.")


def _read_avif(head: bytes) -> _Measured:
    """Follow the primary item to its size and its rotation.

    Pillow cannot: its decoder wants the whole file. EXIF data does not count, by section 7.3.10.1
    of MIAF (ISO/IEC 23000-22:2024), on which AVIF stands.

    Source: ISO/IEC 14496-12 sections 8.11.1 (meta) and 8.11.4 (pitm); ISO/IEC 23008-12 sections
    6.5.3 (ispe), 6.5.10 (irot) and 9.3 (iprp, ipco, ipma).
    """
    meta = next(content for kind, content in _boxes(head) if kind == b"meta")
    items = dict(_boxes(meta[4:]))
    primary = _item_id(items[b"pitm"][0], items[b"pitm"], 4)
    groups = list(_boxes(items[b"iprp"]))
    properties = list(_boxes(dict(groups)[b"ipco"]))
    own = [
        properties[index - 1]
        for kind, content in groups
        if kind == b"ipma"
        for item, indexes in _associations(content)
        if item == primary
        for index in indexes
        if index > 0
    ]
    width, height = next(
        struct.unpack_from(">II", content, 4) for kind, content in own if kind == b"ispe"
    )
    return width, height, any(kind == b"irot" and content[0] & 1 for kind, content in own)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over boxes: the type and the content of each (ISO/IEC 14496-12 section 4.2)."""
    start = 0
    while start < len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1:
            (size,), header = struct.unpack_from(">Q", data, start + 8), 16
        if size < header or start + size > len(data):
            raise ValueError(f"The box {kind!a} has {size} bytes.")
        yield kind, data[start + header : start + size]
        start += size


def _associations(data: bytes) -> Iterator[tuple[int, list[int]]]:
    """Iterate over the items of an ``ipma`` box, each with the numbers of its properties."""
    version, flags, count = data[0], data[3], struct.unpack_from(">I", data, 4)[0]
    bytes_per_id, bytes_per_index = 4 if version else 2, 2 if flags & 1 else 1
    position = 8
    for _ in range(count):
        item = _item_id(version, data, position)
        position += bytes_per_id
        end = position + 1 + data[position] * bytes_per_index
        packed = data[position + 1 : end]
        # The highest bit says whether the property is essential.
        yield (
            item,
            [byte & 0x7F for byte in packed]
            if bytes_per_index == 1
            else [value & 0x7FFF for (value,) in struct.iter_unpack(">H", packed)],
        )
        position = end


def _item_id(version: int, data: bytes, start: int) -> int:
    return int(struct.unpack_from(">I" if version else ">H", data, start)[0])


_READERS: dict[str, _Reader] = {
    "image/avif": _read_avif,
    "image/bmp": partial(_read_with_pillow, "BMP"),
    "image/gif": _read_gif,
    "image/jpeg": partial(_read_with_pillow, "JPEG"),
    "image/png": partial(_read_with_pillow, "PNG"),
    "image/webp": _read_webp,
}
