"""Byte ranges: what a reader asks for, what it gets, and the HTTP headers of both.

Source: RFC 9110 section 14.
"""

import re
from dataclasses import dataclass

from fastapi_async_storages.exceptions import RangeNotSatisfiableError

__all__ = ["ByteRange", "ContentRange", "parse_range_header"]

# RFC 9110 section 14.1.2: first-pos "-" [last-pos], or "-" suffix-length; OWS around the list's
# elements. ASCII digits only: `\d` would take other scripts' digits. 19 digits hold any file.
_RANGE_HEADER = re.compile(
    r"bytes=[ \t]*(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))[ \t]*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The bytes that a body really has.

    Attributes:
        start: Offset of the first byte, from 0.
        end: Offset of the last byte, inclusive.
        size: Size of the whole file in bytes.
    """

    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        """Number of bytes in the range."""
        return self.end - self.start + 1

    def __str__(self) -> str:
        """Return the value of a ``Content-Range`` header (RFC 9110 section 14.4)."""
        return f"bytes {self.start}-{self.end}/{self.size}"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes that a reader wants: ``start`` to ``end``, or the last ``suffix`` bytes.

    ``ByteRange(0, 499)`` is the first 500 bytes, ``ByteRange(500)`` all from byte 500 on, and
    ``ByteRange(suffix=500)`` the last 500 bytes.

    Attributes:
        start: Offset of the first byte, from 0.
        end: Offset of the last byte, inclusive; ``None`` is the end of the file.
        suffix: Number of bytes at the end of the file; excludes the other two.

    Raises:
        ValueError: When the numbers make no range.
    """

    start: int | None = None
    end: int | None = None
    suffix: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that make no range, so that no backend has to."""
        if (self.start is None) == (self.suffix is None):
            raise ValueError("A byte range has either a start or a suffix length.")
        if self.suffix is not None and (self.end is not None or self.suffix < 0):
            raise ValueError("A suffix range has no end, and its length is not negative.")
        if self.start is not None and (
            self.start < 0 or (self.end is not None and self.end < self.start)
        ):
            raise ValueError("A byte range starts at 0 or later, and does not end before it.")

    def resolve(self, size: int) -> ContentRange:
        """Return the bytes that a file of this size has of the range.

        Args:
            size: Size of the whole file in bytes.

        Raises:
            RangeNotSatisfiableError: When the file has none of them (RFC 9110 section 14.1.2).
        """
        if self.suffix is not None:
            start, end = max(size - self.suffix, 0), size - 1
        else:
            start = self.start or 0
            end = size - 1 if self.end is None else min(self.end, size - 1)
        if start > end:
            raise RangeNotSatisfiableError(
                f"The file has {size} bytes, none of them in the range {self}.", size=size
            )
        return ContentRange(start, end, size)

    def __str__(self) -> str:
        """Return the value of a ``Range`` header (RFC 9110 section 14.2)."""
        if self.suffix is not None:
            return f"bytes=-{self.suffix}"
        return f"bytes={self.start}-{'' if self.end is None else self.end}"


def parse_range_header(value: str) -> ByteRange | None:
    """Read a ``Range`` header.

    Args:
        value: The header's value, such as ``"bytes=0-499"``.

    Returns:
        The range, or ``None`` when the header asks for several ranges or another unit, or is
        malformed: a server may ignore those and send the whole file (RFC 9110 section 14.2), and
        that is what keeps a flood of tiny ranges from costing more than a plain download.
    """
    match = _RANGE_HEADER.fullmatch(value.strip(" \t"))
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return ByteRange(suffix=int(suffix))
    if last and int(last) < int(first):
        return None
    return ByteRange(int(first), int(last) if last else None)
