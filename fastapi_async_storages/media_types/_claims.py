"""What a client claims, weighed against what the bytes prove."""

from fnmatch import fnmatchcase

from fastapi_async_storages.media_types._extensions import guess_media_type
from fastapi_async_storages.media_types._names import canonical_media_type, is_scriptable
from fastapi_async_storages.media_types._signatures import (
    SNIFF_SIZE,
    list_provable_types,
    sniff_media_type,
)
from fastapi_async_storages.media_types._text import may_be_text

DEFAULT_MEDIA_TYPE = "application/octet-stream"
"""The type of bytes that nothing is known about. Source: RFC 9110 section 8.3."""

_EMPTY_CLAIMS = frozenset(
    {
        DEFAULT_MEDIA_TYPE,
        "application/download",
        "application/force-download",
        "application/unknown",
        "application/x-download",
        "application/x-unknown",
        "binary/octet-stream",
        "unknown/unknown",
    }
)

_TEXTUAL = (
    "text/*",
    "application/*+json",
    "application/*+xml",
    "application/*+yaml",
    "model/*+json",
    "model/*+xml",
    "application/graphql",
    "application/json",
    "application/sql",
    "application/toml",
    "application/vnd.apple.mpegurl",
    "application/x-ndjson",
    "application/x-pem-file",
    "application/x-sh",
    "application/x-subrip",
    "application/x-tex",
    "application/xml",
    "application/yaml",
    "message/rfc822",
    "model/obj",
    "model/step",
)
"""Types whose files are text, so that a claim of one is believed of text and of nothing else.

No image is among them: an SVG shows itself by its root element, and no claim makes other text one.
"""

_OOXML = "application/vnd.openxmlformats-officedocument."
_WORD = (_OOXML + "wordprocessingml.*", "application/vnd.ms-word.*.macroenabled.12")
_SHEET = (_OOXML + "spreadsheetml.*", "application/vnd.ms-excel.*.macroenabled.12")
_SLIDES = (_OOXML + "presentationml.*", "application/vnd.ms-powerpoint.*.macroenabled.12")

_CONTAINERS = {
    "application/x-ole-storage": (  # [MS-CFB]: Office up to 2003, and its relatives
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.ms-outlook",
        "application/vnd.ms-powerpoint",
        "application/vnd.visio",
        "application/x-msi",
    ),
    "application/zip": (
        *("application/*+zip", "model/*+zip", *_WORD, *_SHEET, *_SLIDES),
        "application/java-archive",
        "application/vnd.android.package-archive",
        "application/vnd.google-earth.kmz",
        "application/vnd.oasis.opendocument.*",
        "model/3mf",
    ),
    _OOXML + "wordprocessingml.document": _WORD,
    _OOXML + "spreadsheetml.sheet": _SHEET,
    _OOXML + "presentationml.presentation": _SLIDES,
    "application/xml": ("application/*+xml", "model/*+xml", "text/xsl"),
    "audio/ogg": ("application/ogg", "video/ogg"),
    "image/heic": ("image/heic-sequence", "image/heif"),
    "image/heif": ("image/heic", "image/heif-sequence"),
    "image/png": ("image/apng",),
    "image/tiff": ("image/x-adobe-dng", "image/x-nikon-nef", "image/x-sony-arw"),
    "text/plain": (*_TEXTUAL, "application/x-x509-ca-cert", "model/stl"),
    "video/mp4": ("application/mp4", "audio/mp4", "video/quicktime"),
    "video/webm": ("audio/webm",),
    "video/x-matroska": ("audio/x-matroska",),
    "video/x-ms-wmv": ("audio/x-ms-wma", "video/x-ms-asf"),
}
"""What a proved type may be on a claim: the bytes show the container, not what it holds."""

_CONTAINED = tuple(
    pattern
    for container, patterns in _CONTAINERS.items()
    if container not in ("text/plain", "application/xml")
    for pattern in patterns
)

_PDF_START = 1024
"""Bytes within which viewers look for the header of a PDF that has something before it.

Source: Adobe, PDF Reference 1.7, appendix H.3, implementation note 13.
"""


def resolve_media_type(*, head: bytes, declared: str | None, filename: str | None) -> str:
    """Return the media type to store a file under, without parameters.

    The bytes win over every claim. The declared type, then the extension, are believed only where
    the bytes leave room for them: where they prove a container (a ZIP that is named ``.docx``), a
    text (``.csv``), or nothing (an unknown binary format). A type that the bytes would have shown
    is never taken on trust, and neither is anything that browsers render: what is declared as
    ``image/png`` and is no PNG is stored as what it is, or as ``application/octet-stream``.

    Args:
        head: The first `SNIFF_SIZE` bytes of the file, or all of a shorter one.
        declared: The ``Content-Type`` that the client sent with the file.
        filename: The client's file name.
    """
    head = bytes(head[:SNIFF_SIZE])
    proved = sniff_media_type(head)
    claims = (declared, guess_media_type(filename) if filename else None)
    for claim in map(canonical_media_type, claims):
        if claim and claim not in _EMPTY_CLAIMS and _is_credible(claim, head, proved):
            return claim
    return proved or DEFAULT_MEDIA_TYPE


def _is_credible(claim: str, head: bytes, proved: str | None) -> bool:
    """Tell whether the bytes leave room for a claim."""
    if claim == "application/pdf":
        return proved in (None, "text/plain") and b"%PDF-" in head[:_PDF_START]
    if proved is not None:
        return _matches(claim, _CONTAINERS.get(proved, ()))
    if _matches(claim, _TEXTUAL):
        return may_be_text(head)
    return not (
        claim.startswith(("audio/", "font/", "image/", "video/"))
        or claim in list_provable_types()
        or is_scriptable(claim)
        or _matches(claim, _CONTAINED)
    )


def _matches(claim: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(claim, pattern) for pattern in patterns)
