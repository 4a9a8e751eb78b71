"""Tokens that only we can make: signed links, and tickets for direct uploads.

A token is a small JSON payload with an HMAC-SHA256, made by itsdangerous. It is signed, not
encrypted: whoever holds it can read it.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi_async_storages.exceptions import (
    ConfigurationError,
    InvalidSignatureError,
    LinkExpiredError,
)

__all__ = ["EXPIRES_AT", "MIN_SECRET_KEY_BYTES", "SecretKey", "TokenSigner"]

SecretKey = str | Sequence[str]
"""One secret key, or several for rotation: the first signs, all of them verify."""

MIN_SECRET_KEY_BYTES = 16
"""Shortest secret key in UTF-8 bytes. A key of 32 random bytes is better.

Source: RFC 2104 section 3 discourages keys shorter than the hash's output; NIST SP 800-107 rev. 1
section 5.3.2 sets 112 bits as the least.
"""

EXPIRES_AT = "e"
"""Key of a payload that holds the Unix time in seconds at which its token stops working."""


class TokenSigner:
    """Signs and verifies tokens of one purpose.

    Args:
        secret_key: See :data:`SecretKey`.
        purpose: What the tokens are for. A token of one purpose is worthless for another, even with
            the same key.

    Raises:
        ConfigurationError: When there is no key, or one is shorter than 16 bytes.
    """

    def __init__(self, secret_key: SecretKey, *, purpose: str) -> None:
        keys = [secret_key] if isinstance(secret_key, str) else list(secret_key)
        if not keys or not all(map(_is_strong, keys)):
            raise ConfigurationError(
                f"secret_key must be a str of at least {MIN_SECRET_KEY_BYTES} bytes; make one with"
                " python -c 'import secrets; print(secrets.token_urlsafe(32))'."
            )
        import itsdangerous  # noqa: PLC0415 - many apps sign nothing, and need not load it

        self._serializer = itsdangerous.URLSafeSerializer(
            keys[::-1],  # itsdangerous signs with the last one.
            salt=f"fastapi-async-storages.{purpose}",
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )
        self._no_token = (itsdangerous.BadData, ValueError)

    def sign(self, payload: Mapping[str, Any], *, expires_at: int) -> str:
        """Return a token for a payload.

        Args:
            payload: What JSON can hold; the key :data:`EXPIRES_AT` is taken.
            expires_at: Unix time in seconds at which the token stops working.

        Returns:
            A token of URL-safe ASCII characters.
        """
        token = self._serializer.dumps({**payload, EXPIRES_AT: expires_at})
        return token if isinstance(token, str) else token.decode()

    def verify(self, token: str) -> dict[str, Any]:
        """Return the payload of a token that we made for this purpose, with :data:`EXPIRES_AT`.

        Args:
            token: What :meth:`sign` returned.

        Raises:
            InvalidSignatureError: When we did not make it for this purpose.
            LinkExpiredError: When we did, and its time is over.
        """
        try:
            payload = self._serializer.loads(token)
        except self._no_token:
            raise InvalidSignatureError("The signature is not valid.") from None
        if time.time() >= payload[EXPIRES_AT]:
            raise LinkExpiredError("The link has expired; ask for a new one.")
        return dict(payload)


def _is_strong(key: object) -> bool:
    return isinstance(key, str) and len(key.encode()) >= MIN_SECRET_KEY_BYTES
