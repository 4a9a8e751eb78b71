"""What RFC 9110 says that a server answers, for one file under any conditions.

It knows no parser: requests are drawn as values, and the values write the headers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime

from hypothesis import strategies as st

__all__ = ["DrawnRequest", "Expected", "expect", "requests"]


@dataclass(frozen=True)
class DrawnRequest:
    """A request, as values.

    Attributes:
        if_match: ``"*"``, or among ``current``, ``other``, ``weak`` and ``junk``; ``None`` is no
            header.
        if_none_match: The same.
        if_modified_since: Seconds after the file's last change, or ``"junk"``.
        if_unmodified_since: The same.
        range: Two offsets, a first offset and ``None``, ``None`` and a suffix length, or the text
            of a header that asks for no single range of bytes.
        if_range: ``current``, ``other``, ``weak``, ``junk``, or seconds after the last change.
    """

    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None
    if_modified_since: int | str | None = None
    if_unmodified_since: int | str | None = None
    range: tuple[int | None, int | None] | str | None = None
    if_range: int | str | None = None

    def to_headers(self, etag: str, last_modified: datetime) -> dict[str, str]:
        """Write the headers for a file of this version."""
        tags = {
            "*": "*",
            "current": etag,
            "other": '"no-such-version"',
            "weak": f"W/{etag}",
            "junk": "no-quotes",
        }

        def write(value: int | str) -> str:
            if isinstance(value, str):
                return tags[value]
            return format_datetime(last_modified + timedelta(seconds=value), usegmt=True)

        headers: dict[str, Iterable[int | str] | None] = {
            "If-Match": self.if_match,
            "If-None-Match": self.if_none_match,
            "If-Modified-Since": _one(self.if_modified_since),
            "If-Unmodified-Since": _one(self.if_unmodified_since),
            "If-Range": _one(self.if_range),
        }
        written = {
            name: ", ".join(map(write, values))
            for name, values in headers.items()
            if values is not None
        }
        text = self._write_range()
        return written if text is None else {**written, "Range": text}

    def _write_range(self) -> str | None:
        if not isinstance(self.range, tuple):
            return self.range
        first, last = self.range
        return f"bytes={'' if first is None else first}-{'' if last is None else last}"


def _one(value: int | str | None) -> tuple[int | str] | None:
    return None if value is None else (value,)


@dataclass(frozen=True)
class Expected:
    """The answer to a GET: status, body, and what the headers say of them."""

    status: int
    body: bytes = b""
    content_range: str | None = None


def expect(request: DrawnRequest, content: bytes, *, is_get: bool = True) -> Expected:
    """Return the answer that RFC 9110 section 13.2.2 prescribes."""
    if request.if_match is not None:
        if not {"*", "current"} & set(request.if_match):
            return Expected(412)
    elif isinstance(request.if_unmodified_since, int) and request.if_unmodified_since < 0:
        return Expected(412)
    if request.if_none_match is not None:
        if {"*", "current", "weak"} & set(request.if_none_match):
            return Expected(304)
    elif isinstance(request.if_modified_since, int) and request.if_modified_since >= 0:
        return Expected(304)
    whole = Expected(200, content)
    if not is_get or not isinstance(request.range, tuple):
        return whole
    first, last = request.range
    if first is not None and last is not None and last < first:
        return whole  # Not a valid range (section 14.1.1).
    if request.if_range not in (None, "current", 0):
        return whole
    return _expect_range(first, last, content)


def _expect_range(first: int | None, last: int | None, content: bytes) -> Expected:
    size = len(content)
    if first is None:
        wanted = range(size)[size - min(last or 0, size) :]
    else:
        wanted = range(size)[first : None if last is None else last + 1]
    if not wanted:
        return Expected(416, content_range=f"bytes */{size}")
    return Expected(
        206, content[wanted[0] : wanted[-1] + 1], f"bytes {wanted[0]}-{wanted[-1]}/{size}"
    )


_tags = st.one_of(
    st.none(),
    st.just(("*",)),
    st.lists(st.sampled_from(["current", "other", "weak", "junk"]), min_size=1, max_size=3).map(
        tuple
    ),
)
_dates: st.SearchStrategy[int | str | None] = st.sampled_from(
    [None, -86_400, -1, 0, 1, 86_400, "junk"]
)
_validators: st.SearchStrategy[int | str | None] = st.sampled_from(
    [None, "current", "other", "weak", "junk", -86_400, -1, 0, 1]
)
_no_ranges = st.sampled_from(
    [
        "bytes=",
        "bytes=-",
        "bytes=0-1,3-4",
        "bytes=a-b",
        "bytes 0-1",
        "items=0-1",
        "bytes=1-0",
        "0-1",
    ]
)


@st.composite
def requests(draw: st.DrawFn, size: int) -> DrawnRequest:
    """Draw a request for a file of a size in bytes."""
    offsets = st.integers(0, size + 3)
    ranges = st.one_of(
        st.tuples(offsets, offsets),
        st.tuples(offsets, st.none()),
        st.tuples(st.none(), offsets),
        _no_ranges,
        st.none(),
    )
    return DrawnRequest(
        if_match=draw(_tags),
        if_none_match=draw(_tags),
        if_modified_since=draw(_dates),
        if_unmodified_since=draw(_dates),
        range=draw(ranges),
        if_range=draw(_validators),
    )
