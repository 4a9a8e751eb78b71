"""Where each format has its dimensions. All readers take the first bytes and raise on bad ones.

They follow the file's own table of contents as far as the dimensions, and unpack nothing. A library
that opens images would read all that comes before the pixels: of 64 KB it would unpack 60 MB of
text, and spend ten seconds on eight megabytes of empty segments.
"""

import re
import struct
from collections.abc import Iterator

__all__ = ["Measured", "read_avif", "read_bmp", "read_gif", "read_jpeg", "read_png", "read_webp"]

Measured = tuple[int, int, bool]
"""Width and height of the stored pixels, and whether the image is shown turned by a quarter."""

MAX_PIECES = 4096
"""Most segments, chunks or boxes before the dimensions.

A file of 8 MiB can have two million of them. Real ones have some dozens: the largest JPEG header is
128 segments of 64 KiB, and the tiles of a 100 megapixel HEIF grid are 400 items.
"""

_ORIENTATION = 274
_QUARTER_TURNS = frozenset({5, 6, 7, 8})
"""EXIF orientations with rows and columns swapped. Source: CIPA DC-008 (Exif), tag 274."""

# Fill bytes may come before a marker (ITU-T T.81 section B.1.1.2), and decoders skip what is none.
_JPEG_MARKER = re.compile(rb"[^\xff]*+\xff++([^\xff])", re.DOTALL)
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _APP1 = 0xDA, 0xE1
_GIF_EXTENSION, _GIF_PICTURE = 0x21, 0x2C
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})


def read_png(head: bytes) -> Measured:
    """Walk to the pixels. EXIF data behind them does not count: browsers have drawn by then.

    Source: Portable Network Graphics (Third Edition), sections 5.3 (chunks), 11.2.1 (IHDR) and
    11.3.4.4 (eXIf).
    """
    size, exif, position = (0, 0), b"", 8
    for _ in range(MAX_PIECES):
        length, kind = struct.unpack_from(">I4s", head, position)
        content = head[position + 8 : position + 8 + length]
        if kind == b"IHDR":
            size = struct.unpack_from(">II", content)
        elif kind == b"IDAT":
            return *size, _is_turned(exif)
        elif kind == b"eXIf":
            exif = content
        position += 12 + length
    raise ValueError("A PNG with too many chunks before its pixels.")


def read_jpeg(head: bytes) -> Measured:
    """Walk to the pixels.

    Source: ITU-T T.81 sections B.1.1 (markers) and B.2.2 (frame header); CIPA DC-008 (Exif) section
    4.7.2 (the segment with EXIF data).
    """
    size, exif, position = (0, 0), b"", 2
    for _ in range(MAX_PIECES):
        found = _JPEG_MARKER.match(head, position)
        if found is None:
            break
        marker, position = found[1][0], found.end()
        if marker == _START_OF_SCAN:
            height, width = size
            return width, height, _is_turned(exif)
        if marker in _WITHOUT_LENGTH:
            continue
        length = struct.unpack_from(">H", head, position)[0]
        if marker in _START_OF_FRAME:
            size = struct.unpack_from(">HH", head, position + 3)
        elif marker == _APP1 and not exif and head.startswith(b"Exif\0\0", position + 2):
            exif = head[position + 8 : position + length]
        position += length
    raise ValueError("A JPEG without pixels, or with too many segments before them.")


def read_gif(head: bytes) -> Measured:
    """Walk to the first picture, for which decoders make room where the screen has none.

    Source: GIF89a specification, sections 15 (data sub-blocks), 18 (Logical Screen Descriptor), 19
    (its colours) and 20 (Image Descriptor).
    """
    width, height, flags = struct.unpack_from("<HHB", head, 6)
    position = 13 + (3 << 1 + (flags & 0b111) if flags & 0x80 else 0)
    is_within_extension = False
    for _ in range(MAX_PIECES):
        first = head[position]
        if is_within_extension:
            position += 1 + first
            is_within_extension = first > 0
        elif first == _GIF_EXTENSION:
            position += 2
            is_within_extension = True
        elif first == _GIF_PICTURE:
            left, top, columns, rows = struct.unpack_from("<HHHH", head, position + 1)
            return max(width, left + columns), max(height, top + rows), False
        else:
            break
    raise ValueError("A GIF without a picture, or with too many blocks before it.")


def read_bmp(head: bytes) -> Measured:
    """Read the header behind the file's; a negative height says that rows go down.

    Source: Microsoft, "BITMAPCOREHEADER" and "BITMAPINFOHEADER".
    """
    is_core = struct.unpack_from("<I", head, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if is_core else "<ii", head, 18)
    return width, abs(height), False


def read_webp(head: bytes) -> Measured:
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


def read_avif(head: bytes) -> Measured:
    """Follow the primary item to its size and its rotation.

    EXIF data does not count, by section 7.3.10.1 of MIAF (ISO/IEC 23000-22:2024), on which AVIF
    stands.

    Source: ISO/IEC 14496-12 sections 8.11.1 (meta) and 8.11.4 (pitm); ISO/IEC 23008-12 sections
    6.5.3 (ispe), 6.5.10 (irot) and 9.3 (iprp, ipco, ipma).
    """
    meta = next(content for kind, content in _boxes(head) if kind == b"meta")
    items = dict(_boxes(meta[4:]))
    primary = _item_id(items[b"pitm"][0], items[b"pitm"], 4)
    groups = list(_boxes(items[b"iprp"]))
    properties = list(_boxes(dict(groups)[b"ipco"]))
    # One for each of two versions and of two flags, at most.
    tables = [content for kind, content in groups if kind == b"ipma"][:4]
    own = [
        properties[index - 1]
        for content in tables
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
    for _ in range(MAX_PIECES):
        if start >= len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1:
            (size,), header = struct.unpack_from(">Q", data, start + 8), 16
        if size < header or start + size > len(data):
            raise ValueError(f"The box {kind!a} has {size} bytes.")
        yield kind, data[start + header : start + size]
        start += size
    raise ValueError("There are too many boxes.")


def _associations(data: bytes) -> Iterator[tuple[int, list[int]]]:
    """Iterate over the items of an ``ipma`` box, each with the numbers of its properties."""
    version, flags, count = data[0], data[3], struct.unpack_from(">I", data, 4)[0]
    bytes_per_id, bytes_per_index = 4 if version else 2, 2 if flags & 1 else 1
    position = 8
    if count > MAX_PIECES:
        raise ValueError(f"An ipma box of {count} items.")
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


def _is_turned(exif: bytes) -> bool:
    """Tell whether EXIF data say that the image is shown turned by a quarter.

    Damaged data say nothing: browsers show the image all the same.

    Source: TIFF 6.0 section 2 (the header and the image file directory); CIPA DC-008 (Exif), tag
    274.
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return False
    try:
        start = struct.unpack_from(f"{order}I", exif, 4)[0]
        count = struct.unpack_from(f"{order}H", exif, start)[0]
        for number in range(min(count, MAX_PIECES)):
            # Tag, type and count of the values, and the first one: of two bytes.
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * number)
            if tag == _ORIENTATION:
                return value in _QUARTER_TURNS
    except struct.error:
        pass
    return False
