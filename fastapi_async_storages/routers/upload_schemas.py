"""What the routes for uploads take and answer."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

__all__ = [
    "AnnouncedFile",
    "BodyUpload",
    "FormUpload",
    "PartsUpload",
    "TicketIn",
    "UploadPart",
]

MAX_SAFE_INTEGER = 2**53 - 1
"""Largest number that every JSON parser reads as it is. Source: RFC 8259 section 6."""

Checksum = Annotated[
    str,
    Field(
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="SHA-256 of the file, as `sha256:` and 64 hex digits.",
    ),
]


class AnnouncedFile(BaseModel):
    """A file that a client wants to upload."""

    filename: Annotated[str, Field(description="Its name on the client's machine.")]
    size: Annotated[int, Field(strict=True, ge=0, le=MAX_SAFE_INTEGER, description="Its bytes.")]
    content_type: Annotated[
        str, Field(description="Its media type; empty when the client does not know.")
    ] = ""
    checksum: Checksum | None = None


class TicketIn(BaseModel):
    """The ticket of an upload."""

    ticket: Annotated[str, Field(description="What the announcement was answered with.")]


class _PlannedUpload(BaseModel):
    ticket: Annotated[str, Field(description="Completes the upload once the bytes are sent.")]
    expires_at: Annotated[datetime, Field(description="When the ticket and the URLs stop working.")]
    complete_url: Annotated[str, Field(description="Where the ticket is sent then, with `POST`.")]
    abort_url: Annotated[str, Field(description="Where the ticket of a cancelled upload is sent.")]


class FormUpload(_PlannedUpload):
    """The file is sent in a form, which the storage takes."""

    method: Literal["POST"] = "POST"
    url: str
    fields: Annotated[
        dict[str, str], Field(description="What the form has before its last part, `file`.")
    ]


class BodyUpload(_PlannedUpload):
    """The file is the body of a request, which the app takes."""

    method: Literal["PUT"] = "PUT"
    url: str
    headers: Annotated[dict[str, str], Field(description="What the request must have.")]


class UploadPart(BaseModel):
    """One part of a file, which the storage takes as the body of a request."""

    number: Annotated[int, Field(description="From 1. Each follows the one before.")]
    url: str
    size: Annotated[int, Field(description="Its bytes.")]


class PartsUpload(_PlannedUpload):
    """The file is sent in parts, in any order and side by side."""

    method: Literal["PUT"] = "PUT"
    parts: list[UploadPart]
