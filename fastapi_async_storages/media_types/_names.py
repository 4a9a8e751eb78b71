"""The names of media types: parsing, spelling, patterns, and which of them browsers run."""

import re
from collections.abc import Iterable

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
# Type and subtype by RFC 6838 section 4.2, which is narrower than the token of RFC 9110: no "*",
# so that a range such as "image/*" is not taken for a type. The quantifiers are possessive: a
# header of many blanks and semicolons cannot make the match slow.
_NAME = r"[0-9A-Za-z][0-9A-Za-z!#$&^_.+-]{0,126}"
_PARAMETER = rf'{_WORD}=(?:{_WORD}|"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+")'
_MEDIA_TYPE = re.compile(rf"({_NAME}/{_NAME})(?:[ \t]*+;[ \t]*+(?:{_PARAMETER})?+)*+[ \t]*+")
_PATTERN = re.compile(rf"\*/\*|{_NAME}/\*")

MAX_LENGTH = 1024
"""Longest `Content-Type` value that is looked at, in characters; no real one comes near it."""

_ALIASES = {
    "application/cdfv2": "application/x-ole-storage",
    "application/ecmascript": "text/javascript",
    "application/font-woff": "font/woff",
    "application/javascript": "text/javascript",
    "application/vnd.ms-opentype": "font/otf",
    "application/x-bzip": "application/x-bzip2",
    "application/x-font-otf": "font/otf",
    "application/x-font-ttf": "font/ttf",
    "application/x-gzip": "application/gzip",
    "application/x-javascript": "text/javascript",
    "application/x-msdownload": "application/vnd.microsoft.portable-executable",
    "application/x-dosexec": "application/vnd.microsoft.portable-executable",
    "application/x-pdf": "application/pdf",
    "application/x-rar": "application/vnd.rar",
    "application/x-rar-compressed": "application/vnd.rar",
    "application/x-sqlite3": "application/vnd.sqlite3",
    "application/x-yaml": "application/yaml",
    "application/x-zip": "application/zip",
    "application/x-zip-compressed": "application/zip",
    "audio/m4a": "audio/mp4",
    "audio/mp3": "audio/mpeg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aiff": "audio/aiff",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-midi": "audio/midi",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
    "image/jpx": "image/jp2",
    "image/pjpeg": "image/jpeg",
    "image/svg": "image/svg+xml",
    "image/x-bmp": "image/bmp",
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/x-ms-bmp": "image/bmp",
    "image/x-png": "image/png",
    "text/json": "application/json",
    "text/rtf": "application/rtf",
    "text/x-javascript": "text/javascript",
    "text/x-markdown": "text/markdown",
    "text/xml": "application/xml",
    "text/yaml": "application/yaml",
    "video/avi": "video/x-msvideo",
    "video/matroska": "video/x-matroska",
    "video/vnd.avi": "video/x-msvideo",
    "video/x-m4v": "video/mp4",
}
"""Other spellings of the same type, mapped to the one that this package answers.

Source: IANA "Media Types" registry and the "Deprecated aliases" of its templates; where browsers
know another spelling better (``audio/wav``, ``video/x-matroska``), theirs.
"""

_SCRIPTABLE = frozenset(
    {
        # Documents that run script in the origin that serves them. WHATWG MIME Sniffing,
        # "MIME type groups": HTML MIME type, XML MIME type (with every subtype in "+xml": an
        # element of the XHTML or SVG namespace runs script in any XML vocabulary).
        "application/xml",
        "application/xslt+xml",
        "text/html",
        "text/xsl",
        # A web archive (MHTML, RFC 2557): where it is rendered, so is the HTML in it.
        "message/rfc822",
        # Nothing runs on navigation; but another page of the origin can load these, and a
        # service worker must be a script of the same origin. As these are the user's bytes, a
        # policy of `script-src 'self'` or `style-src 'self'` would let them in. WHATWG MIME
        # Sniffing, "JavaScript MIME type"; the many old names are matched by pattern below.
        "text/css",
        "text/javascript",
    }
)
_OLD_JAVASCRIPT = re.compile(
    r"(?:text|application)/(?:x-)?(?:java|ecma)script(?:1\.[0-5])?|text/(?:jscript|livescript)"
)


def normalize_media_type(value: str | None) -> str | None:
    """Return the bare type of a ``Content-Type`` value in lower case, or ``None``.

    Parameters are dropped: a ``charset`` that the sender chose can turn harmless bytes into
    markup (UTF-7 did). A value that is not well formed, has control characters such as CR and LF,
    or is a range such as ``image/*``, is no type.

    Args:
        value: A header value such as ``"Text/HTML; charset=utf-8"``.

    Source: RFC 9110 section 8.3.1 (syntax), RFC 6838 section 4.2 (names, at most 127 characters
    on each side of the slash).
    """
    if value is None or len(value) > MAX_LENGTH:
        return None
    match = _MEDIA_TYPE.fullmatch(value.strip(" \t"))
    return match[1].lower() if match else None


def canonical_media_type(value: str | None) -> str | None:
    """Return the bare type in the one spelling that this package uses, or ``None``.

    Args:
        value: A header value; ``"audio/x-wav"`` and ``"audio/wave"`` are both ``"audio/wav"``.
    """
    name = normalize_media_type(value)
    return None if name is None else _ALIASES.get(name, name)


def media_type_matches(media_type: str, patterns: Iterable[str]) -> bool:
    """Tell whether a media type is one of those that the patterns name.

    Case and parameters do not count, and neither do other spellings of the same type: the pattern
    ``image/jpg`` matches ``image/jpeg``.

    Args:
        media_type: The type to test; one that is not well formed matches nothing.
        patterns: Types (``application/pdf``) and ranges (``image/*``, ``*/*``).

    Raises:
        ValueError: When a pattern is neither a type nor a range.

    Source: RFC 9110 section 12.5.1 (media ranges).
    """
    wanted = [_parse_pattern(pattern) for pattern in patterns]
    name = canonical_media_type(media_type)
    if name is None:
        return False
    return any(pattern in ("*/*", name, f"{name.partition('/')[0]}/*") for pattern in wanted)


def is_scriptable(media_type: str) -> bool:
    """Tell whether a browser could run such a file with the rights of the site that serves it.

    These are HTML and XML in every vocabulary (SVG and RSS too), multipart documents, whose parts
    can be HTML, scripts, and style sheets. A value that is no media type counts as well, because
    browsers sniff what they cannot parse.

    Not among them, on purpose:

    - ``application/pdf``. The standard's "scriptable MIME type" includes it, since PDF holds
      script; but browsers run that script in the viewer's own sandbox, without the site's origin,
      cookies or DOM, and reading a PDF in place is what people upload it for.
    - ``text/cache-manifest``: application caches are gone from all browsers.
    - ``application/wasm``: it does nothing until a script of the site instantiates it.

    Serving such a type as an attachment stops navigation only: ``<script src>`` and service
    workers do not ask for ``Content-Disposition``. A file of a script or style type is best served
    as ``text/plain`` or from an origin of its own.

    Args:
        media_type: A type, with or without parameters.

    Source: WHATWG MIME Sniffing Standard, section 4.6 "MIME type groups" ("scriptable MIME type",
    "XML MIME type", "HTML MIME type", "JavaScript MIME type").
    """
    name = canonical_media_type(media_type)
    if name is None:
        return True
    return (
        name in _SCRIPTABLE
        or name.endswith("+xml")
        or name.startswith("multipart/")
        or _OLD_JAVASCRIPT.fullmatch(name) is not None
    )


def _parse_pattern(pattern: str) -> str:
    if _PATTERN.fullmatch(pattern):
        return pattern.lower()
    name = canonical_media_type(pattern)
    if name is None:
        raise ValueError(
            f"{pattern!r} is no media type: write a type such as 'application/pdf',"
            " or a range such as 'image/*'."
        )
    return name
