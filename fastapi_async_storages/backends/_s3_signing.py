"""Signatures of requests, without what the SDK computes again for each of them."""

import hmac
from typing import TYPE_CHECKING, Any

from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth
from botocore.awsrequest import AWSRequest

from fastapi_async_storages.backends._s3_payloads import HashedBody
from fastapi_async_storages.backends._s3_presigning import derive_signing_key

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

__all__ = ["use_kept_hashes"]

_SIGNATURE = "s3v4-kept-hashes"


class _Auth(S3SigV4Auth):
    """Signature version 4, with the SHA-256 that a body brings along and the key of the day."""

    def payload(self, request: AWSRequest) -> str:
        body: object = request.body
        if isinstance(body, HashedBody) and body.is_signed and body.sha256 is not None:
            return body.sha256
        return super().payload(request)

    def signature(self, string_to_sign: str, request: AWSRequest) -> str:
        key = derive_signing_key(self.credentials.secret_key, self.credential_scope(request))
        return hmac.digest(key, string_to_sign.encode(), "sha256").hex()


def use_kept_hashes(client: "S3Client") -> None:
    """Have a client sign requests with what is known already.

    Args:
        client: The client.
    """
    events: Any = client.meta.events  # The stubs forget that handlers may return something.
    AUTH_TYPE_MAPS[_SIGNATURE] = _Auth
    events.register("choose-signer.s3", _choose_signature)


def _choose_signature(signature_version: object, **_: Any) -> str | None:
    # Presigned URLs (v4-query) and directory buckets (v4-s3express) have signatures of their own.
    return _SIGNATURE if signature_version in ("v4", "s3v4") else None
