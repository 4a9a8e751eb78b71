"""Names of stored files (S3 calls them object keys): the safe form, and unique ones."""

import os
import re
import time
import unicodedata
from uuid import UUID

from fastapi_async_storages.exceptions import InvalidNameError

__all__ = [
    "MAX_NAME_BYTES",
    "clean_filename",
    "is_unique_name",
    "normalize_name",
    "normalize_prefix",
    "unique_name",
]

MAX_NAME_BYTES = 1024
"""Longest name in UTF-8 bytes.

Source: Amazon S3 User Guide, "Naming Amazon S3 objects": an object key is at most 1,024 bytes.
"""

MAX_FILENAME_BYTES = 255
"""Longest client file name that is kept, in UTF-8 bytes.

Source: ``NAME_MAX`` of Linux file systems (``limits.h``), and of NTFS and APFS in characters.
"""

# U+FFFE and U+FFFF cannot be written in XML 1.0 (section 2.2), which is how S3 lists names.
_NOT_IN_XML = "\ufffe\uffff"

# RFC 9562 sections 4 and 5.7: the version digit is 7, the variant bits are 10.
_UNIQUE_SEGMENT = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(?:\..*)?", re.DOTALL
)

# Printable ASCII without a backslash, in segments between "/" of which none is empty, "." or "..".
_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[ -.0-\[\]-~]+"
_SAFE_NAME = re.compile(f"{_SEGMENT}(?:/{_SEGMENT})*")


def normalize_name(name: str) -> str:
    """Return the safe form of a name, or refuse it.

    The safe form is ``/``-separated and relative, in Unicode NFC (so that a name typed on macOS,
    which decomposes accents, finds the same file), with empty and ``.`` segments dropped.

    Args:
        name: A name such as ``"reports/2026/summary.pdf"``.

    Returns:
        The name as every backend holds it: 1 to 1024 UTF-8 bytes.

    Raises:
        InvalidNameError: When the name is empty, absolute or longer than 1024 bytes, has a ``..``
            segment, a backslash, a control character or a character that is not valid Unicode.
    """
    if not isinstance(name, str):
        raise InvalidNameError(f"A file name must be a str, not {type(name).__name__}.")
    if type(name) is str and len(name) <= MAX_NAME_BYTES and _SAFE_NAME.fullmatch(name):
        return name  # Nearly all names, and at once: each call on a storage asks.
    normalized = unicodedata.normalize("NFC", name)
    if problem := _find_problem(normalized):
        raise InvalidNameError(f"Invalid file name {_shorten(name)}: {problem}.", name=name)
    safe = "/".join(segment for segment in normalized.split("/") if segment not in ("", "."))
    if not safe:
        raise InvalidNameError(f"Invalid file name {_shorten(name)}: it is empty.", name=name)
    if (length := len(safe.encode())) > MAX_NAME_BYTES:
        raise InvalidNameError(
            f"Invalid file name {_shorten(name)}: it has {length} bytes in UTF-8,"
            f" at most {MAX_NAME_BYTES} are allowed.",
            name=name,
        )
    return safe


def normalize_prefix(prefix: str) -> str:
    """Return the safe form of a prefix: empty, or a safe name that ends with ``/``.

    Args:
        prefix: A folder-like prefix such as ``"reports"`` or ``"reports/2026/"``.

    Raises:
        InvalidNameError: When the prefix could not be the start of a valid name.
    """
    if prefix in ("", ".", "./"):
        return ""
    return normalize_name(prefix) + "/"


def unique_name(*, prefix: str = "", extension: str = "") -> str:
    """Make a name that no other call makes: ``{prefix}/{uuid7}{extension}``.

    A UUID of version 7 starts with the time, so names sort in the order in which they were made
    and a listing of a day's uploads reads neighbouring keys.

    Args:
        prefix: Folder-like prefix, with or without a ``/`` at its end.
        extension: Extension with its dot, such as ``".pdf"``, or nothing.

    Raises:
        InvalidNameError: When prefix or extension cannot be part of a name.
    """
    return normalize_name(f"{normalize_prefix(prefix)}{_uuid7()}{extension}")


def is_unique_name(name: str) -> bool:
    """Tell whether a name is one that :func:`unique_name` makes, so that its file never changes.

    Args:
        name: Name of a file.
    """
    return _UNIQUE_SEGMENT.fullmatch(name.rpartition("/")[2]) is not None


def clean_filename(filename: str | None) -> str | None:
    r"""Return a client's file name as data that is safe to keep and to show, or ``None``.

    Browsers have sent whole paths, and attackers send what they like: only the part behind the
    last ``/`` or ``\`` is kept, in NFC, without control and format characters (CRLF would split a
    header, a right-to-left override makes ``exe.jpg`` of ``gpj.exe``), at most 255 bytes with the
    extension kept.

    Args:
        filename: What the client sent, or ``None`` when it sent nothing.
    """
    if filename is None:
        return None
    last = unicodedata.normalize("NFC", filename).replace("\\", "/").rsplit("/", 1)[-1]
    if not _is_plain(last):
        last = "".join(
            char
            for char in last
            if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
            and char not in _NOT_IN_XML
        )
    visible = last.strip()
    if visible in ("", ".", ".."):
        return None
    return _truncate_filename(visible)


def _is_plain(text: str) -> bool:
    """Tell at once of most names that each of their characters is harmless."""
    return text.isascii() and text.isprintable()


def _find_problem(name: str) -> str | None:
    if name.startswith("/"):
        return "it is absolute; names are relative to the storage"
    if "\\" in name:
        # On Windows a backslash separates folders, so a `..\x` would climb out of a root there.
        return "it has a backslash; use '/' between folders"
    for char in "" if _is_plain(name) else name:
        category = unicodedata.category(char)
        if category == "Cc":
            return f"it has the control character U+{ord(char):04X}"
        if category == "Cs" or char in _NOT_IN_XML:
            return f"it has U+{ord(char):04X}, which is not a Unicode character"
    if ".." in name.split("/"):
        return "it has a '..' segment"
    return None


def _shorten(name: str) -> str:
    """Quote a name for a message: ASCII, so that no control character reaches a log."""
    quoted = ascii(name)
    return quoted if len(quoted) <= 120 else f"{quoted[:100]}...{quoted[0]}"


def _truncate_filename(filename: str) -> str:
    if len(filename.encode()) <= MAX_FILENAME_BYTES:
        return filename
    stem, dot, extension = filename.rpartition(".")
    if not dot or len(extension.encode()) > 32:
        stem, extension = filename, ""
    ending = f"{dot}{extension}" if extension else ""
    room = MAX_FILENAME_BYTES - len(ending.encode())
    return stem.encode()[:room].decode(errors="ignore") + ending


def _uuid7() -> UUID:
    """Make a UUID of version 7. Python has ``uuid.uuid7`` from 3.14 on only.

    Source: RFC 9562 section 5.7: 48 bits of Unix time in milliseconds, version, then random bits.
    """
    milliseconds = time.time_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10), "big")
    high, low = random_bits >> 68, random_bits & ((1 << 62) - 1)
    return UUID(
        int=(milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    )
