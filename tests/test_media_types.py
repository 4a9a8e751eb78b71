"""Media types: what bytes prove, which claims are believed, and the names of types."""

import codecs
import re
import struct
import subprocess
import sys
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastapi_async_storages.media_types import (
    DEFAULT_MEDIA_TYPE,
    SNIFF_SIZE,
    extension_for,
    guess_media_type,
    is_scriptable,
    media_type_matches,
    normalize_media_type,
    resolve_media_type,
    sniff_media_type,
)
from tests.media_corpus import Sample, canonical, samples

CORPUS = list(samples())
# A JPEG XL codestream starts with two bytes only, as one random file in 65,536 does.
KNOWN_GAPS = {"JPEG XL, codestream"}

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
ZIP = b"PK\3\4\x14\0\0\0\x08\0" + bytes(16) + b"\x05\0\0\0a.txt"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
UNKNOWN_BINARY = bytes(range(1, 256))
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

STARTS = [sample.data[:40] for sample in CORPUS] + [b"BM", b"MZ", b"ID3", b"II", b"\xff\xfb", b"<"]
heads = st.one_of(
    st.binary(max_size=600),
    st.builds(bytes.__add__, st.sampled_from(STARTS), st.binary(max_size=600)),
    st.sampled_from(CORPUS).flatmap(
        lambda sample: st.integers(0, 5000).map(lambda size: sample.data[:size])
    ),
)
CLAIMS = [
    *("image/png", "image/svg+xml", "image/x+xml", "image/x+zip", "video/mp4", "audio/mpeg"),
    *("text/plain", "text/html", "text/csv", "application/json", "application/pdf", DOCX),
    *("application/zip", "application/x-thing", "font/woff2", "multipart/x-mixed-replace"),
]
declarations = st.one_of(st.none(), st.sampled_from(CLAIMS), st.text(max_size=40))
filenames = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.builds(
        "{}.{}".format,
        st.text(max_size=9),
        st.sampled_from(["png", "SVG", "docx", "csv", "html", "php", "mp4", "js", "xml", "bin"]),
    ),
)


def resolve(head: bytes, declared: str | None = None, filename: str | None = None) -> str:
    return resolve_media_type(head=head, declared=declared, filename=filename)


@pytest.mark.parametrize("sample", CORPUS, ids=lambda sample: sample.name)
def test_bytes_prove_their_type(sample: Sample) -> None:
    found = canonical(sniff_media_type(sample.data[:SNIFF_SIZE]))
    if sample.name in KNOWN_GAPS:
        assert found is None
    else:
        assert found in sample.expected


@pytest.mark.parametrize(
    "head, expected",
    [
        (b"", None),
        (b"\0", None),
        (b"a", "text/plain"),
        (b"\xff\xfe", "text/plain"),
        ("é".encode()[:1], "text/plain"),  # a character cut off by the end of the head
        ("no mark".encode("utf-16-le"), None),
        (b"\xff\xfe" + b"\x00\xd8" * 9, None),  # lone surrogates are not UTF-16
        (b"Caf\xe9!", None),
        (b"{\\rtf1\\ansi}", "application/rtf"),
        (codecs.BOM_UTF8 + PDF, "application/pdf"),
        (b"ttcf\0\1\0\0", "font/collection"),
        (b"ID3\4\xff\0\0\0\0\0", None),
        (b"ID3\4\0\0\x80\0\0\0", None),
        (b"BM\x46\0\0\0\1\0\0\0\x36\0\0\0\x28\0\0\0", None),  # reserved bytes are not zero
        (b"\0\0\1\0\1\0\x10\x10\0\1\1\0\x20\0\0\0\0\0\x16\0\0\0", None),  # an icon of no bytes
        (b"\0\1\0\0\0\0\0\x10", None),  # a font of no tables
        (b"\0\1\0\0\0\x0f\0\x40", None),  # a search range of other tables
        (b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0",
         "application/vnd.microsoft.portable-executable"),
        (b"\xff\xf3\x40\xc4" + bytes(100) + b"\xff\xf3\x40\xc4", "audio/mpeg"),  # MPEG-2
        (b"\xff\xfb\x90\x00" + bytes(600), None),  # one frame and no second
        (b"\xff\xf1\x50\x80\x19\xff\xfc" + bytes(600), None),
        (b"FWS\x08" + bytes(60), None),
        (b"\xff\xfb\xf0\x00" * 99, None),  # a bit rate that no frame has
        (b"\xff\xf1\x50\x80\0\0\xfc" * 99, None),  # an ADTS frame of no bytes
        (b"G".ljust(188, b"\0") * 3, "video/mp2t"),
        (b"\0\0\0\x10ftypmif1\0\0\0\0", "image/heif"),
        (b"\0\0\0\x10ftypnone\0\0\0\0", None),
    ],
)  # fmt: skip
def test_signature_with_its_checks(head: bytes, expected: str | None) -> None:
    assert sniff_media_type(head) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("<p>x", "text/html"),
        ("<SCRIPT>x", "text/html"),
        ("<img/src=x onerror=alert(1)>", "text/html"),
        ("<svg/onload=alert(1)>", "image/svg+xml"),
        ("</p><script>x</script>", "text/html"),
        ("<!doctype HTML>", "text/html"),
        ("<!doctype note>", "application/xml"),
        ("<!doctype svg:svg>", "image/svg+xml"),
        ("<!---->\n<!-- b --> <svg>", "image/svg+xml"),
        ("<!--><script>alert(1)</script>", "text/html"),
        ("<!--" + "x" * 5000 + "--><svg>", "text/html"),
        ("<!bogus><b>", "text/html"),
        ("<my-element>", "text/html"),
        ("<?php echo 1 ?><b>x</b>", "text/html"),
        ("<?php echo 1;", "text/plain"),
        ("<?xml version='1.0'?><!--" + "x" * 5000, "application/xml"),
        ("<?xml version='1.0'?><h:html xmlns:h='http://www.w3.org/1999/xhtml'>",
         "application/xhtml+xml"),
        ("<?xml version='1.0'?>text", "application/xml"),
        ("<rss version='2.0'>", "application/xml"),
        ("<x:b>", "application/xml"),
        ("<john@example.org> wrote:", "text/plain"),
        ("<https://example.org>", "text/plain"),
        ("<3 you", "text/plain"),
        ("1 < 2", "text/plain"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_markup_is_called_so_in_every_encoding(text: str, expected: str, encoding: str) -> None:
    assert sniff_media_type(text.encode(encoding)) == expected


@given(
    st.text(" \t\r\n\f", max_size=9),
    st.sampled_from(["<script>", "<svg onload=x>", "<!DOCTYPE html>", "<?xml?>", "<x:a>", "<!--"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    declarations,
    filenames,
)
def test_no_claim_makes_markup_harmless(
    blanks: str, start: str, encoding: str, declared: str | None, filename: str | None
) -> None:
    assert is_scriptable(resolve(f"{blanks}{start}".encode(encoding), declared, filename))


@given(heads, declarations, filenames)
@example(b"\x50\x2a\x4d\x18\0\0\0\0" * 1200, None, None)
@example(b"\xff\xfe" + bytes(99), "text/csv", None)
def test_any_bytes_and_claims_get_a_valid_type(
    head: bytes, declared: str | None, filename: str | None
) -> None:
    proved = sniff_media_type(head)
    stored = resolve(head, declared, filename)

    assert proved is None or normalize_media_type(proved) == proved
    assert normalize_media_type(stored) == stored
    assert resolve(head, stored, filename) == stored


@given(heads, declarations, filenames)
@example(b"not a picture", "image/x+xml", "x.svg")
@example(b"PK\3\4" + bytes(60), "image/x+zip", None)
def test_what_is_not_proved_never_becomes_media(
    head: bytes, declared: str | None, filename: str | None
) -> None:
    proved = sniff_media_type(head) or "nothing"
    kind = resolve(head, declared, filename).partition("/")[0]

    if kind in {"audio", "font", "image", "video"}:
        assert proved.startswith((f"{kind}/", "video/"))


@given(st.text(), declarations, filenames)
def test_text_never_becomes_a_binary_image(
    text: str, declared: str | None, filename: str | None
) -> None:
    stored = resolve(text.encode(errors="ignore"), declared, filename)
    assert not stored.startswith("image/") or stored == "image/svg+xml"


@given(heads, st.binary(max_size=99))
@example(b"<?xml version='1.0'?>", b"<svg>")
@example(b"text", b"\0")
def test_bytes_beyond_the_head_do_not_count(head: bytes, rest: bytes) -> None:
    head = head[:SNIFF_SIZE].ljust(SNIFF_SIZE)
    assert sniff_media_type(head + rest) == sniff_media_type(head)


def test_bytes_cannot_exhaust_the_stack() -> None:
    empty_frames = b"\x50\x2a\x4d\x18\0\0\0\0" * (SNIFF_SIZE // 8)  # skippable, RFC 8878

    def sniff_in_depth(calls: int) -> str | None:
        return sniff_in_depth(calls - 1) if calls else sniff_media_type(empty_frames)

    assert sniff_in_depth(sys.getrecursionlimit() // 2) is None


def test_threads_get_the_same_answers() -> None:
    alone = [sniff_media_type(sample.data) for sample in CORPUS]
    together: list[list[str | None]] = []
    threads = [
        threading.Thread(
            target=lambda: together.append([sniff_media_type(sample.data) for sample in CORPUS])
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert together == [alone] * 4


@pytest.mark.parametrize(
    "head, declared, filename, expected",
    [
        # Bytes win over claims.
        (PNG, "text/html", "page.html", "image/png"),
        (PNG, "image/jpeg", "photo.jpg", "image/png"),
        (b"<html>", "image/png", "photo.png", "text/html"),
        (b"<svg>", "text/plain", "notes.txt", "image/svg+xml"),
        (b"<h1>Title</h1>", "text/markdown", "README.md", "text/html"),
        # What would have been proved is not taken on trust.
        (UNKNOWN_BINARY, "image/png", "photo.png", DEFAULT_MEDIA_TYPE),
        (UNKNOWN_BINARY, "image/x-unheard-of", None, DEFAULT_MEDIA_TYPE),
        (UNKNOWN_BINARY, "application/pdf", None, DEFAULT_MEDIA_TYPE),
        (UNKNOWN_BINARY, "application/x-tar", "backup.tar.gz", DEFAULT_MEDIA_TYPE),
        (UNKNOWN_BINARY, DOCX, "letter.docx", DEFAULT_MEDIA_TYPE),
        (UNKNOWN_BINARY, "application/msword", "letter.doc", DEFAULT_MEDIA_TYPE),
        (UNKNOWN_BINARY, "text/csv", "table.csv", DEFAULT_MEDIA_TYPE),
        (UNKNOWN_BINARY, "text/html", None, DEFAULT_MEDIA_TYPE),
        (UNKNOWN_BINARY, "multipart/x-mixed-replace", None, DEFAULT_MEDIA_TYPE),
        (b"hello", "image/png", "hello.png", "text/plain"),
        (b"hello", "image/svg+xml", "hello.svg", "text/plain"),
        (b"hello", "application/pdf", "hello.pdf", "text/plain"),
        (b"", "image/png", "empty.png", DEFAULT_MEDIA_TYPE),
        # Nothing speaks against an unknown binary format.
        (UNKNOWN_BINARY, "application/x-thing", None, "application/x-thing"),
        (UNKNOWN_BINARY, None, "part.stl", "model/stl"),
        (UNKNOWN_BINARY, None, "thing.unknown", DEFAULT_MEDIA_TYPE),
        (UNKNOWN_BINARY, None, None, DEFAULT_MEDIA_TYPE),
        # Text is what it is called, if the name is of a text format.
        (b"a,b\n", "text/csv", None, "text/csv"),
        (b"a,b\n", "application/vnd.ms-excel", "table.csv", "text/csv"),
        (b"a,b\n", "application/octet-stream", "table.csv", "text/csv"),
        (b"a,b\n", "text/plain", "notes.txt", "text/plain"),
        (b"Caf\xe9;1\n", None, "table.csv", "text/csv"),
        (b"{}", "application/json; charset=utf-8", None, "application/json"),
        (b"{}", "application/geo+json", None, "application/geo+json"),
        (b"x = 1", None, "script.js", "text/javascript"),
        (b"", None, "empty.txt", "text/plain"),
        (b"<?php exit;", None, "shell.php", "text/plain"),
        (b"<a/>", None, "feed.rss", "text/html"),
        (b"<?xml?><rss/>", "application/rss+xml", None, "application/rss+xml"),
        (b"<?xml?><note/>", "image/svg+xml", "note.svg", "application/xml"),
        # A container is what it is called, if the name is of its family.
        (ZIP, DOCX, None, DOCX),
        (ZIP, "application/octet-stream", "letter.docx", DOCX),
        (ZIP, "image/png", "app.apk", "application/vnd.android.package-archive"),
        (ZIP, "application/msword", "letter.doc", "application/zip"),
        (OLE, None, "letter.doc", "application/msword"),
        (OLE, None, None, "application/x-ole-storage"),
        (PNG, "image/apng", None, "image/apng"),
        # Viewers look for a PDF behind other bytes.
        (b"\r\n" + PDF, "application/pdf", None, "application/pdf"),
        (b"\r\n" + PDF, None, None, DEFAULT_MEDIA_TYPE),
        (b"<html>" + PDF, "application/pdf", None, "text/html"),
        (bytes(1025) + PDF, "application/pdf", None, DEFAULT_MEDIA_TYPE),
        # Other spellings, and claims that are none.
        (b"\0", "audio/x-wav", None, DEFAULT_MEDIA_TYPE),
        (b"x", "text/x-markdown", None, "text/markdown"),
        (b"x", "text/html\r\nX: y", None, "text/plain"),
        (b"x", "text/*", None, "text/plain"),
    ],
)
def test_claims_are_weighed(
    head: bytes, declared: str | None, filename: str | None, expected: str
) -> None:
    assert resolve(head, declared, filename) == expected


@pytest.mark.parametrize(
    "value, expected",
    [
        ("text/plain", "text/plain"),
        (" Text/HTML ; Charset=UTF-8\t", "text/html"),
        ('text/plain; a="b; \\" c"; d=e', "text/plain"),
        ("text/html;", "text/html"),
        ("application/vnd.api+json", "application/vnd.api+json"),
        (None, None),
        ("", None),
        ("text", None),
        ("/plain", None),
        ("text/", None),
        ("text/*", None),
        ("*/*", None),
        ("text /plain", None),
        ("text/plain; charset", None),
        ("text/plain\r\nX-Injected: 1", None),
        ("text/plain\n", None),
        ('text/plain; a="\r\n"', None),
        ("text/plain, text/html", None),
        ("téxt/plain", None),
        ("text/" + "x" * 127, "text/" + "x" * 127),
        ("text/" + "x" * 128, None),
        ("text/plain" + "; " * 600, None),
        ("text/plain" + " ;" * 500 + "\r", None),
    ],
)
def test_normalize_media_type(value: str | None, expected: str | None) -> None:
    assert normalize_media_type(value) == expected


@given(st.text())
def test_normalized_types_are_bare_and_stable(value: str) -> None:
    name = normalize_media_type(value)
    assert name is None or (re.fullmatch(r"[!-~]+/[!-~]+", name) and ";" not in name)
    assert normalize_media_type(name) == name


@pytest.mark.parametrize(
    "media_type, patterns, expected",
    [
        ("image/png", ["image/*"], True),
        ("image/png", ["IMAGE/PNG"], True),
        ("image/png; q=1", ["text/plain", "image/png"], True),
        ("image/jpeg", ["image/jpg"], True),
        ("text/xml", ["application/xml"], True),
        ("image/png", ["*/*"], True),
        ("image/png", ["video/*", "image/jpeg"], False),
        ("imagery/png", ["image/*"], False),
        ("image/png", [], False),
        ("nonsense", ["*/*"], False),
    ],
)
def test_media_type_matches(media_type: str, patterns: list[str], expected: bool) -> None:
    assert media_type_matches(media_type, patterns) is expected


@pytest.mark.parametrize("pattern", ["image", "*", "*/png", "image/p*", "", "image/png\n"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is no media type: write a type such as"):
        media_type_matches("image/png", [pattern])


@pytest.mark.parametrize(
    "media_type",
    [
        *("text/html", "TEXT/HTML; charset=x", "application/xhtml+xml", "image/svg+xml"),
        *("text/xml", "application/xml", "application/rss+xml", "model/x3d+xml", "text/xsl"),
        *("text/javascript", "application/javascript", "application/x-ecmascript", "text/jscript"),
        *("text/javascript1.5", "text/livescript", "text/css", "multipart/x-mixed-replace"),
        *("multipart/related", "message/rfc822", "nonsense", "text/html\r\n", ""),
    ],
)
def test_scriptable(media_type: str) -> None:
    assert is_scriptable(media_type)


@pytest.mark.parametrize(
    "media_type",
    [
        *("text/plain", "image/png", "application/pdf", "application/json", "text/csv"),
        *("application/octet-stream", "text/cache-manifest", "application/wasm", "text/markdown"),
        *("application/zip", "video/mp4", "text/javascript1.9", "text/vtt"),
    ],
)
def test_not_scriptable(media_type: str) -> None:
    assert not is_scriptable(media_type)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("a.png", "image/png"),
        ("photos/A.JPEG", "image/jpeg"),
        ("C:\\letters\\a.docx", DOCX),
        ("backup.tar.gz", "application/gzip"),
        ("a", None),
        ("png", None),
        (".png", None),
        ("folder.png/a", None),
        ("a.png ", None),
        ("a.png\0", None),
        ("a.unknown", None),
        ("a.ﬁle", None),
        ("", None),
    ],
)
def test_guess_media_type(name: str, expected: str | None) -> None:
    assert guess_media_type(name) == expected


def test_guesses_do_not_depend_on_the_machine() -> None:
    code = (
        "import mimetypes; mimetypes.add_type('x/y', '.png'); mimetypes.add_type('x/y', '.zzz')\n"
        "from fastapi_async_storages.media_types import guess_media_type as guess\n"
        "print(guess('a.png'), guess('a.zzz'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["image/png", "None"]


@pytest.mark.parametrize(
    "media_type, filename, expected",
    [
        ("image/jpeg", "photo.JPEG", ".jpeg"),
        ("image/jpeg", "photo.png", ".jpg"),
        ("image/jpeg", None, ".jpg"),
        ("audio/x-wav", None, ".wav"),
        ("text/plain", "server.log", ".log"),
        ("text/plain", "shell.php", ".txt"),
        ("text/html", "page.htm", ".htm"),
        ("application/gzip", "backup.tar.gz", ".gz"),
        ("application/octet-stream", "photo.png", ""),
        ("application/octet-stream", "tool.exe", ""),
        ("application/x-thing", "shell.php", ""),
        ("application/x-thing", None, ""),
        ("nonsense", "a.b", ""),
    ],
)
def test_extension_for(media_type: str, filename: str | None, expected: str) -> None:
    assert extension_for(media_type, filename) == expected


@given(heads, declarations, filenames)
def test_extensions_say_the_stored_type(
    head: bytes, declared: str | None, filename: str | None
) -> None:
    stored = resolve(head, declared, filename)
    extension = extension_for(stored, filename)
    assert extension == "" or guess_media_type(f"x{extension}") == stored
