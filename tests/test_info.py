import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_async_storages.exceptions import InvalidMetadataError
from fastapi_async_storages.info import MAX_METADATA_BYTES, FileInfo, check_metadata

KEYS = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8})?", fullmatch=True)


def test_a_record_is_built_from_what_is_stored() -> None:
    info = FileInfo.from_stored(
        "a.png",
        5,
        content_type="image/png",
        etag='"tag"',
        last_modified=datetime(2026, 1, 1, tzinfo=UTC),
        cache_control="no-store",
        metadata={
            "filename": "Größe.png",
            "checksum": "sha256:00",
            "width": "32",
            "height": "16",
            "own": "value",
        },
    )
    assert info == FileInfo(
        name="a.png",
        size=5,
        content_type="image/png",
        filename="Größe.png",
        etag='"tag"',
        last_modified=datetime(2026, 1, 1, tzinfo=UTC),
        checksum="sha256:00",
        width=32,
        height=16,
        cache_control="no-store",
        metadata={"own": "value"},
    )


@pytest.mark.parametrize("width", ["", "-1", "1.5", "x", "\u0661", "1e3", " 1"])
def test_dimensions_of_another_program_may_be_nonsense(width: str) -> None:
    assert FileInfo.from_stored("a", 1, metadata={"width": width}).width is None


def test_a_record_is_plain_data() -> None:
    info = FileInfo("a", 1, metadata={"key": "value"})
    assert pickle.loads(pickle.dumps(info)) == info  # noqa: S301 - our own
    assert hash(info) == hash(replace(info))
    with pytest.raises(FrozenInstanceError):
        info.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize("key", ["a", "a-b", "0", "x-1-y", "filename"])
def test_good_keys(key: str) -> None:
    assert check_metadata({key: "1"}) == {key: "1"}


@pytest.mark.parametrize(
    "key", ["", "A", "a_b", "a b", "-a", "a-", "a--b", "é", "a:", "a\n", 1, None, b"a"]
)
def test_bad_keys(key: Any) -> None:
    with pytest.raises(InvalidMetadataError, match="Invalid metadata key"):
        check_metadata({key: "1"})


@pytest.mark.parametrize(
    "value", ["x", " ", "Ö", "日本語", "😀", "👩\u200d👧", "a\u202fb", "%", "=?utf-8?"]
)
def test_good_values(value: str) -> None:
    assert check_metadata({"key": value}) == {"key": value}


@pytest.mark.parametrize(
    "value", ["", "a\r\nb", "\n", "\0", "\t", "\x85", "\u2028", "\u2029", "\ud800", 1, None, b"a"]
)
def test_bad_values(value: Any) -> None:
    with pytest.raises(InvalidMetadataError, match="Invalid metadata value of 'key'"):
        check_metadata({"key": value})


def test_metadata_is_copied() -> None:
    metadata = {"key": "1"}
    checked = check_metadata(metadata)
    metadata["key"] = "2"
    assert checked == {"key": "1"}
    assert check_metadata(None) == check_metadata({}) == {}


@pytest.mark.parametrize(
    "char, size", [("a", 1), (" ", 3), ("%", 3), ("é", 6), ("日", 9), ("😀", 12)]
)
def test_the_limit_counts_what_s3_gets(char: str, size: int) -> None:
    room = (MAX_METADATA_BYTES - len("key")) // size
    assert check_metadata({"key": char * room})
    with pytest.raises(InvalidMetadataError, match="at most 2048 are allowed"):
        check_metadata({"key": char * (room + 1)})


@given(st.dictionaries(KEYS, st.text(min_size=1, max_size=50), max_size=5))
def test_what_passes_fits_into_headers(metadata: dict[str, str]) -> None:
    try:
        checked = check_metadata(metadata)
    except InvalidMetadataError:
        return
    assert checked == metadata
    encoded = {key: quote(value, safe=" -_.~") for key, value in checked.items()}
    assert all(value.isascii() and value.isprintable() for value in encoded.values())
