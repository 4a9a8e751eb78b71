"""A small corpus of file heads, made by this script: nothing binary is committed.

Every sample carries the set of media types that count as right for it. Where the format has more
than one name (``audio/wav``, ``audio/x-wav``), `canonical` maps the aliases to one of them, so that
no library loses a point for its spelling.
"""

import bz2
import gzip
import io
import lzma
import random
import sqlite3
import struct
import tarfile
import wave
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from PIL import Image

OOXML = "application/vnd.openxmlformats-officedocument."
ODF = "application/vnd.oasis.opendocument."
UNKNOWN = "application/octet-stream"

ALIASES = {
    "application/ecmascript": "text/javascript",
    "application/font-sfnt": "font/sfnt",
    "application/font-woff": "font/woff",
    "application/javascript": "text/javascript",
    "application/mp4": "video/mp4",
    "application/msword": "application/x-ole-storage",
    "application/cdfv2": "application/x-ole-storage",
    "application/ogg": "audio/ogg",
    "application/vnd.ms-excel": "application/x-ole-storage",
    "application/vnd.ms-opentype": "font/otf",
    "application/vnd.ms-powerpoint": "application/x-ole-storage",
    "application/vnd.rar": "application/x-rar",
    "application/vnd.sqlite3": "application/x-sqlite3",
    "application/vnd.microsoft.portable-executable": "application/x-dosexec",
    "application/x-bzip": "application/x-bzip2",
    "application/x-cfb": "application/x-ole-storage",
    "application/x-executable": "application/x-elf",
    "application/x-executable-elf": "application/x-elf",
    "application/x-object": "application/x-elf",
    "application/x-sharedlib": "application/x-elf",
    "application/x-gzip": "application/gzip",
    "application/x-javascript": "text/javascript",
    "application/x-msdownload": "application/x-dosexec",
    "application/x-ndjson": "application/json",
    "application/x-ole-compound-document": "application/x-ole-storage",
    "application/x-pdf": "application/pdf",
    "application/x-rar-compressed": "application/x-rar",
    "application/x-zip-compressed": "application/zip",
    "application/xml": "text/xml",
    "application/yaml": "text/yaml",
    "application/x-zstd": "application/zstd",
    "application/x-font-ttf": "font/ttf",
    "application/x-font-otf": "font/otf",
    "audio/mp3": "audio/mpeg",
    "audio/mpeg3": "audio/mpeg",
    "audio/opus": "audio/ogg",
    "audio/vorbis": "audio/ogg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aiff": "audio/aiff",
    "audio/x-flac": "audio/flac",
    "audio/x-hx-aac-adts": "audio/aac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-mp4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "audio/x-midi": "audio/midi",
    "audio/x-wav": "audio/wav",
    "image/apng": "image/png",
    "image/heif": "image/heic",
    "image/jpx": "image/jp2",
    "image/jpeg2000": "image/jp2",
    "image/svg": "image/svg+xml",
    "image/vnd.adobe.photoshop": "image/x-photoshop",
    "image/vnd.microsoft.icon": "image/x-icon",
    "image/x-bmp": "image/bmp",
    "image/x-ms-bmp": "image/bmp",
    "image/x-psd": "image/x-photoshop",
    "text/rtf": "application/rtf",
    "video/avi": "video/x-msvideo",
    "video/vnd.avi": "video/x-msvideo",
    "video/matroska": "video/x-matroska",
    "video/msvideo": "video/x-msvideo",
    "video/x-m4v": "video/mp4",
    "video/x-ms-asf": "video/x-ms-wmv",
    "application/vnd.ms-asf": "video/x-ms-wmv",
    "application/x-wasm": "application/wasm",
}


def canonical(media_type: str | None) -> str | None:
    """One spelling per format; None for an answer that says nothing."""
    if not media_type:
        return None
    bare = media_type.split(";")[0].strip().lower()
    bare = ALIASES.get(bare, bare)
    return None if bare in {UNKNOWN, "application/undefined", "inode/x-empty"} else bare


@dataclass(frozen=True)
class Sample:
    """The bytes of one file, and the media types that are right for it.

    Attributes:
        name: What the sample is.
        group: The row of the result table that it counts in.
        data: The whole file (a benchmark cuts its head off).
        expected: Right answers in their `canonical` spelling; None stands for "nothing is proved".
    """

    name: str
    group: str
    data: bytes
    expected: frozenset[str | None]


def _image(format_: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.linear_gradient("L").resize((64, 48)).convert(mode)
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def _animation(format_: str) -> bytes:
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "green", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, format_, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def _noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def _brands(major: bytes, *compatible: bytes) -> bytes:
    """An ISO base media file: a file type box, then media data. Source: ISO/IEC 14496-12 §4.3."""
    box = b"ftyp" + major + struct.pack(">I", 512) + b"".join(compatible)
    return struct.pack(">I", len(box) + 4) + box + b"\0\0\x20\0mdat" + _noise(4096)


def _ebml(doc_type: bytes) -> bytes:
    """An EBML header (Matroska, WebM). Source: RFC 8794 §11.2."""
    elements = b"\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08"
    elements += b"\x42\x82" + bytes([0x80 | len(doc_type)]) + doc_type + b"\x42\x87\x81\x04"
    return b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(elements)]) + elements + _noise(512)


def _ogg(payload: bytes) -> bytes:
    """One Ogg page. Source: RFC 3533 §6."""
    head = b"OggS\0\x02" + bytes(8) + b"\1\0\0\0" + bytes(8) + bytes([1, len(payload)])
    return head + payload


def _mp3_frames(count: int = 8) -> bytes:
    """MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes a frame."""
    return (b"\xff\xfb\x90\x00" + bytes(413)) * count


def _adts_frames(count: int = 8) -> bytes:
    """MPEG-4 AAC-LC, 44.1 kHz, stereo: 207 bytes a frame. Source: ISO/IEC 13818-7 section 6.2."""
    return (b"\xff\xf1\x50\x80\x19\xff\xfc" + bytes(200)) * count


def _wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setparams((1, 2, 8000, 0, "NONE", ""))
        writer.writeframes(_noise(2000))
    return buffer.getvalue()


def _zip(*members: tuple[str, bytes], stored_first: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (name, data) in enumerate(members):
            stored = stored_first and index == 0
            archive.writestr(name, data, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _ooxml(folder: str, part: str, *, office_order: bool = True) -> bytes:
    """An Office document; the first members as Office writes them, or as LibreOffice does."""
    types = b"<?xml version='1.0'?><Types>" + _noise(900).hex().encode() + b"</Types>"
    rels = b"<?xml version='1.0'?><Relationships>" + _noise(200).hex().encode() + b"</R>"
    main = (f"{folder}/{part}", b"<?xml version='1.0'?>" + _noise(3000).hex().encode())
    if office_order:
        return _zip(("[Content_Types].xml", types), ("_rels/.rels", rels), main)
    properties = ("docProps/app.xml", b"<Properties/>")
    return _zip(("_rels/.rels", rels), properties, main, ("[Content_Types].xml", types))


def _typed_zip(media_type: str) -> bytes:
    """A ZIP whose first member, stored, is its type: EPUB and OpenDocument."""
    return _zip(
        ("mimetype", media_type.encode()), ("content.xml", b"<x/>" * 900), stored_first=True
    )


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("notes.txt")
        info.size = 11
        archive.addfile(info, io.BytesIO(b"hello world"))
    return buffer.getvalue()


def _sqlite() -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table t (a)")
        return connection.serialize()


def _pdf(version: str = "1.7") -> bytes:
    body = b"%%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n"
    return f"%PDF-{version}\n".encode() + body + b"trailer<</Root 1 0 R>>\n%%EOF\n"


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9"/></svg>'
HTML = "<html><head><title>x</title></head><body onload='alert(1)'><p>Hello</p></body></html>"
PROSE = """It was late when the ferry left the island.
Nobody on the quay waved; the last of the lamps had gone out an hour before.
She counted her coins, then her bags, and then (because there was nothing else) the gulls.
"We should be there by morning," the mate said, "unless the wind turns."
It turned.
"""
ACCENTS = """Über den Straßen lag noch Schnee – man hörte kein Auto.
Le garçon s’était caché derrière l’église, près du café.
Ελληνικά και русский языки: два примера.
日本語の文もここにあります。
"""
CSV = "id,name,city\n1,Ada,London\n2,Grace,New York\n3,Linus,Helsinki\n" * 4
JSON = '{"name": "Ada", "born": 1815, "tags": ["maths", "engine"], "ok": true}'
SCRIPT = (
    "'use strict';\nfunction main() { const a = [1, 2]; return a.map((x) => x + 1); }\nmain();\n"
)
STYLE = "body { margin: 0; color: #333; }\n.box { display: grid; }\n" * 3

_Rows = list[tuple[str, bytes | Callable[[], bytes], set[str | None]]]

IMAGES: _Rows = [
    ("PNG", lambda: _image("PNG"), {"image/png"}),
    ("PNG, palette", lambda: _image("PNG", "P"), {"image/png"}),
    ("APNG", lambda: _animation("PNG"), {"image/png"}),
    ("JPEG, JFIF", lambda: _image("JPEG"), {"image/jpeg"}),
    ("JPEG, CMYK (Adobe)", lambda: _image("JPEG", "CMYK"), {"image/jpeg"}),
    ("JPEG, bare tables", lambda: b"\xff\xd8\xff\xdb\0\x43\0" + bytes(64), {"image/jpeg"}),
    ("GIF", lambda: _image("GIF", "P"), {"image/gif"}),
    ("GIF, animated", lambda: _animation("GIF"), {"image/gif"}),
    ("WebP, lossy", lambda: _image("WEBP"), {"image/webp"}),
    ("WebP, lossless", lambda: _image("WEBP", lossless=True), {"image/webp"}),
    ("WebP, animated", lambda: _animation("WEBP"), {"image/webp"}),
    ("TIFF, little-endian", lambda: _image("TIFF"), {"image/tiff"}),
    ("TIFF, big-endian", b"MM\0*\0\0\0\x08" + bytes(200), {"image/tiff"}),
    ("BMP", lambda: _image("BMP"), {"image/bmp"}),
    ("ICO", lambda: _image("ICO"), {"image/x-icon"}),
    ("AVIF", lambda: _image("AVIF"), {"image/avif"}),
    ("HEIC", lambda: _brands(b"heic", b"mif1", b"heic"), {"image/heic"}),
    ("HEIC, iPhone brands", lambda: _brands(b"heic", b"mif1", b"MiHE", b"miaf"), {"image/heic"}),
    ("JPEG 2000", lambda: _image("JPEG2000"), {"image/jp2"}),
    ("JPEG XL, codestream", lambda: b"\xff\x0a" + _noise(200), {"image/jxl"}),
    ("JPEG XL, container", lambda: b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", {"image/jxl"}),
    ("PSD", b"8BPS\0\1" + bytes(6) + b"\0\3" + bytes(60), {"image/x-photoshop"}),
]
AUDIO_VIDEO: _Rows = [
    ("MP4, isom", lambda: _brands(b"isom", b"isom", b"iso2", b"avc1", b"mp41"), {"video/mp4"}),
    ("MP4, mp42", lambda: _brands(b"mp42", b"mp42", b"isom"), {"video/mp4"}),
    ("MP4, fragmented", lambda: _brands(b"iso5", b"iso5", b"iso6", b"mp41"), {"video/mp4"}),
    ("MP4, DASH", lambda: _brands(b"iso6", b"iso6", b"dash"), {"video/mp4"}),
    ("MP4, avc1", lambda: _brands(b"avc1", b"avc1", b"isom"), {"video/mp4"}),
    ("M4V", lambda: _brands(b"M4V ", b"M4V ", b"M4A ", b"mp42"), {"video/mp4"}),
    ("QuickTime", lambda: _brands(b"qt  ", b"qt  "), {"video/quicktime"}),
    ("3GP", lambda: _brands(b"3gp4", b"3gp4", b"3gp6"), {"video/3gpp"}),
    ("WebM", lambda: _ebml(b"webm"), {"video/webm"}),
    ("Matroska", lambda: _ebml(b"matroska"), {"video/x-matroska"}),
    ("AVI", lambda: b"RIFF\x24\x10\0\0AVI LIST" + bytes(200), {"video/x-msvideo"}),
    ("MPEG program stream", lambda: b"\0\0\1\xba\x44" + bytes(200), {"video/mpeg"}),
    ("FLV", b"FLV\1\5\0\0\0\x09" + bytes(100), {"video/x-flv"}),
    (
        "WMV",
        b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\0\xaa\0b\xcel" + bytes(100),
        {"video/x-ms-wmv"},
    ),
    ("WAV", _wav, {"audio/wav"}),
    ("MP3 with ID3", lambda: b"ID3\3\0\0\0\0\0\x10" + bytes(16) + _mp3_frames(), {"audio/mpeg"}),
    ("MP3, bare frames", _mp3_frames, {"audio/mpeg"}),
    ("AAC, ADTS", _adts_frames, {"audio/aac"}),
    ("Ogg Vorbis", lambda: _ogg(b"\1vorbis" + bytes(23)), {"audio/ogg"}),
    ("Ogg Opus", lambda: _ogg(b"OpusHead\1\2" + bytes(9)), {"audio/ogg"}),
    ("Ogg Theora", lambda: _ogg(b"\x80theora\3\2\1" + bytes(30)), {"video/ogg", "audio/ogg"}),
    ("FLAC", b"fLaC\0\0\0\x22\x10\0\x10\0" + bytes(60), {"audio/flac"}),
    ("M4A", lambda: _brands(b"M4A ", b"M4A ", b"mp42", b"isom"), {"audio/mp4"}),
    ("AIFF", b"FORM\0\0\x10\0AIFFCOMM" + bytes(100), {"audio/aiff"}),
    ("MIDI", b"MThd\0\0\0\6\0\1\0\2\0\x60MTrk" + bytes(60), {"audio/midi"}),
]
DOCUMENTS: _Rows = [
    ("PDF 1.7", _pdf, {"application/pdf"}),
    ("PDF 2.0", lambda: _pdf("2.0"), {"application/pdf"}),
    ("DOCX", lambda: _ooxml("word", "document.xml"), {OOXML + "wordprocessingml.document"}),
    (
        "DOCX, LibreOffice order",
        lambda: _ooxml("word", "document.xml", office_order=False),
        {OOXML + "wordprocessingml.document"},
    ),
    ("XLSX", lambda: _ooxml("xl", "workbook.xml"), {OOXML + "spreadsheetml.sheet"}),
    ("PPTX", lambda: _ooxml("ppt", "presentation.xml"), {OOXML + "presentationml.presentation"}),
    ("ODT", lambda: _typed_zip(ODF + "text"), {ODF + "text"}),
    ("ODS", lambda: _typed_zip(ODF + "spreadsheet"), {ODF + "spreadsheet"}),
    ("ODP", lambda: _typed_zip(ODF + "presentation"), {ODF + "presentation"}),
    ("EPUB", lambda: _typed_zip("application/epub+zip"), {"application/epub+zip"}),
    (
        "DOC (OLE2)",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + b"\xec\xa5\xc1\0" + bytes(200),
        {"application/x-ole-storage"},
    ),
    ("RTF", b"{\\rtf1\\ansi{\\fonttbl\\f0 Arial;}\\f0 Hello}", {"application/rtf"}),
    ("PostScript", b"%!PS-Adobe-3.0\n%%BoundingBox: 0 0 9 9\n", {"application/postscript"}),
    ("ZIP", lambda: _zip(("notes.txt", PROSE.encode())), {"application/zip"}),
    ("ZIP, empty", _zip, {"application/zip"}),
    ("gzip", lambda: gzip.compress(PROSE.encode()), {"application/gzip"}),
    ("bzip2", lambda: bz2.compress(PROSE.encode()), {"application/x-bzip2"}),
    ("xz", lambda: lzma.compress(PROSE.encode()), {"application/x-xz"}),
    ("Zstandard", lambda: b"\x28\xb5\x2f\xfd\x24" + _noise(200), {"application/zstd"}),
    ("7z", lambda: b"7z\xbc\xaf\x27\x1c\0\4" + _noise(200), {"application/x-7z-compressed"}),
    ("RAR 4", lambda: b"Rar!\x1a\x07\0\xcf\x90s" + bytes(60), {"application/x-rar"}),
    ("RAR 5", lambda: b"Rar!\x1a\x07\1\0" + _noise(60), {"application/x-rar"}),
    ("tar", _tar, {"application/x-tar"}),
    ("WOFF", lambda: b"wOFF\0\1\0\0" + _noise(200), {"font/woff"}),
    ("WOFF2", lambda: b"wOF2\0\1\0\0" + _noise(200), {"font/woff2"}),
    (
        "TrueType",
        lambda: b"\0\1\0\0\0\x0f\0\x80\0\3\0pGDEF" + _noise(200),
        {"font/ttf", "font/sfnt"},
    ),
    ("OpenType", lambda: b"OTTO\0\x0c\0\x80\0\3\0@CFF " + _noise(200), {"font/otf", "font/sfnt"}),
    ("SQLite", _sqlite, {"application/x-sqlite3"}),
    ("WebAssembly", b"\0asm\1\0\0\0" + bytes(60), {"application/wasm"}),
    ("ELF", b"\x7fELF\2\1\1" + bytes(9) + b"\3\0\x3e\0\1\0\0\0" + bytes(60), {"application/x-elf"}),
]
TEXT: _Rows = [
    ("ASCII", PROSE.encode(), {"text/plain"}),
    ("UTF-8", ACCENTS.encode(), {"text/plain"}),
    ("UTF-8 with BOM", ACCENTS.encode("utf-8-sig"), {"text/plain"}),
    ("UTF-16LE with BOM", b"\xff\xfe" + ACCENTS.encode("utf-16-le"), {"text/plain"}),
    ("UTF-16BE with BOM", b"\xfe\xff" + ACCENTS.encode("utf-16-be"), {"text/plain"}),
    ("UTF-16LE CSV", b"\xff\xfe" + CSV.encode("utf-16-le"), {"text/plain", "text/csv"}),
    ("Latin-1", ("Café naïf à Zürich\n" * 9).encode("latin-1"), {"text/plain", None}),
    ("CSV", CSV.encode(), {"text/csv", "text/plain"}),
    ("JSON", JSON.encode(), {"application/json", "text/plain"}),
    ("Markdown", b"# Title\n\n- one\n- two\n\n[a](b)\n", {"text/markdown", "text/plain"}),
    ("JavaScript", SCRIPT.encode(), {"text/javascript", "text/plain"}),
    ("CSS", STYLE.encode(), {"text/css", "text/plain"}),
    ("a word", b"hello", {"text/plain"}),
]
MARKUP: _Rows = [
    ("HTML, doctype", f"<!DOCTYPE html>\n{HTML}".encode(), {"text/html"}),
    ("HTML, no doctype", HTML.encode(), {"text/html"}),
    ("HTML, blank lines first", f"\n\n   \t{HTML}".encode(), {"text/html"}),
    ("HTML, upper case", HTML.upper().encode(), {"text/html"}),
    ("HTML, BOM", f"\ufeff{HTML}".encode(), {"text/html"}),
    ("HTML, UTF-16", f"\ufeff{HTML}".encode("utf-16-le"), {"text/html"}),
    ("HTML, comment first", f"<!-- a -->{HTML}".encode(), {"text/html"}),
    ("HTML, script only", b"<script>alert(document.cookie)</script>", {"text/html"}),
    ("HTML, img onerror", b"<img src=x onerror=alert(1)>", {"text/html"}),
    ("HTML, text first", b"Hello <script>alert(1)</script>", {"text/html", "text/plain"}),
    ("XHTML", b'<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><head/></html>',
     {"application/xhtml+xml", "text/html", "text/xml"}),
    ("XML", b'<?xml version="1.0"?>\n<note><to>Ada</to></note>', {"text/xml"}),
    ("XML, no prolog", b'<note xmlns="urn:x"><to>Ada</to></note>', {"text/xml", "text/html"}),
    ("XML, UTF-16", "\ufeff<?xml version='1.0'?><a/>".encode("utf-16-be"), {"text/xml"}),
    ("XML, stylesheet", b'<?xml version="1.0"?><?xml-stylesheet href="x.xsl"?><a/>', {"text/xml"}),
    ("RSS", b'<?xml version="1.0"?>\n<rss version="2.0"><channel/></rss>',
     {"text/xml", "application/rss+xml"}),
    ("SVG", SVG.encode(), {"image/svg+xml"}),
    ("SVG, prolog", f'<?xml version="1.0"?>\n{SVG}'.encode(), {"image/svg+xml"}),
    ("SVG, BOM", f"\ufeff{SVG}".encode(), {"image/svg+xml"}),
    ("SVG, comment first", f"<!-- made by x -->\n{SVG}".encode(), {"image/svg+xml"}),
    ("SVG, doctype", f'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x.dtd">{SVG}'.encode(),
     {"image/svg+xml"}),
    ("SVG, entities", f'<!DOCTYPE svg [<!ENTITY a "b">]>{SVG}'.encode(), {"image/svg+xml"}),
    ("SVG, prefixed", b'<s:svg xmlns:s="http://www.w3.org/2000/svg"/>', {"image/svg+xml"}),
    ("SVG, 1 KB comment", f"<?xml version='1.0'?><!--{'x' * 1000}-->{SVG}".encode(),
     {"image/svg+xml"}),
    ("SVG, 3 KB comment", f"<?xml version='1.0'?><!--{'x' * 3000}-->{SVG}".encode(),
     {"image/svg+xml", "text/xml"}),
]  # fmt: skip
JUNK: _Rows = [
    ("zero bytes", bytes(4096), {None}),
    ("0xFF bytes", b"\xff" * 4096, {None}),
    ("random bytes", lambda: _noise(4096, seed=7), {None}),
    ("PNG signature cut", b"\x89PN", {None}),
    ("JPEG cut to 2 bytes", b"\xff\xd8", {None}),
    ("RIFF without form", b"RIFF\x24\0\0\0", {None}),
    ("RIFF, unknown form", b"RIFF\x24\0\0\0JUNK" + bytes(60), {None}),
    ("text that starts BM", b"BMW is a car maker from Munich, Germany.\n" * 3, {"text/plain"}),
    ("text that starts MZ", b"MZ is a postcode area of nothing in particular.\n", {"text/plain"}),
    ("text that starts GIF", b"GIF files are images.\n" * 3, {"text/plain"}),
    ("text that starts II", b"II. The second chapter, in which little happens.\n", {"text/plain"}),
    ("text that starts PK", b"PK is short for primary key in SQL.\n" * 3, {"text/plain"}),
    ("text that starts ID3", b"ID3 is an algorithm for decision trees.\n", {"text/plain"}),
    ("text that starts 7z", b"7z archives are small.\n" * 3, {"text/plain"}),
    ("binary that starts BM", b"BM" + bytes(range(256)), {None}),
    ("binary that starts MZ", b"MZ" + bytes(range(256)), {None}),
    ("binary that starts FFFB", b"\xff\xfb" + _noise(400), {None}),
]  # fmt: skip
HOSTILE: _Rows = [
    ("GIF and JavaScript", b"GIF89a=1;alert(1)/*" + bytes(20) + b"*/", {"image/gif", None}),
    ("GIF with HTML in a comment",
     lambda: _image("GIF", "P") + b"!\xfe\x20<script>alert(1)</script>\0;", {"image/gif"}),
    ("text GIF89a and HTML", f"GIF89a{HTML}".encode(), {"image/gif", "text/html", "text/plain"}),
    ("JPEG with HTML in a comment",
     lambda: b"\xff\xd8\xff\xfe\0\x30" + HTML.encode() + _image("JPEG")[2:], {"image/jpeg"}),
    ("PDF behind 500 bytes", lambda: b"\n" * 500 + _pdf(), {"application/pdf", None, "text/plain"}),
    ("PDF behind HTML", lambda: HTML.encode() + _pdf(), {"text/html"}),
    ("HTML behind a NUL", b"\0" + HTML.encode(), {"text/html", None}),
    ("Zstandard, empty frames", lambda: b"\x50\x2a\x4d\x18\0\0\0\0" * 1200,
     {"application/zstd", None}),
    ("ZIP behind HTML", lambda: HTML.encode() + _zip(("a", b"b")), {"text/html"}),
    ("PNG behind a newline", lambda: b"\n" + _image("PNG"), {None}),
    ("SVG with script", SVG.replace("<rect", "<script>alert(1)</script><rect").encode(),
     {"image/svg+xml"}),
    ("SVG, UTF-16", f"\ufeff{SVG}".encode("utf-16-be"), {"image/svg+xml"}),
    ("HTML, UTF-7-like", b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-", {"text/plain"}),
]  # fmt: skip

GROUPS: dict[str, _Rows] = {
    "images": IMAGES,
    "audio and video": AUDIO_VIDEO,
    "documents, archives, fonts": DOCUMENTS,
    "plain text": TEXT,
    "markup": MARKUP,
    "junk and lookalikes": JUNK,
    "hostile": HOSTILE,
}


def samples() -> Iterator[Sample]:
    """Every sample of the corpus, made anew."""
    for group, rows in GROUPS.items():
        for name, made, expected in rows:
            data = made() if callable(made) else made
            yield Sample(name, group, data, frozenset(canonical(one) for one in expected))
