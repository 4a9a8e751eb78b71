import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_async_storages.exceptions import RangeNotSatisfiableError
from fastapi_async_storages.ranges import ByteRange, ContentRange, parse_range_header

NUMBERS = st.integers(0, 10**19 - 1)
RANGES = (
    st.builds(lambda start, length: ByteRange(start, start + length), NUMBERS, st.integers(0, 99))
    | st.builds(ByteRange, NUMBERS)
    | st.builds(lambda suffix: ByteRange(suffix=suffix), NUMBERS)
    | st.builds(ByteRange, st.integers(0, 12), st.none())
    | st.builds(lambda suffix: ByteRange(suffix=suffix), st.integers(0, 12))
)


@pytest.mark.parametrize(
    "header, wanted",
    [
        ("bytes=0-499", ByteRange(0, 499)),
        ("bytes=500-", ByteRange(500)),
        ("bytes=-500", ByteRange(suffix=500)),
        ("bytes=-0", ByteRange(suffix=0)),
        ("bytes=0-0", ByteRange(0, 0)),
        ("BYTES=0-1", ByteRange(0, 1)),
        (" bytes=0-1\t", ByteRange(0, 1)),
        ("bytes= 0-1 ", ByteRange(0, 1)),
        ("bytes=007-008", ByteRange(7, 8)),
        ("bytes=9999999999999999999-", ByteRange(10**19 - 1)),
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=a-b", None),
        ("bytes=1-2,3-4", None),
        ("bytes=1-2,", None),
        ("bytes=1 - 2", None),
        ("bytes=--1", None),
        ("bytes=+1-2", None),
        ("bytes=1-2-3", None),
        ("bytes=1.0-2", None),
        ("bytes=0x1-2", None),
        ("bytes =0-1", None),
        ("items=0-1", None),
        ("bytes=\u0661-\u0662", None),  # Arabic digits are digits to `int`, not to HTTP.
        ("bytes=99999999999999999999-", None),
        ("bytes=0-1\n", None),
    ],
)
def test_range_headers(header: str, wanted: ByteRange | None) -> None:
    assert parse_range_header(header) == wanted


@given(RANGES)
def test_a_range_survives_its_header(byte_range: ByteRange) -> None:
    if byte_range.end is None or byte_range.end < 10**19:
        assert parse_range_header(str(byte_range)) == byte_range


@given(st.text() | st.text("bytes=-, 0123456789", max_size=30).map("bytes={}".format))
def test_no_header_is_an_error(header: str) -> None:
    parse_range_header(header)


@given(RANGES, st.integers(0, 20))
def test_a_range_is_what_a_slice_is(byte_range: ByteRange, size: int) -> None:
    content = bytes(range(size))
    if byte_range.suffix is not None:
        wanted = content[max(size - byte_range.suffix, 0) :]
    else:
        end = None if byte_range.end is None else byte_range.end + 1
        wanted = content[byte_range.start : end]
    if not wanted:
        with pytest.raises(RangeNotSatisfiableError, match=f"has {size} bytes") as raised:
            byte_range.resolve(size)
        assert raised.value.size == size
        return
    got = byte_range.resolve(size)
    assert content[got.start : got.end + 1] == wanted
    assert 0 <= got.start <= got.end < got.size == size
    assert got.length == len(wanted) > 0
    assert str(got) == f"bytes {got.start}-{got.end}/{size}"


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"start": 0, "suffix": 1},
        {"suffix": -1},
        {"suffix": 1, "end": 1},
        {"end": 1},
        {"start": -1},
        {"start": 2, "end": 1},
    ],
)
def test_numbers_that_make_no_range_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="range"):
        ByteRange(**numbers)


def test_a_content_range_says_its_bytes() -> None:
    assert str(ContentRange(0, 499, 1234)) == "bytes 0-499/1234"
    assert ContentRange(0, 499, 1234).length == 500
