"""S3's object headers and our :class:`FileInfo`, one made of the other."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.ranges import ContentRange

__all__ = [
    "WRITE_TOKEN",
    "ObjectAttributes",
    "to_content_range",
    "to_file_info",
    "to_headers",
    "to_listed_info",
]

WRITE_TOKEN = "write-token"  # noqa: S105 - a metadata key
"""Metadata key of the random token that tells a create-only write's own object from another's."""

# Printable ASCII stands for itself. A space would be trimmed at the ends of a header's value, and
# a percent sign is our escape character.
_METADATA_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")

_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")


@dataclass(frozen=True, slots=True)
class ObjectAttributes:
    """What is stored beside the bytes of an object.

    Attributes:
        content_type: Media type.
        metadata: Own keys and values, any printable text.
        cache_control: ``Cache-Control`` for the readers of this object.
        acl: Canned ACL, such as ``"public-read"``.
    """

    content_type: str
    metadata: Mapping[str, str]
    cache_control: str | None = None
    acl: str | None = None


def to_headers(attributes: ObjectAttributes) -> dict[str, Any]:
    """Return the attributes as parameters of ``PutObject`` and ``CreateMultipartUpload``."""
    optional = {"CacheControl": attributes.cache_control, "ACL": attributes.acl}
    return {
        "ContentType": attributes.content_type,
        # S3 carries metadata in HTTP headers, which are ASCII.
        "Metadata": {
            key: quote(value, safe=_METADATA_SAFE) for key, value in attributes.metadata.items()
        },
        **{key: value for key, value in optional.items() if value is not None},
    }


def to_file_info(name: str, answer: Mapping[str, Any], *, size: int) -> FileInfo:
    """Build the record of a file from the answer to a ``HeadObject`` or ``GetObject``.

    Args:
        name: Name in the storage.
        answer: The parsed answer.
        size: Size of the whole file in bytes.
    """
    metadata = {
        key.lower(): unquote(value)
        for key, value in answer.get("Metadata", {}).items()
        if key.lower() != WRITE_TOKEN
    }
    return FileInfo.from_stored(
        name,
        size,
        metadata=metadata,
        content_type=answer.get("ContentType"),
        etag=answer.get("ETag"),
        last_modified=to_utc(answer.get("LastModified")),
        cache_control=answer.get("CacheControl"),
    )


def to_listed_info(name: str, item: Mapping[str, Any]) -> FileInfo:
    """Build the record of a file from what a listing tells of it."""
    return FileInfo(
        name,
        item["Size"],
        etag=item.get("ETag"),
        last_modified=to_utc(item.get("LastModified")),
    )


def to_content_range(value: str | None) -> ContentRange | None:
    """Read the ``Content-Range`` of an answer; ``None`` when it brings the whole object."""
    match = _CONTENT_RANGE.fullmatch(value or "")
    return ContentRange(*map(int, match.groups())) if match else None


def to_utc(moment: datetime | None) -> datetime | None:
    """Return a time of the SDK, which has a time zone class of its own, in plain UTC."""
    return moment.astimezone(UTC) if moment else None
