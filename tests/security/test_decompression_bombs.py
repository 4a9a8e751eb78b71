"""Small files that promise much: pixels, frames, texts, or millions of pieces.

What is promised: the header alone decides, nothing is unpacked, and looking at it takes no more
memory or time than the bytes that came.
"""

import gzip
import io
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from fastapi_async_storages import ImageRules, MemoryStorage, StorageFile, UploadRules, save_upload
from fastapi_async_storages.exceptions import (
    ImageTooLargeError,
    UnreadableImageError,
    UploadRefusedError,
)
from fastapi_async_storages.images import MAX_HEADER_BYTES

pytestmark = pytest.mark.anyio

MIB = 1024**2
IMAGES_ONLY = UploadRules(max_size="20MiB", image=ImageRules())


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def make_png(*chunks: bytes, width: int = 4, height: int = 4) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(4 * (1 + 3 * 4))))
    end = png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + end


def make_gif(width: int, height: int, frames: int = 1) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return screen + frame * frames + b"\x3b"


def make_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def make_avif(properties: bytes, associations: bytes) -> bytes:
    groups = make_box(b"ipco", properties) + make_box(b"ipma", associations)
    item = make_box(b"pitm", bytes(4) + b"\0\1")
    meta = make_box(b"meta", bytes(4) + item + make_box(b"iprp", groups))
    return make_box(b"ftyp", b"avif\0\0\0\0avifmif1") + meta


def make_exif(count: int) -> bytes:
    """Entries of which each says that its value is all of the data."""
    entries = b"".join(
        struct.pack(">HHII", 40_000 - number, 7, 60_000, 8) for number in range(count)
    )
    return (b"MM\0*\0\0\0\x08" + struct.pack(">H", count) + entries).ljust(60_100, b"\0")


@contextmanager
def cheap(*, memory: int, seconds: float = 2) -> Iterator[None]:
    """Fail when the block takes more memory at a time, or more time of the processor."""
    started = time.process_time()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    used = time.process_time() - started
    assert peak < memory, f"{peak / MIB:.1f} MiB"
    assert used < seconds, f"{used:.1f} s"


async def save(content: bytes, rules: UploadRules) -> StorageFile:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 65_536):
            yield content[start : start + 65_536]

    return await save_upload(chunks(), MemoryStorage(), rules=rules)


@pytest.mark.parametrize(
    "content",
    [
        make_png(width=50_000, height=50_000),
        make_png(width=2**31 - 1, height=2**31 - 1),
        b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff" * 6,
        b"RIFF\x1a\0\0\0WEBPVP8L\x0e\0\0\0\x2f" + b"\xff" * 13,
        make_gif(65_535, 65_535),
        b"BM" + struct.pack("<IIIIiiHHI", 70, 0, 54, 40, 2**31 - 1, -(2**31), 1, 24, 0) + bytes(24),
        b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\x01\x01\x11\0\xff\xda" + bytes(20),
        make_avif(
            make_box(b"ispe", struct.pack(">III", 0, 2**32 - 1, 2**32 - 1)),
            struct.pack(">IIHBB", 0, 1, 1, 1, 1),
        ),
    ],
    ids=["png", "largest png", "webp", "lossless webp", "gif", "bmp", "jpeg", "avif"],
)
async def test_a_huge_canvas_is_refused_by_its_header(content: bytes) -> None:
    with cheap(memory=2 * MIB), pytest.raises(ImageTooLargeError) as refused:
        await save(content, IMAGES_ONLY)
    assert refused.value.limit == 100_000_000


async def test_frames_of_a_gif_are_not_decoded() -> None:
    content = make_gif(1000, 1000, frames=400_000)
    # The bytes themselves are in memory, as chunks and as the stored file.
    with cheap(memory=3 * len(content)):
        file = await save(content, IMAGES_ONLY)
    assert file.info is not None
    assert (file.info.width, file.info.height) == (1000, 1000)


@pytest.mark.parametrize("rules", [UploadRules(), IMAGES_ONLY], ids=["no rules", "images only"])
async def test_compressed_texts_of_a_png_are_not_unpacked(rules: UploadRules) -> None:
    text = zlib.compress(bytes(MIB - 1), 9)
    texts = [png_chunk(b"zTXt", b"%d\0\0" % number + text) for number in range(60)]
    content = make_png(*texts)
    assert len(content) < 65_536
    with cheap(memory=4 * MIB, seconds=0.5):
        file = await save(content, rules)
    assert file.info is not None
    assert file.info.width == 4


@pytest.mark.parametrize(
    "content",
    [
        make_png(png_chunk(b"eXIf", make_exif(4900))),
        b"\xff\xd8\xff\xe1"
        + struct.pack(">H", 8 + 60_100)
        + b"Exif\0\0"
        + make_exif(4900)
        + b"\xff\xc0\0\x0b\x08\0\x04\0\x04\x01\x01\x11\0\xff\xda"
        + bytes(20),
    ],
    ids=["png", "jpeg"],
)
async def test_exif_data_that_point_to_themselves_say_nothing(
    content: bytes, recwarn: pytest.WarningsRecorder
) -> None:
    with cheap(memory=4 * MIB, seconds=0.5):
        file = await save(content, UploadRules())
    assert file.info is not None
    assert file.info.width == 4
    # Each warning would be a line in the log, and be kept for ever.
    assert list(recwarn) == []


@pytest.mark.parametrize(
    "content",
    [
        make_png(png_chunk(b"prIv", b"") * 690_000),
        b"\xff\xd8" + b"\xff\xe5\0\2" * 2_090_000,
        b"\xff\xd8" + b"\xff" * 8_360_000,
        make_avif(b"\0\0\0\x08free" * 1_000_000, b""),
        make_avif(b"", struct.pack(">II", 0, 2**32 - 1) + b"\0\1\0" * 2_700_000),
    ],
    ids=["png chunks", "jpeg segments", "jpeg fill bytes", "avif boxes", "avif items"],
)
async def test_millions_of_pieces_are_not_walked(content: bytes) -> None:
    with cheap(memory=5 * MAX_HEADER_BYTES), pytest.raises(UnreadableImageError):
        await save(content, IMAGES_ONLY)


class TestArchives:
    """An archive is one file, whatever it holds."""

    SIZE = 256 * MIB

    def make_zip(self) -> bytes:
        buffer = io.BytesIO()
        with (
            zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("[Content_Types].xml", "w") as entry,
        ):
            for _ in range(self.SIZE // MIB):
                entry.write(bytes(MIB))
        return buffer.getvalue()

    async def test_a_zip_is_not_unpacked(self) -> None:
        content = self.make_zip()
        assert len(content) < MIB
        with cheap(memory=4 * MIB):
            file = await save(content, UploadRules(max_size=MIB, types=["application/zip"]))
        assert await file.get_size() == len(content)

    async def test_a_word_file_is_not_unpacked(self) -> None:
        content = self.make_zip()
        word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
        with cheap(memory=4 * MIB):
            file = await save_upload(
                content,
                MemoryStorage(),
                filename="a.docx",
                rules=UploadRules(max_size=MIB, types=[word]),
            )
        assert file.info is not None
        assert file.info.content_type == word

    async def test_a_gzip_is_not_unpacked(self) -> None:
        content = gzip.compress(bytes(64 * MIB))
        with cheap(memory=4 * MIB), pytest.raises(UploadRefusedError):
            await save(content, UploadRules(types=["text/*"]))
