"""What is known about a stored file, as a plain record."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fastapi_async_storages.exceptions import InvalidMetadataError

__all__ = ["MAX_METADATA_BYTES", "RESERVED_METADATA", "FileInfo", "check_metadata"]

MAX_METADATA_BYTES = 2048
"""Most bytes of all metadata keys and values together, as S3 sends them.

Source: Amazon S3 User Guide, "Working with object metadata": user-defined metadata is at most 2 KB.
"""

# What survives as an HTTP header name on S3, which lower-cases them, and on every S3-compatible
# server; nginx and others drop headers with an underscore unless told otherwise.
_METADATA_KEY = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
RESERVED_METADATA = frozenset({"checksum", "filename", "height", "width"})
"""Metadata keys that :meth:`FileInfo.from_stored` turns into fields of their own."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is known about a stored file. A record without I/O.

    Attributes:
        name: Name in the storage.
        size: Size in bytes.
        content_type: Media type, or ``None`` where the backend does not tell (S3 listings).
        filename: The client's own file name, any Unicode, never to be used as a path.
        etag: Strong entity tag with its quotes, as HTTP sends it (RFC 9110 section 8.8.3).
        last_modified: Aware UTC time of the last change.
        checksum: ``"sha256:"`` and 64 hex digits of the content, when it was computed.
        width: Width in pixels as shown (EXIF orientation applied), for images when known.
        height: Height in pixels as shown, for images when known.
        cache_control: ``Cache-Control`` that the file was stored with.
        metadata: Own keys and values.
    """

    name: str
    size: int
    content_type: str | None = None
    filename: str | None = None
    etag: str | None = None
    last_modified: datetime | None = None
    checksum: str | None = None
    width: int | None = None
    height: int | None = None
    cache_control: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def from_stored(
        cls,
        name: str,
        size: int,
        *,
        metadata: Mapping[str, str],
        content_type: str | None = None,
        etag: str | None = None,
        last_modified: datetime | None = None,
        cache_control: str | None = None,
    ) -> "FileInfo":
        """Build the record from what a backend holds beside the bytes.

        The client's file name, the checksum and the image's size travel in the object's metadata,
        the one place that every backend has; here they become fields again.

        Args:
            name: Name in the storage.
            size: Size in bytes.
            metadata: All keys and values that were passed to ``upload``.
            content_type: Media type.
            etag: Strong entity tag with its quotes.
            last_modified: Aware UTC time of the last change.
            cache_control: ``Cache-Control`` that the file was stored with.
        """
        own = {key: value for key, value in metadata.items() if key not in RESERVED_METADATA}
        return cls(
            name=name,
            size=size,
            content_type=content_type,
            filename=metadata.get("filename"),
            etag=etag,
            last_modified=last_modified,
            checksum=metadata.get("checksum"),
            width=_to_pixels(metadata.get("width")),
            height=_to_pixels(metadata.get("height")),
            cache_control=cache_control,
            metadata=own,
        )


def check_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return metadata that every backend can hold, or refuse it.

    Args:
        metadata: Keys of lower-case ASCII letters, digits and single hyphens; values of
            any text of one line that is not empty.

    Raises:
        InvalidMetadataError: When a key or a value cannot be stored everywhere, or all of it is
            larger than 2 KB as S3 counts it (percent-encoded where it is not ASCII).
    """
    checked: dict[str, str] = {}
    size = 0
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not _METADATA_KEY.fullmatch(key):
            raise InvalidMetadataError(
                f"Invalid metadata key {key!a}: use lower-case ASCII letters, digits and hyphens."
            )
        if not isinstance(value, str) or not value or not _is_one_line(value):
            # A line break would split the HTTP header that carries the value, and S3-compatible
            # servers drop a header without one.
            raise InvalidMetadataError(
                f"Invalid metadata value of {key!a}: use a str of one line without control"
                " characters, not empty."
            )
        checked[key] = value
        size += len(key) + _encoded_size(value)
    if size > MAX_METADATA_BYTES:
        raise InvalidMetadataError(
            f"The metadata has {size} bytes, at most {MAX_METADATA_BYTES} are allowed."
        )
    return checked


def _is_one_line(value: str) -> bool:
    if value.isascii():
        return value.isprintable()  # Every upload brings a checksum: this is the fast way.
    # Not `isprintable`, which refuses the spaces of other scripts (macOS has U+202F in the names of
    # its screenshots) and every character that is newer than Python's own Unicode tables.
    return not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in value)


def _encoded_size(value: str) -> int:
    escaped = 2 * (value.count("%") + value.count(" "))
    if value.isascii():
        return len(value) + escaped
    return escaped + sum(1 if char.isascii() else 3 * len(char.encode()) for char in value)


def _to_pixels(value: str | None) -> int | None:
    # Metadata may come from another program that writes to the same bucket.
    return int(value) if value and value.isascii() and value.isdigit() else None
