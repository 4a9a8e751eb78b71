"""Tickets for direct uploads: what was agreed on when an upload was announced, signed by us.

Nobody keeps a list of them. Whoever holds a ticket can read it, and cannot change it.
"""

import json
from dataclasses import dataclass
from typing import Any, Self

from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.links import FileLinks
from fastapi_async_storages.signing import EXPIRES_AT, SecretKey, TokenSigner
from fastapi_async_storages.storage import Storage

__all__ = ["Ticket", "TicketOffice", "find_secret_key"]

# One letter each, since a ticket of an app-signed upload travels in a URL.
_KEYS = {
    "unique": "n",
    "size": "s",
    "content_type": "t",
    "filename": "f",
    "checksum": "c",
    "upload_id": "u",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What was agreed on when an upload was announced.

    Attributes:
        unique: What is unique in the name of the file.
        size: Bytes of the file.
        content_type: Media type that the client says it has; its bytes decide in the end.
        filename: The client's own file name, cleaned.
        checksum: ``"sha256:"`` and 64 hex digits that the client announced, if it did.
        upload_id: What the storage calls an upload in parts.
        expires_at: Unix time in seconds at which the upload must be complete.
    """

    unique: str
    size: int
    content_type: str
    filename: str | None
    checksum: str | None
    upload_id: str | None = None
    expires_at: int

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> Self:
        """Make a ticket of what a token holds.

        Args:
            payload: What :meth:`to_payload` returned, with its expiry.
        """
        values: dict[str, Any] = {name: payload.get(key) for name, key in _KEYS.items()}
        return cls(**values, expires_at=payload[EXPIRES_AT])

    def to_payload(self) -> dict[str, Any]:
        """Return what a token is made of, without the expiry."""
        values = {key: getattr(self, name) for name, key in _KEYS.items()}
        return {key: value for key, value in values.items() if value is not None}


class TicketOffice:
    """Signs the tickets of one route and one user, and takes them back.

    Args:
        secret_key: Key that signs, or several for rotation: the first signs.
        place: Where the tickets are good: what tells a router and its storage from all others. A
            ticket that was issued under the rules of one router must not be completed under those
            of another.
        user: Whose tickets they are; empty for those of anybody.

    Raises:
        ConfigurationError: When a key is too short.
    """

    def __init__(self, secret_key: SecretKey, *, place: str, user: str = "") -> None:
        # The user's id is signed and not in the ticket: it may be an e-mail address.
        self._tickets = _make_signer(secret_key, "upload", place, user)
        # Like a presigned URL, the URL for the bytes works for whoever has it.
        self._urls = _make_signer(secret_key, "upload-body", place)

    def sign(self, ticket: Ticket) -> str:
        """Return the token with which its user completes an upload."""
        return self._tickets.sign(ticket.to_payload(), expires_at=ticket.expires_at)

    def verify(self, token: str) -> Ticket:
        """Return the ticket of a token that :meth:`sign` made for this place and user.

        Args:
            token: What the client sent.

        Raises:
            InvalidSignatureError: When it is no such token.
            LinkExpiredError: When its time is over.
        """
        return Ticket.from_payload(self._tickets.verify(token))

    def sign_url(self, ticket: Ticket) -> str:
        """Return the token of a URL to which the bytes of an upload are sent."""
        return self._urls.sign(ticket.to_payload(), expires_at=ticket.expires_at)

    def verify_url(self, token: str) -> Ticket:
        """Return the ticket of a token that :meth:`sign_url` made for this place.

        Args:
            token: What the client sent.

        Raises:
            InvalidSignatureError: When it is no such token.
            LinkExpiredError: When its time is over.
        """
        return Ticket.from_payload(self._urls.verify(token))


def find_secret_key(storage: Storage, secret_key: SecretKey | None) -> SecretKey:
    """Return the key that signs tickets: the given one, or that of the storage.

    Args:
        storage: Where the uploads go. Those on disk and in memory have a key for their links.
        secret_key: The key that the router was given, if any.

    Raises:
        ConfigurationError: When there is none.
    """
    links = getattr(storage, "links", None)
    if secret_key is None and isinstance(links, FileLinks):
        secret_key = links.secret_key
    if secret_key is None:
        raise ConfigurationError(
            f"Nothing signs the tickets for uploads to {storage!r}: pass secret_key to"
            " create_uploads_router(), a key of your own; that of S3 is for S3 alone.",
            storage=repr(storage),
        )
    return secret_key


def _make_signer(secret_key: SecretKey, *purpose: str) -> TokenSigner:
    # As JSON, so that no two lists of strings give the same purpose.
    return TokenSigner(secret_key, purpose=json.dumps(purpose))
