"""Preconditions on the version of a stored file, checked in the order that HTTP fixes.

They live below the storages because a backend checks them in the same round trip that reads the
file: S3 itself evaluates them, the other backends call :meth:`Preconditions.evaluate`.

Source: RFC 9110 section 13.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

__all__ = ["ANY_ETAG", "Outcome", "Preconditions"]

ANY_ETAG = "*"
"""Matches any current version. Source: RFC 9110 sections 13.1.1 and 13.1.2."""


class Outcome(Enum):
    """What the preconditions say of a stored file."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The versions of a file that a reader wants, or already has.

    Attributes:
        if_match: Entity tags with their quotes, or ``("*",)``: read only one of these versions.
        if_none_match: Entity tags with their quotes, or ``("*",)``: the reader has these versions.
        if_modified_since: Aware time: the reader has the version of then.
        if_unmodified_since: Aware time: read only a version that is not newer.
    """

    if_match: tuple[str, ...] = ()
    if_none_match: tuple[str, ...] = ()
    if_modified_since: datetime | None = None
    if_unmodified_since: datetime | None = None

    def __bool__(self) -> bool:
        """Tell whether there is anything to check."""
        return self != _NONE

    def evaluate(self, *, etag: str | None, last_modified: datetime | None) -> Outcome:
        """Check a stored file against the preconditions (RFC 9110 section 13.2.2).

        An entity tag takes precedence over a date; dates are compared in whole seconds, the
        resolution of HTTP dates.

        Args:
            etag: Entity tag of the stored file, with its quotes.
            last_modified: Aware time of its last change.
        """
        if self.if_match:
            if not _matches_strongly(self.if_match, etag):
                return Outcome.FAILED
        elif self.if_unmodified_since is not None and last_modified is not None:
            if last_modified.replace(microsecond=0) > self.if_unmodified_since:
                return Outcome.FAILED
        if self.if_none_match:
            if _matches_weakly(self.if_none_match, etag):
                return Outcome.NOT_MODIFIED
        elif self.if_modified_since is not None and last_modified is not None:
            if last_modified.replace(microsecond=0) <= self.if_modified_since:
                return Outcome.NOT_MODIFIED
        return Outcome.PROCEED


def _matches_strongly(wanted: tuple[str, ...], etag: str | None) -> bool:
    """Compare as RFC 9110 section 8.8.3.2 says for ``If-Match``: a weak tag never matches."""
    if ANY_ETAG in wanted:
        return True
    return etag is not None and not etag.startswith("W/") and etag in wanted


def _matches_weakly(wanted: tuple[str, ...], etag: str | None) -> bool:
    """Compare as RFC 9110 section 8.8.3.2 says for ``If-None-Match``: weak or strong alike."""
    if ANY_ETAG in wanted:
        return True
    return etag is not None and etag.removeprefix("W/") in {
        tag.removeprefix("W/") for tag in wanted
    }


_NONE = Preconditions()
