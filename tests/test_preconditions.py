from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_async_storages.exceptions import NotModifiedError, PreconditionFailedError
from fastapi_async_storages.preconditions import ANY_ETAG, Outcome, Preconditions

MODIFIED = datetime(2026, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
EARLIER, LATER = MODIFIED - SECOND, MODIFIED + SECOND
AS_HTTP_SAYS = parsedate_to_datetime(format_datetime(MODIFIED, usegmt=True))

PROCEED, NOT_MODIFIED, FAILED = Outcome.PROCEED, Outcome.NOT_MODIFIED, Outcome.FAILED


@pytest.mark.parametrize(
    "preconditions, outcome",
    [
        (Preconditions(), PROCEED),
        # If-Match: strong comparison
        (Preconditions(if_match=('"a"',)), PROCEED),
        (Preconditions(if_match=('"b"', '"a"')), PROCEED),
        (Preconditions(if_match=(ANY_ETAG,)), PROCEED),
        (Preconditions(if_match=('"b"',)), FAILED),
        (Preconditions(if_match=('W/"a"',)), FAILED),
        (Preconditions(if_match=("a",)), FAILED),
        # If-Unmodified-Since: in whole seconds
        (Preconditions(if_unmodified_since=AS_HTTP_SAYS), PROCEED),
        (Preconditions(if_unmodified_since=MODIFIED), PROCEED),
        (Preconditions(if_unmodified_since=LATER), PROCEED),
        (Preconditions(if_unmodified_since=EARLIER), FAILED),
        # A tag takes precedence over the time.
        (Preconditions(if_match=('"a"',), if_unmodified_since=EARLIER), PROCEED),
        (Preconditions(if_match=('"b"',), if_unmodified_since=LATER), FAILED),
        # If-None-Match: weak comparison
        (Preconditions(if_none_match=('"a"',)), NOT_MODIFIED),
        (Preconditions(if_none_match=('W/"a"',)), NOT_MODIFIED),
        (Preconditions(if_none_match=('"b"', 'W/"a"')), NOT_MODIFIED),
        (Preconditions(if_none_match=(ANY_ETAG,)), NOT_MODIFIED),
        (Preconditions(if_none_match=('"b"',)), PROCEED),
        # If-Modified-Since
        (Preconditions(if_modified_since=AS_HTTP_SAYS), NOT_MODIFIED),
        (Preconditions(if_modified_since=LATER), NOT_MODIFIED),
        (Preconditions(if_modified_since=EARLIER), PROCEED),
        (Preconditions(if_none_match=('"b"',), if_modified_since=LATER), PROCEED),
        (Preconditions(if_none_match=('"a"',), if_modified_since=EARLIER), NOT_MODIFIED),
        # First what must be, then what need not be sent.
        (Preconditions(if_match=('"b"',), if_none_match=('"a"',)), FAILED),
        (Preconditions(if_match=('"a"',), if_none_match=('"a"',)), NOT_MODIFIED),
        (Preconditions(if_unmodified_since=EARLIER, if_modified_since=LATER), FAILED),
        (Preconditions(if_unmodified_since=LATER, if_modified_since=LATER), NOT_MODIFIED),
    ],
)
def test_the_order_of_rfc_9110_section_13_2_2(
    preconditions: Preconditions, outcome: Outcome
) -> None:
    assert preconditions.evaluate(etag='"a"', last_modified=MODIFIED) is outcome
    assert bool(preconditions) == (preconditions != Preconditions())


@pytest.mark.parametrize(
    "preconditions, outcome",
    [
        (Preconditions(if_match=('"a"',)), FAILED),
        (Preconditions(if_match=(ANY_ETAG,)), PROCEED),
        (Preconditions(if_none_match=('"a"',)), PROCEED),
        (Preconditions(if_none_match=(ANY_ETAG,)), NOT_MODIFIED),
        (Preconditions(if_modified_since=LATER), PROCEED),
        (Preconditions(if_unmodified_since=EARLIER), PROCEED),
    ],
)
def test_a_file_of_which_nothing_is_known(preconditions: Preconditions, outcome: Outcome) -> None:
    assert preconditions.evaluate(etag=None, last_modified=None) is outcome


def test_a_weak_tag_never_matches_strongly() -> None:
    weak = 'W/"a"'
    assert Preconditions(if_match=(weak,)).evaluate(etag=weak, last_modified=None) is FAILED
    assert (
        Preconditions(if_none_match=('"a"',)).evaluate(etag=weak, last_modified=None)
        is NOT_MODIFIED
    )


@given(st.integers(0, 2**32 * 10**6).map(lambda n: EPOCH + n * MICROSECOND), st.integers(-12, 12))
def test_a_reader_that_repeats_the_time_that_it_was_told(modified: datetime, hours: int) -> None:
    """Last-Modified has whole seconds, and must match the file that it was the time of."""
    told = modified.replace(microsecond=0).astimezone(timezone(timedelta(hours=hours)))
    assert (
        Preconditions(if_modified_since=told).evaluate(etag=None, last_modified=modified)
        is NOT_MODIFIED
    )
    assert (
        Preconditions(if_unmodified_since=told).evaluate(etag=None, last_modified=modified)
        is PROCEED
    )


def test_enforcing_raises() -> None:
    def enforce(preconditions: Preconditions) -> None:
        preconditions.enforce(
            etag='"a"', last_modified=MODIFIED, cache_control="no-cache", storage="S", name="n"
        )

    enforce(Preconditions(if_match=('"a"',)))
    with pytest.raises(PreconditionFailedError, match="'n' in S is not the version") as failed:
        enforce(Preconditions(if_match=('"b"',)))
    assert (failed.value.storage, failed.value.name) == ("S", "n")
    with pytest.raises(NotModifiedError, match="'n' in S is the version") as unchanged:
        enforce(Preconditions(if_none_match=('"a"',)))
    error = unchanged.value
    assert (error.storage, error.name, error.etag) == ("S", "n", '"a"')
    assert (error.last_modified, error.cache_control) == (MODIFIED, "no-cache")
