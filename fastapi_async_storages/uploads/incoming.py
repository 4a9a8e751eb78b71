"""What is known about an upload before its bytes are stored: the claims, and the first bytes."""

from dataclasses import dataclass, field
from typing import Self

from fastapi_async_storages.images import ImageHeader
from fastapi_async_storages.keys import clean_filename
from fastapi_async_storages.media_types import extension_for, resolve_media_type

__all__ = ["IncomingFile", "name_upload"]


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file that is being uploaded, as far as its first bytes tell. What validators look at.

    Attributes:
        filename: The client's own file name, cleaned; data, never to be used as a path.
        declared_type: The ``Content-Type`` that the client sent with the file, as it came.
        size: Bytes that the client announced, if it did. Nobody has counted them yet.
        media_type: The type by the first bytes, under which the file will be stored.
        extension: The extension that the stored file gets, with its dot, or nothing.
        head: The first bytes: ``SNIFF_SIZE`` or more of them, or all of a shorter file.
        image: What the header of an image tells, when it is one that can be read.
    """

    filename: str | None
    declared_type: str | None
    size: int | None
    media_type: str
    extension: str
    head: bytes = field(repr=False)
    image: ImageHeader | None = None

    @classmethod
    def recognize(
        cls,
        head: bytes,
        *,
        filename: str | None = None,
        declared_type: str | None = None,
        size: int | None = None,
    ) -> Self:
        """Weigh the claims of the client against the first bytes of the file.

        Args:
            head: The first ``SNIFF_SIZE`` bytes or more, or all of a shorter file.
            filename: The client's file name, as it came.
            declared_type: The ``Content-Type`` of the file, as it came.
            size: Bytes that the client announced.
        """
        cleaned = clean_filename(filename)
        media_type = resolve_media_type(head=head, declared=declared_type, filename=cleaned)
        return cls(
            filename=cleaned,
            declared_type=declared_type,
            size=size,
            media_type=media_type,
            extension=extension_for(media_type, cleaned),
            head=head,
        )

    @property
    def label(self) -> str:
        """How messages name the file."""
        return name_upload(self.filename)


def name_upload(filename: str | None) -> str:
    """Return how messages name an upload.

    Args:
        filename: The client's file name, cleaned.
    """
    return f"The file {filename!r}" if filename else "The file"
