"""One place that says which uploads are allowed.

    rules = UploadRules(max_size="10MiB", types=["image/*", "application/pdf"])

The rules are checked as early as each can be: what the client announces before a byte is read, the
type and the dimensions by the first bytes, the size while the bytes flow.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import Literal, TypeAlias

from fastapi_async_storages.exceptions import (
    ConfigurationError,
    ExtensionNotAllowedError,
    FileTooLargeError,
    FileTooSmallError,
    PolyglotError,
    TypeMismatchError,
    TypeNotAllowedError,
)
from fastapi_async_storages.keys import clean_filename
from fastapi_async_storages.media_types import (
    DEFAULT_MEDIA_TYPE,
    guess_media_type,
    is_scriptable,
    media_type_matches,
    normalize_media_type,
    resolve_media_type,
)
from fastapi_async_storages.uploads.filename_rules import FilenameRules
from fastapi_async_storages.uploads.image_rules import ImageRules
from fastapi_async_storages.uploads.incoming import IncomingFile, name_upload
from fastapi_async_storages.uploads.polyglots import find_type_in_head, may_be_polyglot
from fastapi_async_storages.uploads.sizes import format_size, parse_size

__all__ = ["FilenameRules", "ImageRules", "Scanner", "UploadRules", "Validator"]

Validator: TypeAlias = Callable[[IncomingFile], Awaitable[None]]
"""Looks at an upload before its bytes are stored, and raises ``UploadRefusedError`` or not."""

Scanner: TypeAlias = Callable[[IncomingFile, AsyncIterator[bytes]], AsyncGenerator[bytes, None]]
"""Looks at all bytes of an upload while they flow, as an async generator that passes each on::

    async def count_lines(file: IncomingFile, chunks: AsyncIterator[bytes]) -> ...:
        lines = 0
        async for chunk in chunks:
            lines += chunk.count(b"\\n")
            yield chunk
        if lines > 1000:
            raise UploadRefusedError(f"{file.label} has {lines} lines.", limit=1000, received=lines)

Uploads are all or nothing, so a scanner may still refuse one after its last byte.
"""

_EXTENSION = re.compile(r"(?:\.[a-z0-9_+-]+)+", re.ASCII)

# What clients declare when they do not know. Source: RFC 2046 section 4.5.1; the second is what
# old S3 clients send.
_NO_CLAIMS = (DEFAULT_MEDIA_TYPE, "binary/octet-stream")


class UploadRules:
    """What an upload must be like. Without arguments, everything is allowed.

    The type of a file is what its first bytes prove. Where the client's claims (the declared type,
    the extension) say otherwise, the file is stored under the proved type, or refused:
    ``mismatch``. A range such as ``image/*`` never takes in types that browsers run as script, so
    SVG must be named: ``types=["image/*", "image/svg+xml"]``. Where the type matters (``types``,
    ``extensions`` or ``image`` is given), a file of two types at once is refused too.

    Args:
        max_size: Most bytes, as a number or such as ``"10MiB"``. An upload is cut off there.
        min_size: Least bytes.
        types: Media types, and ranges such as ``"image/*"``.
        extensions: Extensions, such as ``".pdf"``, that the client's file name may have, and that
            the stored file may get.
        image: Rules for an image; everything that is no image is refused then.
        filename: Rules for the client's file name.
        mismatch: What to do when the bytes belie the declared type or the extension.
        validators: Own checks by what is known from the first bytes. See :data:`Validator`.
        scanners: Own checks of all bytes, while they flow. See :data:`Scanner`.

    Raises:
        ConfigurationError: When a rule is not understood, or no file could keep the rules.
    """

    def __init__(
        self,
        *,
        max_size: int | str | None = None,
        min_size: int | str = 0,
        types: Iterable[str] | None = None,
        extensions: Iterable[str] | None = None,
        image: ImageRules | None = None,
        filename: FilenameRules | None = None,
        mismatch: Literal["correct", "refuse"] = "correct",
        validators: Iterable[Validator] = (),
        scanners: Iterable[Scanner] = (),
    ) -> None:
        self.max_size = None if max_size is None else parse_size(max_size)
        self.min_size = parse_size(min_size)
        self.types = None if types is None else _check_types(types)
        self.extensions = None if extensions is None else _check_extensions(extensions)
        self.image = image
        self.filename = filename or FilenameRules()
        self.mismatch = mismatch
        self.validators = tuple(validators)
        self.scanners = tuple(scanners)
        if self.max_size is not None and self.max_size < self.min_size:
            raise ConfigurationError(
                f"max_size={max_size!r} is less than min_size={min_size!r}: no file can have both."
            )
        if mismatch not in ("correct", "refuse"):
            raise ConfigurationError(f"mismatch={mismatch!r} must be 'correct' or 'refuse'.")

    @property
    def restricts_type(self) -> bool:
        """Whether not every type is allowed."""
        return not (self.types is None and self.extensions is None and self.image is None)

    def check_claims(self, *, filename: str | None, size: int | None) -> None:
        """Check what the client announces, before a byte is read.

        Args:
            filename: The client's file name, as it came.
            size: Bytes, if announced.

        Raises:
            UploadRefusedError: When a rule is broken already.
        """
        cleaned = clean_filename(filename)
        self.filename.check(filename)
        if cleaned is not None:
            self._check_extension(f"{name_upload(cleaned)} has", cleaned)
        if size is not None:
            self.check_size(size, filename=cleaned)

    async def check(self, file: IncomingFile) -> None:
        """Check what the first bytes of an upload tell, then ask the validators.

        Args:
            file: The upload, recognized by its first bytes.

        Raises:
            UploadRefusedError: When a rule is broken.
        """
        self.check_type(file.media_type, filename=file.filename)
        if not _has_unknown_extension(file):
            self._check_extension(
                f"{file.label} is {file.media_type}, which gets", f"x{file.extension}"
            )
        if self.mismatch == "refuse":
            _check_mismatch(file)
        if self.restricts_type and may_be_polyglot(file.media_type):
            self.check_other_type(file, find_type_in_head(file.head))
        if self.image is not None:
            self.image.check(file)
        for validate in self.validators:
            await validate(file)

    def check_type(self, media_type: str, *, filename: str | None = None) -> None:
        """Check a media type.

        Args:
            media_type: The type that the bytes prove.
            filename: The client's file name, for the message.

        Raises:
            TypeNotAllowedError: When it is not among those allowed.
        """
        allowed = self.types
        if self.image is not None and not media_type_matches(media_type, ["image/*"]):
            images = (one for one in self.types or () if one.startswith("image/"))
            allowed = tuple(images) or ("image/*",)
        if allowed is not None and not _is_allowed(media_type, allowed):
            raise TypeNotAllowedError(
                f"{name_upload(filename)} is {media_type}; allowed: {', '.join(allowed)}.",
                limit=list(allowed),
                received=media_type,
            )

    def check_other_type(self, file: IncomingFile, other: str | None) -> None:
        """Check the second type of a file that has two.

        Args:
            file: The upload.
            other: What another part of it shows, if anything.

        Raises:
            PolyglotError: When that is not allowed by itself.
        """
        if other is not None and not _is_allowed(other, self.types or ()):
            raise PolyglotError(
                f"{file.label} is {file.media_type} by its first bytes, and {other} by others.",
                limit=file.media_type,
                received=other,
            )

    def check_size(self, size: int, *, filename: str | None = None) -> None:
        """Check a size that is final.

        Args:
            size: Bytes.
            filename: The client's file name, for the message.

        Raises:
            FileTooLargeError: When it is more than ``max_size``.
            FileTooSmallError: When it is less than ``min_size``.
        """
        self.check_growing_size(size, filename=filename)
        if size < self.min_size:
            raise FileTooSmallError(
                f"{name_upload(filename)} has {size} bytes, at least"
                f" {format_size(self.min_size)} are needed.",
                limit=self.min_size,
                received=size,
            )

    def check_growing_size(self, size: int, *, filename: str | None = None) -> None:
        """Check the bytes that have come so far, of which there may be more.

        Args:
            size: Bytes.
            filename: The client's file name, for the message.

        Raises:
            FileTooLargeError: When it is more than ``max_size``.
        """
        if self.max_size is not None and size > self.max_size:
            raise FileTooLargeError(
                f"{name_upload(filename)} is too large: {size} bytes, at most"
                f" {format_size(self.max_size)} are allowed.",
                limit=self.max_size,
                received=size,
            )

    def _check_extension(self, reason: str, name: str) -> None:
        if self.extensions is None:
            return
        # The end of the name, so that ".tar.gz" can be asked for; ".gz" alone is no extension of
        # a file of that name.
        if not any(name.lower().endswith(one) and len(name) > len(one) for one in self.extensions):
            stem, dot, extension = name.rpartition(".")
            received = f"{dot}{extension.lower()}" if stem else ""
            raise ExtensionNotAllowedError(
                f"{reason} {f'the extension {received!r}' if received else 'no extension'};"
                f" allowed: {', '.join(self.extensions)}.",
                limit=list(self.extensions),
                received=received,
            )


def _is_allowed(media_type: str, types: tuple[str, ...]) -> bool:
    if is_scriptable(media_type):
        types = tuple(one for one in types if not one.endswith("/*"))
    return media_type_matches(media_type, types)


def _has_unknown_extension(file: IncomingFile) -> bool:
    """Tell whether neither the bytes nor the name say a type: the extension stays as it is then."""
    return bool(not file.extension and file.filename and not guess_media_type(file.filename))


def _check_mismatch(file: IncomingFile) -> None:
    for claim in (file.declared_type, guess_media_type(file.filename or "")):
        claimed = normalize_media_type(claim)
        if claimed is None or claimed in _NO_CLAIMS:
            continue
        believed = resolve_media_type(head=file.head, declared=claimed, filename=None)
        if not media_type_matches(claimed, [believed]):  # Another spelling is no lie.
            raise TypeMismatchError(
                f"{file.label} is {believed} by its bytes, not {claimed}.",
                limit=believed,
                received=claimed,
            )


def _check_types(types: Iterable[str]) -> tuple[str, ...]:
    if isinstance(types, str):
        raise ConfigurationError(f"types={types!r}: give a list, such as [{types!r}].")
    checked = tuple(types)
    try:
        media_type_matches(DEFAULT_MEDIA_TYPE, checked)
    except ValueError as error:
        raise ConfigurationError(f"types: {error}") from error
    return checked


def _check_extensions(extensions: Iterable[str]) -> tuple[str, ...]:
    if isinstance(extensions, str):
        raise ConfigurationError(f"extensions={extensions!r}: give a list of them.")
    checked = tuple(f".{one.lower().removeprefix('.')}" for one in extensions)
    for one in checked:
        if not _EXTENSION.fullmatch(one):
            raise ConfigurationError(f"extensions: {one!r} is none; write them as '.pdf'.")
    return checked
