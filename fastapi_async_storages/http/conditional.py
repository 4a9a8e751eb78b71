"""Conditional and range requests: which version of a file a client wants, and which bytes of it.

Source: RFC 9110 sections 13 (conditional requests) and 14 (range requests).
"""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from starlette.datastructures import Headers

from fastapi_async_storages.exceptions import RangeNotSatisfiableError
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.preconditions import ANY_ETAG, Preconditions
from fastapi_async_storages.ranges import ByteRange, parse_range_header
from fastapi_async_storages.readers import FileReader
from fastapi_async_storages.storage import Storage

__all__ = [
    "ConditionalRequest",
    "format_http_date",
    "get_conditionally",
    "open_conditionally",
    "parse_etags",
    "parse_http_date",
]

# RFC 9110 section 8.8.3, without obs-text: no storage makes a tag that is not ASCII, and an HTTP
# client could not pass one on.
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')

_MATCHES_NOTHING = ('W/""',)
"""An ``If-Match`` that no file meets: a weak tag never matches there (RFC 9110 section 13.1.1)."""


@dataclass(frozen=True, slots=True)
class ConditionalRequest:
    """What the headers of a request say about the version and the bytes that it wants.

    Attributes:
        preconditions: Which versions.
        byte_range: Which bytes; ``None`` is all.
        if_range: The version that the range is meant for, as an entity tag with its quotes or as an
            HTTP date; all bytes are wanted of any other version. ``None`` is every version.
    """

    preconditions: Preconditions
    byte_range: ByteRange | None = None
    if_range: str | None = None

    @classmethod
    def from_headers(cls, headers: Headers) -> "ConditionalRequest":
        """Read the headers of a request.

        What is malformed is ignored, as RFC 9110 says: the client gets the whole file then. Only a
        malformed ``If-Match`` matches nothing, because its sender would not want another version.

        Args:
            headers: The headers of the request.
        """
        if_match = _join(headers, "if-match")
        if_none_match = _join(headers, "if-none-match")
        modified, unmodified = headers.get("if-modified-since"), headers.get("if-unmodified-since")
        preconditions = Preconditions(
            if_match=() if if_match is None else _strong(if_match),
            if_none_match=() if if_none_match is None else parse_etags(if_none_match),
            # A date counts only where the tag's header is missing (RFC 9110 section 13.2.2), and
            # one that is there counts as there even when it is malformed.
            if_modified_since=parse_http_date(modified) if if_none_match is None else None,
            if_unmodified_since=parse_http_date(unmodified) if if_match is None else None,
        )
        # Several Range headers are one list of ranges, and several ranges are the whole file.
        range_header = _join(headers, "range")
        byte_range = None if range_header is None else parse_range_header(range_header)
        return cls(preconditions, byte_range, headers.get("if-range") if byte_range else None)

    def wants_range_of(self, info: FileInfo) -> bool:
        """Tell whether the range is meant for this version of the file.

        Entity tags are compared strongly, dates exactly (RFC 9110 section 13.1.5).
        """
        if self.if_range is None:
            return True
        validator = self.if_range.strip(" \t")
        if validator.endswith('"'):
            return validator == info.etag and not validator.startswith("W/")
        return info.last_modified is not None and validator == format_http_date(info.last_modified)


@asynccontextmanager
async def open_conditionally(
    storage: Storage, name: str, request: ConditionalRequest
) -> AsyncIterator[FileReader]:
    """Open a file as a request wants it: one round trip, two when ``If-Range`` does not hold.

    The storage evaluates all the rest. ``If-Range`` is compared with the record that comes with the
    bytes, because S3 does not know it.

    Args:
        storage: Where the file is.
        name: Which file.
        request: Which version and which bytes of it.

    Yields:
        The reader, as ``storage.open`` does.

    Raises:
        NotFoundError: On entry, when there is no such file.
        NotModifiedError: On entry, when the client has this version.
        PreconditionFailedError: On entry, when it wants another version.
        RangeNotSatisfiableError: On entry, when the file has no byte of the range; its ``size`` is
            known.
    """
    async with AsyncExitStack() as stack:
        if request.byte_range is not None:
            opened = storage.open(
                name, byte_range=request.byte_range, preconditions=request.preconditions
            )
            try:
                reader = await stack.enter_async_context(opened)
            except RangeNotSatisfiableError as error:
                if request.if_range is None and error.size is not None:
                    raise
            else:
                if request.wants_range_of(reader.info):
                    yield reader
                    return
                await stack.aclose()
        opened = storage.open(name, preconditions=request.preconditions)
        reader = await stack.enter_async_context(opened)
        if request.byte_range is not None and request.wants_range_of(reader.info):
            request.byte_range.resolve(reader.info.size)  # Raises: the range was refused above.
        yield reader


async def get_conditionally(storage: Storage, name: str, request: ConditionalRequest) -> FileInfo:
    """Return the record of a file if the request wants this version: what ``HEAD`` needs.

    A range is not looked at: it is defined for ``GET`` alone (RFC 9110 section 14.2).

    Args:
        storage: Where the file is.
        name: Which file.
        request: Which version of it.

    Raises:
        NotFoundError: When there is no such file.
        NotModifiedError: When the client has this version.
        PreconditionFailedError: When it wants another version.
    """
    info = await storage.get_info(name)
    request.preconditions.enforce(
        etag=info.etag,
        last_modified=info.last_modified,
        cache_control=info.cache_control or "",
        storage=repr(storage),
        name=info.name,
    )
    return info


def parse_etags(value: str) -> tuple[str, ...]:
    """Return the entity tags in ``If-Match`` or ``If-None-Match``, with their quotes.

    Args:
        value: The header's value; ``"*"`` gives ``("*",)``.

    Returns:
        The tags that are well formed; none when none is.
    """
    if value.strip(" \t") == ANY_ETAG:
        return (ANY_ETAG,)
    return tuple(_ETAG.findall(value))


def parse_http_date(value: str | None) -> datetime | None:
    """Return the time in an HTTP date, aware and in UTC, or ``None`` when it is none.

    All three formats of RFC 9110 section 5.6.7 are read.
    """
    if value is None:
        return None
    try:
        parsed = parsedate_to_datetime(value)
        # The asctime format names no zone, and means UTC as the others do.
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def format_http_date(time: datetime) -> str:
    """Return a time as an HTTP date (RFC 9110 section 5.6.7), such as ``Last-Modified``.

    Args:
        time: An aware time; fractions of its second are left out.
    """
    return format_datetime(time.astimezone(UTC), usegmt=True)


def _join(headers: Headers, name: str) -> str | None:
    """Return the value of a list header, whose lines are one list (RFC 9110 section 5.3)."""
    return ", ".join(headers.getlist(name)) or None


def _strong(if_match: str) -> tuple[str, ...]:
    # Weak tags are left out here, as not every S3 server does it.
    tags = tuple(tag for tag in parse_etags(if_match) if not tag.startswith("W/"))
    return tags or _MATCHES_NOTHING
