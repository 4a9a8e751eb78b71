"""Uploads that a client sends to the storage itself, with URLs that the storage has signed.

S3 can take them. A storage on disk or in memory has no server of its own, so this is a capability
beside the contract of :class:`Storage`, and not a part of it: who wants it asks for
``isinstance(storage, PresignsUploads)``, and lets the app take the bytes otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, runtime_checkable

from fastapi_async_storages.info import FileInfo

__all__ = [
    "MAX_FORM_SIZE",
    "PresignedForm",
    "PresignedPart",
    "PresignedParts",
    "PresignedUploads",
    "PresignsUploads",
]

MAX_FORM_SIZE = 5 * 1024**3
"""Most bytes of a file that a form uploads.

Source: Amazon S3 API Reference, POST Object: a file is at most 5 GB.
"""


@dataclass(frozen=True, slots=True)
class PresignedForm:
    """A form that uploads one file, as ``multipart/form-data`` with ``POST``.

    Attributes:
        url: Where to send it.
        fields: What it must have before its last part, which is ``file``.
    """

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PresignedPart:
    """One part of a file, to be sent with ``PUT``.

    Attributes:
        number: Its number, from 1.
        url: Where to send it.
        size: Its bytes; another number is refused.
    """

    number: int
    url: str
    size: int


@dataclass(frozen=True, slots=True)
class PresignedParts:
    """A file that is uploaded in parts, each of which follows the one before.

    Attributes:
        upload_id: What the storage calls the upload.
        parts: The parts, in any order and side by side.
    """

    upload_id: str
    parts: Sequence[PresignedPart]


class PresignedUploads(Protocol):
    """The uploads that clients send to one storage. Names are safe when these are called."""

    async def sign_form(
        self, name: str, *, size: int, content_type: str, checksum: str | None, expires_in: int
    ) -> PresignedForm:
        """Sign the upload of exactly one file: its name, type and size cannot be changed.

        Args:
            name: Name of the file.
            size: Its bytes, at most :data:`MAX_FORM_SIZE`.
            content_type: Its media type.
            checksum: ``"sha256:"`` and 64 hex digits that it must have, if given.
            expires_in: Seconds for which it is taken, again and again.
        """

    async def sign_parts(
        self, name: str, *, size: int, content_type: str, expires_in: int
    ) -> PresignedParts:
        """Open an upload in parts, and sign each of them.

        Args:
            name: Name of the file.
            size: Its bytes.
            content_type: Its media type.
            expires_in: Seconds for which the parts are taken.

        Raises:
            FileTooLargeError: When it is larger than the storage's files can be.
        """

    async def join_parts(self, name: str, upload_id: str, *, size: int) -> None:
        """Make the file of the parts that have come. It is no error when that was done before.

        Args:
            name: Name of the file.
            upload_id: See :class:`PresignedParts`.
            size: The bytes of all parts.

        Raises:
            FileTooSmallError: When parts are missing.
        """

    async def abort_parts(self, name: str, upload_id: str) -> None:
        """Throw away the parts that have come. It is no error when there are none.

        Args:
            name: Name of the file.
            upload_id: See :class:`PresignedParts`.
        """

    async def get_info(self, name: str) -> FileInfo:
        """Return what is known of an uploaded file.

        Args:
            name: Name of the file.

        Returns:
            Its record; with a ``checksum`` only if the storage itself has computed it.

        Raises:
            NotFoundError: When there is no such file.
        """

    async def publish(
        self,
        name: str,
        target: str,
        *,
        etag: str,
        content_type: str,
        metadata: Mapping[str, str],
        cache_control: str | None,
    ) -> None:
        """Copy a file that was checked to a name that must be free.

        Of several calls at the same time for one target, one succeeds.

        Args:
            name: Name of the file.
            target: Name of the copy.
            etag: The version that was checked.
            content_type: Media type of the copy.
            metadata: Keys and values of the copy.
            cache_control: ``Cache-Control`` of the copy.

        Raises:
            NotFoundError: When there is no such file.
            PreconditionFailedError: When it is another version.
            AlreadyExistsError: When the target's name is taken.
        """

    async def abort_stale(self, prefix: str, *, older_than: timedelta) -> int:
        """Throw away uploads in parts that nobody has finished.

        Args:
            prefix: Of which names; empty, or a folder with a ``/`` at its end.
            older_than: How long ago they were opened, at least.

        Returns:
            How many there were.
        """


@runtime_checkable
class PresignsUploads(Protocol):
    """A storage to which clients can upload without going through the app."""

    async def presigned_uploads(self) -> PresignedUploads:
        """Return the uploads that clients send to the storage itself."""
