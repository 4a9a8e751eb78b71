"""The headers of a file: what a browser may do with it, what it is called, who may keep it.

The bytes, the media type and the file name came from users, so every header here is written for a
file that was uploaded by an attacker.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from fastapi_async_storages.dispositions import Disposition, content_disposition
from fastapi_async_storages.http.conditional import format_http_date
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.keys import clean_filename, is_unique_name
from fastapi_async_storages.media_types import (
    guess_media_type,
    is_scriptable,
    media_type_matches,
)
from fastapi_async_storages.ranges import ContentRange
from fastapi_async_storages.storage import DEFAULT_CONTENT_TYPE

__all__ = ["CrossOriginResourcePolicy", "FileHeaders", "choose_filename", "get_filename"]

CrossOriginResourcePolicy: TypeAlias = Literal["same-origin", "same-site", "cross-origin"]
"""Which sites may embed a file. Source: Fetch Standard, ``Cross-Origin-Resource-Policy`` header."""

IMMUTABLE = "public, max-age=31536000, immutable"
"""For what never changes: a year, and no question about it on reload.

Source: RFC 8246 (``immutable``); RFC 9111 section 5.2.2.1 (``max-age``); a year is the longest that
RFC 2616 section 14.21 recommended, and what caches still expect.
"""

REVALIDATE = "no-cache"
"""Keep it, but ask each time whether it is still the same. Source: RFC 9111 section 5.2.2.4."""

# CSP 3 section 6.3.1: `sandbox` gives the document an origin of its own and no scripts. It is sent
# with all that is inline, because some browser may find a document in any bytes.
_POLICY = "sandbox; default-src 'none'"

# Browsers wrap what they show themselves in a document of their own, to which the policy applies.
_VIEWER_POLICIES: Mapping[str, str] = {
    # The styles that put the picture in the middle of the window are inline.
    "image/*": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    # The player loads the file again, by ranges and with CORS: from an opaque origin Chromium
    # refuses that. Scripts stay forbidden.
    "audio/*": "sandbox allow-same-origin; default-src 'none'; media-src 'self'",
    "video/*": "sandbox allow-same-origin; default-src 'none'; media-src 'self'",
    # WebKit saves a PDF of an opaque origin instead of showing it; Chromium shows it either way.
    "application/pdf": "sandbox allow-same-origin; default-src 'none'; style-src 'unsafe-inline'",
}

_SHARED_DIRECTIVES = re.compile(r"(?:public|private|s-maxage=.*|proxy-revalidate)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHeaders:
    """How files are presented, for all files of one route.

    Attributes:
        disposition: Whether a browser shows a file or saves it, when the request does not say.
        scriptable_types: Media types, and ranges such as ``"image/*"``, to be served as they are
            although browsers run script in them. Everything else of that kind is saved, not shown.
        cache_control: ``Cache-Control`` of the files that were stored without one. By default a
            unique name is immutable, any other is asked for again each time.
        shared: Whether shared caches (a CDN, a proxy) may keep what is served.
        keeps_unique_names: Whether a file of a unique name may be shown again from the browser's
            cache without asking; not where a permission can be taken back.
        content_security_policy: Instead of the policy by media type.
        cross_origin_resource_policy: Which sites may embed a file; all when not given.
    """

    disposition: Disposition = "inline"
    scriptable_types: tuple[str, ...] = ()
    cache_control: str | None = None
    shared: bool = False
    keeps_unique_names: bool = True
    content_security_policy: str | None = None
    cross_origin_resource_policy: CrossOriginResourcePolicy | None = None

    def __post_init__(self) -> None:
        """Refuse now what would fail with the first file.

        Raises:
            ValueError: When the disposition or a media type is none.
        """
        content_disposition(self.disposition)
        media_type_matches(DEFAULT_CONTENT_TYPE, self.scriptable_types)

    def describe(
        self,
        info: FileInfo,
        content_range: ContentRange | None = None,
        *,
        disposition: Disposition | None = None,
        filename: str | None = None,
    ) -> dict[str, str]:
        """Return the headers of a response that has the file.

        Args:
            info: The file's record.
            content_range: Which bytes the response has, if not all.
            disposition: What the request says instead of the route's.
            filename: Name under which a browser saves the file, instead of the file's own.
        """
        content_type, disposition = self.present(info, disposition)
        headers = {
            "content-type": content_type,
            "content-length": str(content_range.length if content_range else info.size),
            "content-disposition": content_disposition(disposition, get_filename(info, filename)),
            "accept-ranges": "bytes",
            "cache-control": self.choose_cache_control(info.name, info.cache_control),
            "x-content-type-options": "nosniff",
        }
        if content_range is not None:
            headers["content-range"] = str(content_range)
        if info.etag is not None:
            headers["etag"] = info.etag
        if info.last_modified is not None:
            headers["last-modified"] = format_http_date(info.last_modified)
        if disposition == "inline":
            headers["content-security-policy"] = self._choose_policy(content_type)
        if self.cross_origin_resource_policy is not None:
            headers["cross-origin-resource-policy"] = self.cross_origin_resource_policy
        return headers

    def present(
        self, info: FileInfo, disposition: Disposition | None = None
    ) -> tuple[str, Disposition]:
        """Return the media type and the disposition under which a file is safe to send.

        Args:
            info: The file's record.
            disposition: What the request says instead of the route's.
        """
        content_type = info.content_type or DEFAULT_CONTENT_TYPE
        # What is no media type at all counts as scriptable, and matches no pattern: a browser would
        # take the last of several types, and sniff what it cannot parse.
        if is_scriptable(content_type) and not media_type_matches(
            content_type, self.scriptable_types
        ):
            return DEFAULT_CONTENT_TYPE, "attachment"
        return content_type, disposition or self.disposition

    def choose_cache_control(self, name: str, stored: str | None) -> str:
        """Return the ``Cache-Control`` of a file.

        Args:
            name: Which file.
            stored: ``Cache-Control`` that the file was stored with.
        """
        unique = self.keeps_unique_names and is_unique_name(name)
        own = stored if stored and stored.isascii() and stored.isprintable() else None
        value = own or self.cache_control or (IMMUTABLE if unique else REVALIDATE)
        if self.shared:
            return value
        # A file that not everybody may read must not come from a cache that everybody asks.
        directives = [directive.strip() for directive in value.split(",")]
        kept = [each for each in directives if each and not _SHARED_DIRECTIVES.fullmatch(each)]
        return ", ".join(["private", *kept])

    def _choose_policy(self, content_type: str) -> str:
        if self.content_security_policy is not None:
            return self.content_security_policy
        for media_range, policy in _VIEWER_POLICIES.items():
            if media_type_matches(content_type, [media_range]):
                return policy
        return _POLICY


def get_filename(info: FileInfo, filename: str | None = None) -> str:
    """Return the name under which a browser saves a file.

    Args:
        info: The file's record.
        filename: The name that the request or the link gives.

    Returns:
        The given name, else the one that the file had on its sender's disk, else the last segment
        of its name in the storage.
    """
    return filename or info.filename or info.name.rpartition("/")[2]


def choose_filename(name: str, filename: str | None) -> str | None:
    """Return the file name that a URL asks for, if its sender may choose it.

    Who can change the name under which a trusted site's file is saved, can make a program of a
    text: the extension has to stay, or to be one of the same media type.

    Args:
        name: Name of the file in the storage.
        filename: The name in the URL, which nobody signed.
    """
    # Firefox and Windows drop dots and blanks at the end: "setup.exe." is saved as "setup.exe".
    cleaned = (clean_filename(filename) or "").rstrip(". ")
    if not cleaned:
        return None
    wanted = _get_suffix(cleaned), guess_media_type(cleaned)
    actual = _get_suffix(name.rpartition("/")[2]), guess_media_type(name)
    same = wanted[0] == actual[0] or (wanted[1] is not None and wanted[1] == actual[1])
    return cleaned if same else None


def _get_suffix(filename: str) -> str:
    # With a letter before it, since ".bat" alone is all stem to pathlib, and a program to Windows.
    return PurePosixPath(f"x{filename}").suffix.lower()
