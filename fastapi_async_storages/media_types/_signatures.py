"""What the first bytes of a file prove.

The signatures of most formats come from the library ``filetype``; why that one, and what is added
here, is in ``docs/decisions/content-type-sniffing.md``.
"""

import struct
from functools import cache
from typing import Any

from fastapi_async_storages.media_types._names import canonical_media_type
from fastapi_async_storages.media_types._text import is_text, sniff_markup

SNIFF_SIZE = 4096
"""Bytes from the start of a file that `sniff_media_type` wants; it looks at no more.

Most signatures end within 64 bytes and a tar header within 262, but the member that tells a Word
file from a sheet lies a KiB or more into the archive, and an SVG root can lie behind a long prolog.
2 KiB were enough for every sample measured (``docs/decisions/content-type-sniffing.md``); this
leaves room for real documents, whose first members are larger.
"""

_TEXT_SIGNATURES = (
    (b"%PDF-", "application/pdf"),  # ISO 32000-2 section 7.5.2
    (b"\xef\xbb\xbf%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),  # WHATWG MIME Sniffing section 7.1
    (b"{\\rtf1", "application/rtf"),  # Rich Text Format specification 1.9.1, "Header"
)
"""Formats whose files can be plain text from end to end."""

_SIGNATURES = (
    (b"GIF87a", "image/gif"),  # WHATWG MIME Sniffing section 6.1
    (b"GIF89a", "image/gif"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),  # ISO/IEC 18181-2, the container
    (b"wOFF", "font/woff"),  # WHATWG MIME Sniffing section 6.3
    (b"wOF2", "font/woff2"),
    (b"OTTO\0", "font/otf"),
    (b"ttcf\0", "font/collection"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),  # RFC 8878 section 3.1.1
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),  # [MS-CFB] section 2.2
)

_ISO_BRANDS = {
    b"3g2": "video/3gpp2",
    b"3gp": "video/3gpp",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"M4V": "video/mp4",
    b"avc1": "video/mp4",
    b"dash": "video/mp4",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"iso": "video/mp4",
    b"mif1": "image/heif",
    b"mp4": "video/mp4",
    b"mp7": "video/mp4",
    b"msdh": "video/mp4",
    b"msnv": "video/mp4",
}
"""Start of the major brand of an ISO base media file, where ``filetype`` knows no more.

Source: MP4 Registration Authority, "Brands"; ISO/IEC 23008-12 annex B (HEIF).
"""

# Left out of the library: signatures of two or three bytes, which ordinary text and one random
# file in 65,536 have too (those of use are checked below with the rest of the header); types that
# it calls by a wrong name; and Zstandard, whose matcher recurses once for each empty frame that
# an attacker sends.
_LEFT_OUT = {
    *("aac", "bmp", "br", "eot", "exe", "gif", "ico", "mp3", "ps", "swf", "Z"),
    *("3gp", "doc", "otf", "pdf", "ppt", "rtf", "ttf", "woff", "woff2", "xls", "zst"),
}
_ZIP, _EBML = b"PK\x03\x04", b"\x1aE\xdf\xa3"
_STARTS = {
    **dict.fromkeys(("docx", "odp", "ods", "odt", "pptx", "xlsx"), _ZIP),
    **dict.fromkeys(("mkv", "webm"), _EBML),
}
"""How files start whose matchers search all of the head first: half of all the time, for nothing.

Source: PKWARE APPNOTE 6.3.10 section 4.3.7; RFC 8794 section 8.1 (EBML).
"""

_RENAMED = {"image/apng": "image/png"}  # every APNG is a PNG; browsers call it so


def sniff_media_type(head: bytes) -> str | None:
    """Return the media type that the first bytes prove, or ``None`` when they prove nothing.

    Text that starts as HTML, SVG or other XML is called so; other text in UTF-8, or in UTF-16 with
    its mark, is ``text/plain``; a text is never a binary format, whatever letters it starts with.
    The answer is the spelling that this package uses throughout, without parameters.

    A polyglot gets the type of its first bytes: a GIF that is also a script is ``image/gif``, and
    served as such with ``X-Content-Type-Options: nosniff`` it is nothing else.

    Args:
        head: The first `SNIFF_SIZE` bytes of a file, or all of a shorter one. What is beyond them
            is ignored.
    """
    head = bytes(head[:SNIFF_SIZE])
    if markup := sniff_markup(head):
        return markup
    if found := _match_start(head, _TEXT_SIGNATURES):
        return found
    if is_text(head):
        return "text/plain"
    return _match_start(head, _SIGNATURES) or _sniff_binary(head)


def _match_start(head: bytes, signatures: tuple[tuple[bytes, str], ...]) -> str | None:
    return next((name for start, name in signatures if head.startswith(start)), None)


def _sniff_binary(head: bytes) -> str | None:
    for is_format, name in _CHECKS:
        if is_format(head):
            return name
    for start, kind in _list_matchers():
        if head.startswith(start) and kind.match(head):
            name = str(canonical_media_type(kind.mime))
            if name == "audio/ogg" and b"theora" in head[:64]:
                return "video/ogg"
            return _RENAMED.get(name, name)
    return _iso_media_type(head)


@cache
def _list_matchers() -> tuple[tuple[bytes, Any], ...]:
    """Return the library's matchers, each with what a file must start with to be worth asking."""
    # Eighty classes, which take as long as a tenth of this package: for the first binary file.
    import filetype  # type: ignore[import-untyped]  # noqa: PLC0415

    return tuple(
        (_STARTS.get(kind.extension, b""), kind)
        for kind in filetype.TYPES
        if kind.extension not in _LEFT_OUT
    )


def _iso_media_type(head: bytes) -> str | None:
    """Return the type of an ISO base media file by its major brand (ISO/IEC 14496-12 § 4.3)."""
    if head[4:8] != b"ftyp":
        return None
    brand = head[8:12]
    return _ISO_BRANDS.get(brand) or _ISO_BRANDS.get(brand[:3])


def _is_bmp(head: bytes) -> bool:
    """Check the file header and the size of the header behind it.

    Source: Microsoft, "BITMAPFILEHEADER" and "Bitmap Header Types".
    """
    if len(head) < 18 or head[:2] != b"BM" or head[6:10] != bytes(4):
        return False
    return struct.unpack_from("<I", head, 14)[0] in {12, 16, 40, 52, 56, 64, 108, 124}


def _is_icon(head: bytes) -> bool:
    """Check the directory and its first entry. Source: Microsoft, "The Evolution of Icons"."""
    if len(head) < 22 or head[:4] not in (b"\0\0\1\0", b"\0\0\2\0"):
        return False
    count = struct.unpack_from("<H", head, 4)[0]
    size, offset = struct.unpack_from("<II", head, 14)
    return bool(count) and head[9] == 0 and size > 0 and offset >= 6 + 16 * count


def _is_truetype(head: bytes) -> bool:
    """Check the table directory. Source: OpenType specification, "Font file"."""
    if len(head) < 8 or head[:4] != b"\0\1\0\0":
        return False
    count, search_range = struct.unpack_from(">HH", head, 4)
    return bool(count) and search_range == 16 << (count.bit_length() - 1)


def _is_executable(head: bytes) -> bool:
    """Follow the pointer of the DOS header. Source: Microsoft, "PE Format", "Signature"."""
    if len(head) < 64 or head[:2] != b"MZ":
        return False
    offset = struct.unpack_from("<I", head, 60)[0]
    return head[offset : offset + 4] == b"PE\0\0"


def _is_id3(head: bytes) -> bool:
    """Check the tag header. Source: ID3v2.4.0 structure, section 3.1."""
    if len(head) < 10 or head[:3] != b"ID3":
        return False
    return 2 <= head[3] <= 4 and head[4] != 0xFF and all(byte < 0x80 for byte in head[6:10])


def _is_mpeg_audio(head: bytes) -> bool:
    """Find a second frame where the first one ends: MP3 without a tag."""
    size = _mpeg_frame_size(head, 0)
    return size > 0 and _mpeg_frame_size(head, size) > 0


def _is_adts(head: bytes) -> bool:
    """Find a second frame where the first one ends: AAC. Source: ISO/IEC 13818-7 section 6.2."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return False
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size >= 7 and head[size : size + 2] == head[:2]


def _is_transport_stream(head: bytes) -> bool:
    """Find the sync byte of three packets. Source: ISO/IEC 13818-1 section 2.4.3.2."""
    return head[0:377:188] == b"GGG"


_BIT_RATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # kbit/s
_BIT_RATES_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SAMPLE_RATES = (44100, 48000, 32000)  # Hz


def _mpeg_frame_size(head: bytes, start: int) -> int:
    """Return the size in bytes of the layer III frame that starts there, or 0.

    Source: WHATWG MIME Sniffing Standard, section 6.2.3 "Signature for MP3 without ID3"; the
    tables are those of ISO/IEC 11172-3 and 13818-3.
    """
    if len(head) < start + 4 or head[start] != 0xFF or head[start + 1] & 0xE6 != 0xE2:
        return 0
    version = head[start + 1] >> 3 & 3  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    bit_rate, sample_rate = head[start + 2] >> 4, head[start + 2] >> 2 & 3
    if version == 1 or bit_rate in (0, 15) or sample_rate == 3:
        return 0
    rates, scale = (_BIT_RATES, 144) if version == 3 else (_BIT_RATES_LOW, 72)
    frequency = _SAMPLE_RATES[sample_rate] >> {3: 0, 2: 1, 0: 2}[version]
    return scale * rates[bit_rate] * 1000 // frequency + (head[start + 2] >> 1 & 1)


_CHECKS = (
    (_is_bmp, "image/bmp"),
    (_is_icon, "image/vnd.microsoft.icon"),
    (_is_truetype, "font/ttf"),
    (_is_executable, "application/vnd.microsoft.portable-executable"),
    (_is_id3, "audio/mpeg"),
    (_is_mpeg_audio, "audio/mpeg"),
    (_is_adts, "audio/aac"),
    (_is_transport_stream, "video/mp2t"),
)


@cache
def list_provable_types() -> frozenset[str | None]:
    """Return the types that bytes prove when they are true: no claim of them is taken on trust."""
    return frozenset(
        {
            *(canonical_media_type(kind.mime) for _, kind in _list_matchers()),
            *(name for _, name in (*_TEXT_SIGNATURES, *_SIGNATURES)),
            *(name for _, name in _CHECKS),
        }
    )
