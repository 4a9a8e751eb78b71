"""Parts: of the sizes that S3 takes, with all bytes of the file in their order."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastapi_async_storages.backends._s3_parts import (
    MAX_PART_SIZE,
    MAX_PARTS,
    MIN_PART_SIZE,
    PartReader,
    growing_part_size,
    part_size_for,
)
from fastapi_async_storages.exceptions import FileTooLargeError
from fastapi_async_storages.streams import ByteStream

TIB = 1024**4

part_sizes = st.integers(MIN_PART_SIZE, MAX_PART_SIZE)


@given(st.integers(0, 48 * TIB), part_sizes)
@example(MAX_PARTS * MIN_PART_SIZE, MIN_PART_SIZE)
@example(MAX_PARTS * MIN_PART_SIZE + 1, MIN_PART_SIZE)
def test_a_known_size_makes_equal_parts_that_are_enough(total: int, wanted: int) -> None:
    size = part_size_for(total, wanted)
    assert wanted <= size <= MAX_PART_SIZE
    assert size * MAX_PARTS >= total
    if total <= wanted * MAX_PARTS:
        assert size == wanted


@settings(max_examples=20)
@given(part_sizes)
def test_parts_of_an_unknown_size_grow_late_and_never_too_far(wanted: int) -> None:
    sizes = [growing_part_size(number, wanted) for number in range(1, MAX_PARTS + 1)]
    assert sizes[:5000] == [wanted] * 5000
    assert sizes == sorted(sizes)
    assert sizes[-1] == min(32 * wanted, MAX_PART_SIZE)


async def read_all(chunks: Sequence[bytes], part_size: int, size: int | None) -> list[bytes]:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    reader = PartReader(ByteStream(stream(), size), part_size, storage="S3", name="a.bin")
    parts = [(await reader.peek()).getvalue()]
    assert (await reader.read()).getvalue() == parts[0]
    while not reader.ended:
        parts.append((await reader.read()).getvalue())
    return parts


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=20),
    st.integers(1, 50),
    st.booleans(),
)
@example([b"12345"], 5, False)
@example([b"12345", b"6"], 5, False)
@example([], 5, False)
def test_parts_have_all_bytes_in_order(
    chunks: list[bytes], part_size: int, is_size_known: bool
) -> None:
    content = b"".join(chunks)
    size = len(content) if is_size_known else None
    parts = asyncio.run(read_all(chunks, part_size, size))
    assert b"".join(parts) == content
    assert all(len(part) == part_size for part in parts[:-1])
    assert 0 < len(parts[-1]) <= part_size or not content
    assert len(parts) == max(-(-len(content) // part_size), 1)


@pytest.mark.parametrize("surplus", [0, 1])
def test_an_endless_stream_is_refused(surplus: int) -> None:
    # With parts of 1 byte: 5000 of them, then 1000 each of 2, 4, 8, 16 and 32 bytes.
    most = 5000 + 1000 * (2 + 4 + 8 + 16 + 32)
    chunks = [bytes(most), bytes(surplus)] if surplus else [bytes(most)]
    if surplus:
        with pytest.raises(FileTooLargeError, match="part_size") as caught:
            asyncio.run(read_all(chunks, 1, None))
        assert caught.value.limit == most
    else:
        assert len(asyncio.run(read_all(chunks, 1, None))) == MAX_PARTS
