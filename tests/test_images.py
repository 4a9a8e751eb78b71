import struct
from io import BytesIO
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from fastapi_async_storages.exceptions import InvalidImageError
from fastapi_async_storages.images import (
    FIRST_READ_BYTES,
    MAX_HEADER_BYTES,
    ImageHeader,
    check_pixels,
    read_image_header,
)

SIZE = (40, 24)
ORIENTATION = 0x0112


def make_image(
    format_name: str,
    *,
    mode: str = "RGB",
    size: tuple[int, int] = SIZE,
    orientation: int | None = None,
    icc_profile: bytes | None = None,
    lossless: bool = False,
) -> bytes:
    options: dict[str, object] = {}
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    if icc_profile is not None:
        options["icc_profile"] = icc_profile
    if lossless:
        options["lossless"] = True
    buffer = BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(buffer, format_name, **options)
    return buffer.getvalue()


IMAGES = {
    "avif": ("image/avif", make_image("AVIF")),
    "avif-alpha": ("image/avif", make_image("AVIF", mode="RGBA")),
    "bmp": ("image/bmp", make_image("BMP")),
    "gif": ("image/gif", make_image("GIF")),
    "jpeg": ("image/jpeg", make_image("JPEG")),
    "jpeg-cmyk": ("image/jpeg", make_image("JPEG", mode="CMYK")),
    "jpeg-exif": ("image/jpeg", make_image("JPEG", orientation=1)),
    "png": ("image/png", make_image("PNG")),
    "png-palette": ("image/png", make_image("PNG", mode="P")),
    "webp-extended": ("image/webp", make_image("WEBP", mode="RGBA", orientation=1)),
    "webp-lossless": ("image/webp", make_image("WEBP", lossless=True)),
    "webp-lossy": ("image/webp", make_image("WEBP")),
}


def cut_off(media_type: str, content: bytes) -> bytes:
    """Cut an image off within its header, behind what proves its format."""
    lengths = {"image/avif": 100, "image/bmp": 24, "image/gif": 15}
    return content[: lengths.get(media_type, 18)]


images = pytest.mark.parametrize(
    "media_type,content", [pytest.param(*IMAGES[name], id=name) for name in IMAGES]
)


@images
def test_whole_file(media_type: str, content: bytes) -> None:
    header = read_image_header(content, is_whole=True)

    assert header == ImageHeader(media_type, *SIZE)


@images
def test_first_bytes_are_enough(media_type: str, content: bytes) -> None:
    # The pixels of a real photo are behind what is read first; these are, too.
    padded = content + bytes(FIRST_READ_BYTES)

    assert read_image_header(padded[:FIRST_READ_BYTES]) == ImageHeader(media_type, *SIZE)


@pytest.mark.parametrize("name", IMAGES)
@given(data=st.data())
def test_a_prefix_tells_the_truth_or_asks_for_more(name: str, data: st.DataObject) -> None:
    media_type, content = IMAGES[name]
    length = data.draw(st.integers(0, min(len(content), 2000)))

    assert read_image_header(content[:length]) in (None, ImageHeader(media_type, *SIZE))


@pytest.mark.parametrize("name", IMAGES)
@given(data=st.data())
def test_hostile_bytes_raise_nothing_else(name: str, data: st.DataObject) -> None:
    content = bytearray(IMAGES[name][1][:1200])
    changes = st.lists(
        st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=8
    )
    for position, value in data.draw(changes):
        content[position] = value

    try:
        header = read_image_header(bytes(content), is_whole=True)
    except InvalidImageError:
        return

    assert header is not None
    assert header.width > 0
    assert header.height > 0


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_counts(format_name: str, orientation: int) -> None:
    header = read_image_header(make_image(format_name, orientation=orientation), is_whole=True)

    assert header is not None
    assert header.is_turned is (orientation >= 5)
    assert (header.width, header.height) == (SIZE[::-1] if orientation >= 5 else SIZE)


def test_orientation_of_webp_is_not_shown() -> None:
    header = read_image_header(make_image("WEBP", orientation=6), is_whole=True)

    assert header == ImageHeader("image/webp", *SIZE)


def test_damaged_exif_data_does_not_hide_the_dimensions() -> None:
    content = make_image("JPEG", orientation=6)
    start = content.index(b"Exif\0\0") + 6
    damaged = content[: start + 8] + b"\xff\xff" + content[start + 10 :]

    header = read_image_header(damaged, is_whole=True)

    assert header is not None
    assert sorted((header.width, header.height)) == sorted(SIZE)


def test_more_bytes_are_asked_for_behind_a_large_profile() -> None:
    content = make_image("JPEG", icc_profile=bytes(300_000))

    assert read_image_header(content[:FIRST_READ_BYTES]) is None
    assert read_image_header(content[: 8 * FIRST_READ_BYTES]) == ImageHeader("image/jpeg", *SIZE)


def test_a_header_that_never_ends_is_refused() -> None:
    comment = b"\xff\xfe\xff\xff" + bytes(65_533)
    head = (b"\xff\xd8" + comment * 130)[:MAX_HEADER_BYTES]

    with pytest.raises(InvalidImageError, match=f"first {MAX_HEADER_BYTES} bytes"):
        read_image_header(head)


@images
def test_a_file_that_is_cut_off_is_refused(media_type: str, content: bytes) -> None:
    with pytest.raises(InvalidImageError, match=f"{media_type} and is cut off"):
        read_image_header(cut_off(media_type, content), is_whole=True)


def make_gif(screen: tuple[int, int], frame: tuple[int, int, int, int], blocks: bytes) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)
    return head + blocks + b"," + struct.pack("<HHHHB", *frame, 0) + b"\x02\x02\x44\x01\x00;"


@pytest.mark.parametrize(
    "screen,frame,size",
    [
        ((1, 1), (0, 0, 9000, 8000), (9000, 8000)),
        ((0, 0), (0, 0, 20, 10), (20, 10)),
        ((30, 30), (25, 2, 10, 3), (35, 30)),
    ],
)
@pytest.mark.parametrize(
    "blocks", [b"", b"!\xfe\x03abc\x02de\x00!\xf9\x04\x00\x00\x00\x00\x00"], ids=["first", "later"]
)
def test_a_frame_that_is_larger_than_the_screen_of_its_gif_counts(
    screen: tuple[int, int], frame: tuple[int, int, int, int], size: tuple[int, int], blocks: bytes
) -> None:
    content = make_gif(screen, frame, blocks)
    assert read_image_header(content, is_whole=True) == ImageHeader("image/gif", *size)
    with Image.open(BytesIO(content)) as image:
        assert image.size == size


def test_a_gif_of_comments_is_refused() -> None:
    content = make_gif((1, 1), (0, 0, 1, 1), b"!\xfe\x01a\x00" * 5000)
    with pytest.raises(InvalidImageError, match="damaged"):
        read_image_header(content, is_whole=True)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(InvalidImageError, match="damaged"):
        read_image_header(b"GIF89a" + bytes(20), is_whole=True)


@pytest.mark.parametrize(
    "content,reason",
    [
        (b"", "no known image format"),
        (bytes(range(256)) * 20, "no known image format"),
        (b"hello world", "it is text/plain"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG, a document that has no pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is application/postscript"),
        (b"%PDF-1.7\n", "it is application/pdf"),
        (b"II*\0\x08\0\0\0\0\0", "it is image/tiff"),
    ],
)
def test_other_formats_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidImageError, match=reason):
        read_image_header(content, is_whole=True)


def test_other_formats_are_refused_by_their_first_bytes() -> None:
    assert read_image_header(b"hello world") is None
    with pytest.raises(InvalidImageError, match="it is text/plain"):
        read_image_header(b"hello world\n" * 1000)


def test_a_bomb_is_told_by_its_header() -> None:
    # 2.5 gigapixels promised by 57 bytes; nothing of that size is ever allocated.
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 6, 0, 0, 0)
    chunk = struct.pack(">I", 13) + ihdr + struct.pack(">I", crc32(ihdr))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\x10IDAT" + bytes(16)

    header = read_image_header(bomb)

    assert header is not None
    with pytest.raises(InvalidImageError, match=r"2500000000 pixels, at most 100000000 .*allowed"):
        check_pixels(header.width, header.height, 100_000_000)


def test_the_limit_itself_is_allowed() -> None:
    check_pixels(10, 10, 100)


def test_no_decoder_sees_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Image, "open", refuse)
    monkeypatch.setattr(ImageFile.ImageFile, "__init__", refuse)
    monkeypatch.setattr(Image.Exif, "load", refuse)

    for media_type, content in IMAGES.values():
        assert read_image_header(content) == ImageHeader(media_type, *SIZE)


def test_a_webp_as_large_as_it_can_be() -> None:
    head = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xfe\xff\xff" + b"\x70\x11\x01"

    assert read_image_header(head) == ImageHeader("image/webp", 2**24 - 1, 70_001)


@pytest.mark.parametrize("kind", [b"meta", b"free"])
@pytest.mark.parametrize("size", [0, 7, 0xFFFFFFFF])
def test_a_box_of_avif_that_lies_about_its_size(kind: bytes, size: int) -> None:
    start, rest = split_avif(IMAGES["avif"][1])

    with pytest.raises(InvalidImageError, match="damaged"):
        read_image_header(start + struct.pack(">I4s", size, kind) + rest[8:], is_whole=True)


def test_a_large_box_of_avif_before_the_header() -> None:
    start, rest = split_avif(IMAGES["avif"][1])
    free = struct.pack(">I4sQ", 1, b"free", 16 + 1000) + bytes(1000)  # a size of 64 bits

    assert read_image_header(start + free + rest) == ImageHeader("image/avif", *SIZE)


@pytest.mark.parametrize("version,id_format", [(0, ">H"), (1, ">I")])
@pytest.mark.parametrize("flags,index_format", [(0, ">B"), (1, ">H")])
def test_the_primary_item_of_avif_counts(
    version: int, id_format: str, flags: int, index_format: str
) -> None:
    essential = 1 << (8 * struct.calcsize(index_format) - 1)

    def associate(item: int, *indexes: int) -> bytes:
        packed = [struct.pack(index_format, index | essential) for index in indexes]
        return struct.pack(id_format, item) + bytes([len(packed)]) + b"".join(packed)

    properties = (
        box(b"ispe", struct.pack(">III", 0, 512, 512))  # a tile, or a thumbnail
        + box(b"ispe", struct.pack(">III", 0, *SIZE))
        + box(b"irot", b"\x01")
    )
    associations = (
        struct.pack(">BxBBI", version, 0, flags, 2) + associate(1, 1) + associate(2, 2, 3)
    )
    content = (
        box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
        + box(b"free", b"")
        + box(
            b"meta",
            bytes(4)
            + box(b"pitm", struct.pack(">I" + id_format[1], version << 24, 2))
            + box(b"iprp", box(b"ipco", properties) + box(b"ipma", associations)),
        )
    )

    assert read_image_header(content) == ImageHeader("image/avif", *SIZE[::-1], is_turned=True)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def split_avif(content: bytes) -> tuple[bytes, bytes]:
    start = content.index(b"meta") - 4
    return content[:start], content[start:]
