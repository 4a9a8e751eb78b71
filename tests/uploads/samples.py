"""Files as people upload them, and as attackers do."""

import io
import struct
import zipfile
import zlib

from PIL import Image

__all__ = ["EICAR", "GIF", "HTML", "JPEG", "PDF", "PNG", "SVG", "make_image", "make_zip"]

# Split, so that a scanner on a developer's machine does not quarantine this file.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-" + b"ANTIVIRUS-TEST-FILE!$H+H*"

HTML = b"<!DOCTYPE html><title>x</title><script>alert(document.domain)</script>"
PDF = b"%PDF-1.7\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(document.domain)</script></svg>"


def make_image(
    image_format: str, width: int, height: int, *, orientation: int = 1, icc_size: int = 0
) -> bytes:
    """Make an image; with an ICC profile of so many bytes in front of a JPEG's dimensions."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation  # CIPA DC-008 (Exif) section 4.6.4
    options = {"icc_profile": bytes(icc_size)} if icc_size else {}
    Image.new("RGB", (width, height), "red").save(file, image_format, exif=exif, **options)
    return file.getvalue()


def make_png_header(width: int, height: int) -> bytes:
    """Make a PNG of 57 bytes that promises any dimensions."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def make_zip(comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("Evil.class", b"\xca\xfe\xba\xbe" * 100)
        archive.comment = comment
    return file.getvalue()


PNG = make_image("PNG", 32, 16)
JPEG = make_image("JPEG", 32, 16)
GIF = make_image("GIF", 32, 16)
