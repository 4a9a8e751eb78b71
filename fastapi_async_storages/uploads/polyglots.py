"""Files of two types at once: an image for who checks it, a program for who opens it.

What is stored here keeps the type of its first bytes, and is served as that and nothing else. But
files are passed on: to a mail, to a viewer, to a server that runs what it finds. So a file that is
an image, a sound, a video or a font is refused where one is asked for, when a reader of another
format would take it for its own.
"""

import re
import struct

from fastapi_async_storages.media_types import is_scriptable, media_type_matches

__all__ = ["TAIL_SIZE", "find_type_in_head", "find_type_in_tail", "may_be_polyglot"]

_PURE_TYPES = ("audio/*", "font/*", "image/*", "video/*")

_PDF_START = 1024
"""Bytes within which viewers look for the header of a PDF.

Source: Adobe, PDF Reference 1.7, appendix H.3, implementation note 13.
"""

# Comments of GIF, JPEG and PNG are the usual place for them. Deeper in the file, compressed data
# would have the same letters by chance.
_MARKERS = (
    (re.compile(rb"<\?php\b", re.IGNORECASE), "application/x-httpd-php"),
    (re.compile(rb"<script\b", re.IGNORECASE), "text/html"),
)

_ZIP_END = b"PK\x05\x06"
_ZIP_END_SIZE = 22

TAIL_SIZE = _ZIP_END_SIZE + 65535
"""Bytes from the end of a file that hold the end record of a ZIP archive with its comment.

Source: PKWARE APPNOTE.TXT 6.3.10 section 4.3.16. ZIP is read from its end, so that an archive (a
JAR, a Word document) can have an image before it.
"""


def may_be_polyglot(media_type: str) -> bool:
    """Tell whether a file of this type should be looked at.

    Documents and archives hold other types by right, and what runs script is dangerous by itself.

    Args:
        media_type: The type by the first bytes.
    """
    return media_type_matches(media_type, _PURE_TYPES) and not is_scriptable(media_type)


def find_type_in_head(head: bytes) -> str | None:
    """Return the other media type that the first bytes of a file show, or ``None``.

    Args:
        head: The first bytes; of those beyond 4096 nothing is wanted.
    """
    if b"%PDF-" in head[:_PDF_START]:
        return "application/pdf"
    return next((name for marker, name in _MARKERS if marker.search(head, 0, 4096)), None)


def find_type_in_tail(tail: bytes) -> str | None:
    """Return the other media type that the last bytes of a file show, or ``None``.

    Args:
        tail: The last ``TAIL_SIZE`` bytes, or all of a shorter file.
    """
    start = tail.rfind(_ZIP_END)
    while start >= 0:
        end = start + _ZIP_END_SIZE
        # The length of the comment leads to the end of the file: four letters alone are chance.
        if end <= len(tail) and end + struct.unpack_from("<H", tail, end - 2)[0] == len(tail):
            return "application/zip"
        start = tail.rfind(_ZIP_END, 0, start)
    return None
