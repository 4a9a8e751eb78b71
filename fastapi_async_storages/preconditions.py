"""Preconditions on the version of a stored file, checked in the order that HTTP fixes.

They live below the storages because a backend checks them in the same round trip that reads the
file: S3 itself evaluates them, the other backends call :meth:`Preconditions.evaluate`.

Source: RFC 9110 section 13.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from fastapi_async_storages.exceptions import NotModifiedError, PreconditionFailedError

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
        elif _is_newer(last_modified, self.if_unmodified_since) is True:
            return Outcome.FAILED
        if self.if_none_match:
            if _matches_weakly(self.if_none_match, etag):
                return Outcome.NOT_MODIFIED
        elif _is_newer(last_modified, self.if_modified_since) is False:
            return Outcome.NOT_MODIFIED
        return Outcome.PROCEED

    def enforce(
        self,
        *,
        etag: str | None,
        last_modified: datetime | None,
        cache_control: str | None = None,
        storage: str,
        name: str,
    ) -> None:
        """Raise unless the stored file is one that the reader wants and does not have.

        Args:
            etag: Entity tag of the stored file, with its quotes.
            last_modified: Aware time of its last change.
            cache_control: See :class:`NotModifiedError`.
            storage: How errors name the storage.
            name: How errors name the file.

        Raises:
            PreconditionFailedError: When the file is not a wanted version.
            NotModifiedError: When the file is a version that the reader has.
        """
        outcome = self.evaluate(etag=etag, last_modified=last_modified)
        if outcome is Outcome.FAILED:
            raise PreconditionFailedError(
                f"{name!a} in {storage} is not the version that was asked for.",
                storage=storage,
                name=name,
            )
        if outcome is Outcome.NOT_MODIFIED:
            raise NotModifiedError(
                f"{name!a} in {storage} is the version that the reader has.",
                storage=storage,
                name=name,
                etag=etag,
                last_modified=last_modified,
                cache_control=cache_control,
            )


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


def _is_newer(last_modified: datetime | None, than: datetime | None) -> bool | None:
    """Compare in whole seconds; ``None`` when one of the times is not known."""
    if last_modified is None or than is None:
        return None
    return last_modified.replace(microsecond=0) > than


_NONE = Preconditions()
