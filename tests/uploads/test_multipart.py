"""The parser agrees with Starlette's, and is never ahead of the one who takes the parts."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from itertools import pairwise
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from fastapi_async_storages.exceptions import FormTooLargeError, MalformedBodyError
from fastapi_async_storages.uploads.multipart import FormLimits, read_parts

pytestmark = pytest.mark.anyio

BOUNDARY = "fence"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"

Item: TypeAlias = tuple[str, str | None, str | None, str | bytes]
"""Name, file name, type and content of one part."""


def make_part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = [f"Content-Disposition: form-data; {disposition}", *headers]
    return b"".join(
        [f"--{BOUNDARY}\r\n".encode(), "\r\n".join(lines).encode(), b"\r\n\r\n", content, b"\r\n"]
    )


def make_body(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


TWO_FILES = make_body(
    make_part('name="title"', "Straße".encode()),
    make_part('name="video"; filename="a.mp4"', b"\r\n--fenc\r\n" * 3, "Content-Type: video/mp4"),
    make_part('name="poster"; filename="b.png"', b"", "Content-Type: image/png"),
    make_part('name="tag"', b"last"),
)


async def stream(chunks: Sequence[bytes]) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


async def read_ours(chunks: Sequence[bytes], limits: FormLimits | None = None) -> list[Item]:
    items: list[Item] = []
    async for part in read_parts(CONTENT_TYPE, stream(chunks), limits):
        if part.filename is None:
            items.append((part.name, None, None, await part.read()))
        else:
            content = b"".join([chunk async for chunk in part.chunks])
            items.append((part.name, part.filename, part.headers.get("content-type"), content))
    return items


async def read_starlette(chunks: Sequence[bytes], limits: FormLimits) -> list[Item]:
    parser = MultiPartParser(
        Headers({"content-type": CONTENT_TYPE}),
        stream(chunks),
        max_files=limits.max_files,
        max_fields=limits.max_fields,
        max_part_size=limits.max_part_size,
    )
    items: list[Item] = []
    for name, value in (await parser.parse()).multi_items():
        if isinstance(value, UploadFile):
            items.append((name, value.filename, value.content_type, await value.read()))
            await value.close()
        else:
            items.append((name, None, None, value))
    return items


def is_complete(body: bytes) -> bool:
    """Tell whether a body has its last boundary, which Starlette does not ask."""
    ends: list[bool] = []
    MultipartParser(BOUNDARY, {"on_end": lambda: ends.append(True)}).write(body)
    return bool(ends)


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[start:end] for start, end in pairwise(ends)] or [body]


NASTY = st.sampled_from(
    [
        b"\r\n",
        b"--",
        b"\r\n--fence",
        b"\r\n--fence--",
        b"\r\n--fence\r\n",
        b"\r\n--fenc",
        b"\r",
        b"\n\r",
        b'"; filename="x',
        b"Content-Disposition: form-data; name=x\r\n\r\n",
        b"\x00",
        b"\xff\xfe",
    ]
)
CONTENT = st.lists(st.one_of(NASTY, st.binary(max_size=20)), max_size=6).map(b"".join)
DISPOSITIONS = st.sampled_from(
    [
        'name="a"',
        "name=a",
        'name="a"; filename="b.txt"',
        'name="a"; filename=""',
        'name="ä"; filename="../../é\u202e.png"',
        'name="a\\"b"; filename="c:\\\\d\\\\e.txt"',
        "name=a; filename*=UTF-8''x.txt",
        'filename="nameless.txt"',
        'name=""',
    ]
)
HEADERS = st.lists(
    st.sampled_from(
        [
            "Content-Type: image/png",
            "Content-Disposition: form-data; name=late",
            "X-A: b",
            "X A: b",
            "X-A: " + "b" * 5000,
        ]
    ),
    max_size=9,
)
PARTS = st.builds(lambda disposition, content, headers: make_part(disposition, content, *headers),
                  DISPOSITIONS, CONTENT, HEADERS)  # fmt: skip
WELL_FORMED = st.lists(PARTS, max_size=5).map(lambda parts: make_body(*parts))
DAMAGED = st.builds(
    lambda body, start, length, instead: body[:start] + instead + body[start + length :],
    WELL_FORMED,
    st.integers(0, 400),
    st.integers(0, 200),
    st.one_of(NASTY, st.binary(max_size=8)),
)
LIMITS = st.builds(
    FormLimits,
    max_files=st.integers(1, 3),
    max_fields=st.integers(1, 3),
    max_part_size=st.integers(0, 40),
)


@given(
    body=st.one_of(WELL_FORMED, DAMAGED, st.binary(max_size=60)),
    places=st.lists(st.integers(0, 5000), max_size=8),
    limits=st.one_of(st.just(FormLimits()), LIMITS),
)
@settings(max_examples=500, deadline=None)
async def test_it_agrees_with_starlette_on_any_body_cut_into_any_chunks(
    body: bytes, places: list[int], limits: FormLimits
) -> None:
    chunks = cut(body, places)
    expected: list[Item] | type[Exception]
    try:
        expected = await read_starlette(chunks, limits)
    except MultiPartException as error:
        is_limit = error.message.startswith(("Too many", "Part exceeded"))
        expected = FormTooLargeError if is_limit else MalformedBodyError
    else:
        if not is_complete(body):
            expected = MalformedBodyError
    received: list[Item] | type[Exception]
    try:
        received = await read_ours(chunks, limits)
    except (FormTooLargeError, MalformedBodyError) as error:
        received = type(error)
    assert received == expected


@given(places=st.lists(st.integers(0, len(TWO_FILES)), max_size=12))
@settings(deadline=None)
async def test_it_reads_the_same_however_the_body_is_cut(places: list[int]) -> None:
    assert await read_ours(cut(TWO_FILES, places)) == [
        ("title", None, None, "Straße"),
        ("video", "a.mp4", "video/mp4", b"\r\n--fenc\r\n" * 3),
        ("poster", "b.png", "image/png", b""),
        ("tag", None, None, "last"),
    ]


async def test_a_body_that_ends_anywhere_before_its_last_boundary_is_malformed() -> None:
    end = TWO_FILES.rindex(b"--") + 2
    for size in range(end):
        with pytest.raises(MalformedBodyError):
            await read_ours([TWO_FILES[:size]])
    assert len(await read_ours([TWO_FILES[:end]])) == 4


class Counted:
    """A body that counts how often it was asked for more."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self.chunks = chunks
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            self.taken += 1
            yield chunk


async def test_the_body_is_read_no_faster_than_the_part_is_taken() -> None:
    content = [f"{number:04}".encode() * 250 for number in range(100)]
    head = make_part('name="video"; filename="a.mp4"', b"")[:-2]
    body = Counted([head, *content, make_body()])
    parts = read_parts(CONTENT_TYPE, aiter(body))
    part = await anext(parts)
    assert body.taken == 1
    for number, chunk in enumerate(content):
        # What comes out is what came in, not a copy.
        assert await anext(part.chunks) is chunk
        assert body.taken == number + 2
    await parts.aclose()


async def test_a_part_that_nobody_reads_is_skipped() -> None:
    names = [part.name async for part in read_parts(CONTENT_TYPE, stream(cut(TWO_FILES, [9, 99])))]
    assert names == ["title", "video", "poster", "tag"]


async def test_nothing_is_read_behind_the_last_boundary() -> None:
    body = Counted([TWO_FILES, b"epilogue", b"without end"])
    assert len([part async for part in read_parts(CONTENT_TYPE, aiter(body))]) == 4
    assert body.taken == 1


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; charset=utf-8", f"a/b; boundary={'x' * 257}"],
)
async def test_a_form_without_a_usable_boundary_is_malformed(content_type: str) -> None:
    with pytest.raises(MalformedBodyError, match="boundary"):
        await anext(read_parts(content_type, stream([TWO_FILES])))


@pytest.mark.parametrize(
    "body",
    [
        TWO_FILES.replace(b"fence", b"other"),
        make_body(make_part('name="a"', b"", "X-Large: " + "x" * 1024 * 1024)),
        make_body(make_part('name="a"', b"", *["X-Many: x"] * 8)),
        make_body(make_part('name="a"', b"", "No colon")),
        make_body(make_part('filename="nameless"', b"")),
        b"",
    ],
    ids=["wrong boundary", "1 MiB header", "many headers", "bad header", "no name", "empty"],
)
async def test_malformed_bodies(body: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        await read_ours([body])


@pytest.mark.parametrize(
    "body,limits,limit",
    [
        (make_body(*[make_part('name="a"', b"")] * 10_000), FormLimits(), 1000),
        (make_body(*[make_part('name="a"; filename="b"', b"")] * 3), FormLimits(max_files=2), 2),
        (make_body(make_part('name="a"', b"x" * 11)), FormLimits(max_part_size=10), 10),
        (make_body(*[make_part('name="a"', b"x" * 900)] * 3), FormLimits(max_form_size=2000), 2000),
        (make_body(make_part('name="a"', b"", "X: " + "x" * 99)), FormLimits(max_form_size=99), 99),
        (b"\r\n" * 100_000 + make_body(), FormLimits(max_form_size=1000), 1000),
    ],
    ids=["fields", "files", "long field", "long fields", "headers", "preamble"],
)
async def test_limits(body: bytes, limits: FormLimits, limit: int) -> None:
    with pytest.raises(FormTooLargeError) as caught:
        await read_ours(cut(body, range(0, len(body), 4096)), limits)
    assert caught.value.limit == limit


async def test_each_field_may_be_as_large_as_its_limit() -> None:
    body = make_body(*[make_part('name="a"', b"x" * 10)] * 3)
    assert len(await read_ours([body], FormLimits(max_part_size=10))) == 3


async def test_the_content_of_files_does_not_count_as_form() -> None:
    body = make_body(make_part('name="a"; filename="b"', b"x" * 100_000))
    limits = FormLimits(max_form_size=500, max_part_size=10)
    [(_, _, _, content)] = await read_ours(cut(body, range(0, len(body), 4096)), limits)
    assert len(content) == 100_000


async def test_no_charset_is_asked_for() -> None:
    body = make_body(make_part('name="a"', "-ß9".encode()))
    parts = read_parts(f"{CONTENT_TYPE}; charset=punycode", stream([body]))
    assert await (await anext(parts)).read() == "-ß9"
    await parts.aclose()
