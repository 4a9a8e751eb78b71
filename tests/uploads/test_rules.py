import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_async_storages import MemoryStorage, StorageFile
from fastapi_async_storages.exceptions import (
    ConfigurationError,
    ExtensionNotAllowedError,
    FilenameRefusedError,
    FileTooLargeError,
    FileTooSmallError,
    ImageAspectError,
    ImageTooLargeError,
    ImageTooSmallError,
    InvalidImageError,
    PolyglotError,
    TypeMismatchError,
    TypeNotAllowedError,
    UnreadableImageError,
    UploadRefusedError,
)
from fastapi_async_storages.uploads.checking import check_upload
from fastapi_async_storages.uploads.incoming import IncomingFile
from fastapi_async_storages.uploads.rules import FilenameRules, ImageRules, UploadRules
from fastapi_async_storages.uploads.save import save_upload
from fastapi_async_storages.uploads.sizes import format_size, parse_size
from tests.uploads.samples import (
    GIF,
    HTML,
    JPEG,
    PDF,
    PNG,
    SVG,
    make_image,
    make_png_header,
    make_zip,
)

pytestmark = pytest.mark.anyio


class Source:
    """A body that arrives in chunks, and says how much of it was read."""

    def __init__(self, content: bytes, chunk_size: int = 1000) -> None:
        self.content, self.chunk_size, self.read = content, chunk_size, 0

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        for start in range(0, len(self.content), self.chunk_size):
            chunk = self.content[start : start + self.chunk_size]
            self.read += len(chunk)
            yield chunk


async def save(
    content: bytes,
    rules: UploadRules,
    *,
    filename: str | None = None,
    declared_type: str | None = None,
    size: int | None = None,
) -> tuple[IncomingFile, bytes]:
    """Check an upload to its end, and return what was recognized and what would be stored."""
    checked = await check_upload(
        aiter(Source(content)), rules, filename=filename, declared_type=declared_type, size=size
    )
    stored = b"".join([chunk async for chunk in checked])
    assert checked.checksum == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert checked.size == len(content)
    return checked.file, stored


async def refuse(
    error: type[UploadRefusedError], content: bytes, rules: UploadRules, **claims: Any
) -> tuple[Any, Any]:
    """Expect exactly this error, and return its limit and the value received."""
    with pytest.raises(error) as caught:
        await save(content, rules, **claims)
    assert type(caught.value) is error
    message, received = str(caught.value), caught.value.received
    if "filename" in claims and error is not FilenameRefusedError:
        assert claims["filename"] in message
    if isinstance(received, str | int):
        assert str(received) in message
    return caught.value.limit, received


# Sizes


@pytest.mark.parametrize(
    "text,size",
    [
        (0, 0),
        (7, 7),
        ("7B", 7),
        ("10MiB", 10 * 1024**2),
        ("2GiB", 2 * 1024**3),
        ("1TiB", 1024**4),
        ("5MB", 5_000_000),
        ("64 kB", 64_000),
        ("64kb", 64_000),
        ("1.5KiB", 1536),
        (" 3 KB ", 3000),
    ],
)
def test_sizes_are_read(text: int | str, size: int) -> None:
    assert parse_size(text) == size
    assert UploadRules(max_size=text).max_size == size


@pytest.mark.parametrize(
    "text",
    ["", "10", "MiB", "10M", "10 parsec", "1,5GiB", "-1B", -1, True, 1.5, "10MiB/s", "1e3B", None],
)
def test_what_is_no_size_is_refused_with_the_units_that_are(text: Any) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(repr(text)) + ".*MiB"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=2**50))
def test_sizes_are_shown_without_rounding(size: int) -> None:
    shown = format_size(size)
    assert parse_size(shown.replace(" bytes", "B")) == size


async def test_the_last_allowed_byte_is_allowed_and_the_next_one_is_not() -> None:
    rules = UploadRules(max_size=5000, min_size=10)
    for size in (10, 4999, 5000):
        await save(bytes(size), rules)
    assert await refuse(FileTooLargeError, bytes(5001), rules, filename="a.bin") == (5000, 5001)
    assert await refuse(FileTooSmallError, bytes(9), rules, filename="a.bin") == (10, 9)
    assert await refuse(FileTooSmallError, b"", rules) == (10, 0)


async def test_an_empty_file_is_a_file() -> None:
    assert (await save(b"", UploadRules()))[1] == b""


async def test_an_upload_is_cut_off_at_the_limit() -> None:
    source = Source(bytes(1_000_000))
    checked = await check_upload(aiter(source), UploadRules(max_size=10_000))
    with pytest.raises(FileTooLargeError) as caught:
        async for _ in checked:
            pass
    assert source.read == 11_000
    assert caught.value.received == 11_000
    assert checked.checksum is None


async def test_a_small_limit_cuts_off_while_the_first_bytes_are_read() -> None:
    source = Source(bytes(1_000_000), chunk_size=100)
    with pytest.raises(FileTooLargeError):
        await check_upload(aiter(source), UploadRules(max_size=1000))
    assert source.read == 1100


async def test_an_announced_size_over_the_limit_is_refused_before_a_byte_is_read() -> None:
    source = Source(bytes(10))
    with pytest.raises(FileTooLargeError) as caught:
        await check_upload(aiter(source), UploadRules(max_size=5), size=6)
    assert (caught.value.limit, caught.value.received, source.read) == (5, 6, 0)


async def test_an_announced_size_that_lies_does_not_help() -> None:
    rules = UploadRules(max_size=5000)
    assert await refuse(FileTooLargeError, bytes(5001), rules, size=10) == (5000, 5001)


# Types


@pytest.mark.parametrize(
    "content,types,media_type,extension",
    [
        (PNG, ["image/png"], "image/png", ".png"),
        (PNG, ["image/*"], "image/png", ".png"),
        (JPEG, ["image/jpg"], "image/jpeg", ".jpg"),
        (PDF, ["image/*", "application/pdf"], "application/pdf", ".pdf"),
        (SVG, ["image/*", "image/svg+xml"], "image/svg+xml", ".svg"),
        (make_zip(), ["*/*"], "application/zip", ".zip"),
    ],
)
async def test_types_are_allowed_by_name_or_by_range(
    content: bytes, types: list[str], media_type: str, extension: str
) -> None:
    file, stored = await save(content, UploadRules(types=types))
    assert (file.media_type, file.extension, stored) == (media_type, extension, content)


@pytest.mark.parametrize(
    "content,claims,received",
    [
        (PDF, {"filename": "a.pdf"}, "application/pdf"),
        (HTML, {"filename": "a.png", "declared_type": "image/png"}, "text/html"),
        (b"plain", {"filename": "a.png", "declared_type": "image/png"}, "text/plain"),
        (bytes(100), {"filename": "a.png"}, "application/octet-stream"),
        (b"MZ" + bytes(100), {"filename": "a.jpg"}, "application/octet-stream"),
        (b"", {"filename": "a.png", "declared_type": "image/png"}, "application/octet-stream"),
        # A range never takes in what browsers run as script.
        (SVG, {"filename": "a.svg", "declared_type": "image/svg+xml"}, "image/svg+xml"),
    ],
)
async def test_a_type_that_is_not_allowed_is_refused_whatever_was_claimed(
    content: bytes, claims: dict[str, str], received: str
) -> None:
    rules = UploadRules(types=["image/*"])
    assert await refuse(TypeNotAllowedError, content, rules, **claims) == (["image/*"], received)


@pytest.mark.parametrize("types", ["image/png", ["png"], ["image"], ["image/"], [""], ["a/b/c"]])
def test_types_that_are_none_are_refused(types: Any) -> None:
    with pytest.raises(ConfigurationError, match="types"):
        UploadRules(types=types)


@pytest.mark.parametrize(
    "content,claims,limit,received",
    [
        (PNG, {"filename": "a.jpg"}, "image/png", "image/jpeg"),
        (PNG, {"declared_type": "image/jpeg"}, "image/png", "image/jpeg"),
        (PNG, {"filename": "a.png", "declared_type": "text/plain"}, "image/png", "text/plain"),
        (HTML, {"filename": "a.png"}, "text/html", "image/png"),
        (bytes(100), {"filename": "a.png"}, "application/octet-stream", "image/png"),
    ],
)
async def test_a_claim_that_the_bytes_belie_is_refused_or_corrected(
    content: bytes, claims: dict[str, Any], limit: str, received: str
) -> None:
    rules = UploadRules(mismatch="refuse")
    assert await refuse(TypeMismatchError, content, rules, **claims) == (limit, received)
    file, _ = await save(content, UploadRules(mismatch="correct"), **claims)
    assert file.media_type == limit
    assert file.extension != ".jpg"


@pytest.mark.parametrize(
    "content,claims",
    [
        (PNG, {"filename": "a.png", "declared_type": "image/png; charset=binary"}),
        (PNG, {"filename": "a", "declared_type": "application/octet-stream"}),
        (PNG, {}),
        (PNG, {"declared_type": "not a type"}),
        (JPEG, {"filename": "a.JPEG", "declared_type": "image/pjpeg"}),
        (b"a,b\n1,2\n", {"filename": "a.csv", "declared_type": "text/csv"}),
        (b"a,b\n1,2\n", {"filename": "a.csv", "declared_type": "text/plain"}),
        (make_zip(), {"filename": "a.jar"}),
        (bytes(100), {"filename": "a.unheard-of"}),
    ],
)
async def test_claims_that_may_be_true_are_no_mismatch(
    content: bytes, claims: dict[str, Any]
) -> None:
    assert await save(content, UploadRules(mismatch="refuse"), **claims)


def test_mismatch_is_one_of_two() -> None:
    with pytest.raises(ConfigurationError, match="mismatch='ignore'"):
        UploadRules(mismatch="ignore")  # type: ignore[arg-type]


# Extensions and names


@pytest.mark.parametrize(
    "filename,content",
    [
        ("a.png", PNG),
        ("a.PNG", PNG),
        ("x/y\\a.png", PNG),
        ("a.tar.gz", b"\x1f\x8b\x08" + bytes(20)),
        ("a.xyz", bytes(100)),
        (None, PNG),
    ],
)
async def test_extensions_that_are_allowed(filename: str | None, content: bytes) -> None:
    rules = UploadRules(extensions=["png", ".tar.gz", ".XYZ", ".gz"])
    file, _ = await save(content, rules, filename=filename)
    assert file.extension in (".png", ".gz", "")


@pytest.mark.parametrize(
    "filename,received",
    [("a.php", ".php"), ("a.png.php", ".php"), ("a", ""), (".png", ""), ("a.", "."), ("png", "")],
)
async def test_extensions_that_are_not(filename: str, received: str) -> None:
    rules = UploadRules(extensions=[".png"])
    claims = {"filename": filename}
    assert await refuse(ExtensionNotAllowedError, PNG, rules, **claims) == ([".png"], received)


@pytest.mark.parametrize(
    "content,filename,received",
    [
        (HTML, "a.png", ".html"),
        (JPEG, "a.png", ".jpg"),
        (bytes(100), "a.png", ""),
        (HTML, None, ".html"),
        (bytes(100), None, ""),
    ],
    ids=["HTML as PNG", "JPEG as PNG", "unknown as PNG", "HTML without name", "neither"],
)
async def test_the_stored_file_gets_no_other_extension_either(
    content: bytes, filename: str | None, received: str
) -> None:
    rules = UploadRules(extensions=[".png"])
    claims = {"filename": filename} if filename else {}
    assert await refuse(ExtensionNotAllowedError, content, rules, **claims) == ([".png"], received)


@pytest.mark.parametrize("extensions", [".png", [""], ["."], ["p g"], ["a/b"]])
def test_extensions_that_are_none_are_refused(extensions: Any) -> None:
    with pytest.raises(ConfigurationError, match="extensions"):
        UploadRules(extensions=extensions)


async def test_rules_for_the_file_name() -> None:
    rules = UploadRules(
        filename=FilenameRules(required=True, max_length=12, pattern=r"[A-Za-z0-9]+\.png")
    )
    assert await save(PNG, rules, filename="photo.png")
    assert await refuse(FilenameRefusedError, PNG, rules) == (None, None)
    assert await refuse(FilenameRefusedError, PNG, rules, filename="\0/") == (None, None)
    long = "a" * 4096
    assert await refuse(FilenameRefusedError, PNG, rules, filename=long) == (12, 4096)
    assert await refuse(FilenameRefusedError, PNG, rules, filename="a b.png") == (
        r"[A-Za-z0-9]+\.png",
        "a b.png",
    )


async def test_without_rules_there_may_be_no_name() -> None:
    assert (await save(PNG, UploadRules(filename=FilenameRules(max_length=1))))[0].filename is None


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="pattern="):
        FilenameRules(pattern="(")


# Images


@pytest.mark.parametrize("image_format", ["AVIF", "BMP", "GIF", "JPEG", "PNG", "WEBP"])
async def test_images_are_measured(image_format: str) -> None:
    rules = UploadRules(image=ImageRules(min_width=30, max_width=40, aspect="2:1"))
    file, _ = await save(make_image(image_format, 32, 16), rules)
    assert file.image
    assert (file.image.width, file.image.height) == (32, 16)


@pytest.mark.parametrize(
    "rules,limit,received",
    [
        ({"max_pixels": 511}, 511, 512),
        ({"max_width": 31}, 31, 32),
        ({"max_height": 15}, 15, 16),
    ],
)
async def test_an_image_with_too_many_pixels(
    rules: dict[str, Any], limit: int, received: int
) -> None:
    refused = await refuse(ImageTooLargeError, PNG, UploadRules(image=ImageRules(**rules)))
    assert refused == (limit, received)


@pytest.mark.parametrize(
    "rules,limit,received", [({"min_width": 33}, 33, 32), ({"min_height": 17}, 17, 16)]
)
async def test_an_image_with_too_few_pixels(
    rules: dict[str, Any], limit: int, received: int
) -> None:
    refused = await refuse(ImageTooSmallError, PNG, UploadRules(image=ImageRules(**rules)))
    assert refused == (limit, received)


async def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    bomb = make_png_header(50_000, 50_000)
    limit, received = await refuse(
        ImageTooLargeError, bomb, UploadRules(image=ImageRules()), filename="bomb.png"
    )
    assert received == 2_500_000_000 > limit


async def test_the_orientation_counts() -> None:
    turned = make_image("JPEG", 32, 16, orientation=6)
    assert await save(turned, UploadRules(image=ImageRules(min_height=32, max_width=16)))


async def test_the_header_is_looked_for_behind_a_large_profile() -> None:
    image = make_image("JPEG", 32, 16, icc_size=600_000)
    file, stored = await save(image, UploadRules(image=ImageRules(max_width=32)))
    assert file.image
    assert stored == image
    file, stored = await save(image, UploadRules())
    assert file.image is None
    assert stored == image


@pytest.mark.parametrize(
    "content", [PNG[:20], SVG, b"II*\0" + bytes(100)], ids=["cut off", "SVG", "TIFF"]
)
async def test_an_image_that_cannot_be_read(content: bytes) -> None:
    rules = UploadRules(image=ImageRules())
    await refuse(UnreadableImageError, content, rules, filename="a.png")
    assert issubclass(UnreadableImageError, InvalidImageError)


async def test_what_is_no_image_breaks_the_rules_of_images() -> None:
    rules = UploadRules(image=ImageRules(), types=["image/*", "application/pdf"])
    assert await refuse(TypeNotAllowedError, PDF, rules) == (["image/*"], "application/pdf")


async def test_formats_of_images() -> None:
    rules = UploadRules(image=ImageRules(formats=["png", "WebP"]))
    assert await save(PNG, rules)
    assert await refuse(TypeNotAllowedError, JPEG, rules) == (["PNG", "WEBP"], "JPEG")
    assert await save(JPEG, UploadRules(image=ImageRules(formats=["jpg"])))


@pytest.mark.parametrize("aspect", ["2:1", 2, 2.0, "1.99", (1, "2:1"), ("16:10", 2.5)])
async def test_an_aspect_that_fits(aspect: Any) -> None:
    assert await save(PNG, UploadRules(image=ImageRules(aspect=aspect)))


@pytest.mark.parametrize("aspect", ["1:1", 0.5, ("1:2", "1:1"), (2.1, 3)])
async def test_an_aspect_that_does_not_fit(aspect: Any) -> None:
    limit, received = await refuse(
        ImageAspectError, PNG, UploadRules(image=ImageRules(aspect=aspect))
    )
    assert received == 2
    assert not limit[0] <= received <= limit[1]


@pytest.mark.parametrize(
    "rules",
    [
        {"min_width": 2, "max_width": 1},
        {"min_height": 2, "max_height": 1},
        {"min_width": 0},
        {"min_width": 100, "min_height": 100, "max_pixels": 9999},
        {"formats": ["svg"]},
        {"formats": ["tiff"]},
        {"aspect": "wide"},
        {"aspect": "1:0"},
        {"aspect": 0},
        {"aspect": -1},
        {"aspect": float("nan")},
        {"aspect": (2, 1)},
    ],
)
def test_image_rules_that_no_image_can_keep(rules: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ImageRules(**rules)


def test_rules_that_no_file_can_keep() -> None:
    with pytest.raises(ConfigurationError, match=r"max_size='1KiB'.*min_size=1025"):
        UploadRules(max_size="1KiB", min_size=1025)


# Polyglots

JPEG_WITH_PHP = JPEG[:2] + b"\xff\xfe\x00\x18<?php system('id'); ?>" + JPEG[2:]
GIF_WITH_SCRIPT = GIF[:13] + b"!\xfe\x10<ScRiPt>alert(1)\0" + GIF[13:]


@pytest.mark.parametrize(
    "content,received",
    [
        (JPEG_WITH_PHP, "application/x-httpd-php"),
        (GIF_WITH_SCRIPT, "text/html"),
        (JPEG[:2] + b"\xff\xfe\x00\x0a%PDF-1.7" + JPEG[2:], "application/pdf"),
        (GIF + make_zip(), "application/zip"),
        (PNG + bytes(100_000) + make_zip(b"a comment"), "application/zip"),
        (PNG + make_zip(b"PK\x05\x06 again"), "application/zip"),
    ],
    ids=["php", "script", "pdf", "jar", "zip", "comment"],
)
async def test_a_file_of_two_types_is_refused_where_the_type_matters(
    content: bytes, received: str
) -> None:
    for rules in (UploadRules(types=["image/*"]), UploadRules(extensions=[".jpg", ".gif", ".png"])):
        assert (await refuse(PolyglotError, content, rules, filename="a.jpg"))[1] == received
    assert await save(content, UploadRules())
    assert await save(content, UploadRules(types=["image/*", received, "text/html"]))


async def test_bytes_that_look_like_the_end_of_an_archive_are_none() -> None:
    rules = UploadRules(types=["image/*"])
    for tail in (b"PK\x05\x06", b"PK\x05\x06" + bytes(18) + b"more", b"%PDF-1.7", b"<script>"):
        assert await save(PNG + bytes(5000) + tail, rules)


async def test_documents_hold_other_types_by_right() -> None:
    rules = UploadRules(types=["text/plain", "application/pdf"])
    assert await save(b"Use the <script> tag or <?php.", rules)
    assert await save(PDF + make_zip(), rules)


# Own checks


async def test_validators_see_what_is_known_before_anything_is_stored() -> None:
    seen: list[IncomingFile] = []

    async def look(file: IncomingFile) -> None:
        seen.append(file)

    async def refuse_red(file: IncomingFile) -> None:
        raise UploadRefusedError(f"{file.label} is red.", limit="blue", received="red")

    await save(PNG, UploadRules(validators=[look]), filename="a.png", size=len(PNG))
    assert (seen[0].filename, seen[0].size, seen[0].head) == ("a.png", len(PNG), PNG)
    rules = UploadRules(validators=[look, refuse_red])
    assert await refuse(UploadRefusedError, PNG, rules, filename="a.png") == ("blue", "red")


async def test_scanners_see_every_byte_and_may_refuse_after_the_last() -> None:
    closed = []

    async def count_lines(
        file: IncomingFile, chunks: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        lines = 0
        try:
            async for chunk in chunks:
                lines += chunk.count(b"\n")
                yield chunk
        finally:
            closed.append(file.label)
        if lines > 1000:
            raise UploadRefusedError(f"{file.label} has {lines} lines.", limit=1000, received=lines)

    rules = UploadRules(scanners=[count_lines, count_lines], max_size=20_000)
    assert (await save(b"line\n" * 1000, rules, filename="a.txt"))[1] == b"line\n" * 1000
    refused = await refuse(UploadRefusedError, b"line\n" * 1001, rules, filename="a.txt")
    assert refused == (1000, 1001)
    closed.clear()
    await refuse(FileTooLargeError, b"line\n" * 10_000, rules, filename="a.txt")
    assert len(closed) == 2


@pytest.mark.parametrize("kept", [0, 1])
async def test_a_scanner_that_drops_bytes_is_found_out(kept: int) -> None:
    async def drop(file: IncomingFile, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            if kept:
                yield chunk
                return

    storage = MemoryStorage()
    with pytest.raises(ConfigurationError, match="must yield every chunk"):
        await save_upload(bytes(10_000), storage, rules=UploadRules(scanners=[drop]))
    assert [info async for info in storage.list()] == []


async def test_large_chunks_are_hashed_too() -> None:
    async def one_chunk() -> AsyncGenerator[bytes, None]:
        yield bytes(3_000_000)

    file: StorageFile = await save_upload(one_chunk(), MemoryStorage())
    assert file.info
    assert file.info.checksum == f"sha256:{hashlib.sha256(bytes(3_000_000)).hexdigest()}"


@given(st.binary(max_size=6000), st.integers(min_value=1, max_value=5000))
async def test_whatever_comes_in_chunks_is_stored_as_it_came(content: bytes, size: int) -> None:
    checked = await check_upload(aiter(Source(content, size)), UploadRules())
    assert b"".join([chunk async for chunk in checked]) == content
