"""URLs of a CloudFront distribution that work until they expire, for whoever holds them.

Source: Amazon CloudFront Developer Guide, "Create a signed URL using a canned policy" and "Specify
signers that can create signed URLs and signed cookies" (RSA 2048 or ECDSA 256 keys; SHA-256 has to
be named, as SHA-1 is the default).
"""

import base64
import json
import time
from urllib.parse import quote

from fastapi_async_storages.backends._s3_urls import join_url, to_disposition_header
from fastapi_async_storages.dispositions import Disposition
from fastapi_async_storages.exceptions import ConfigurationError, MissingDependencyError

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
except ModuleNotFoundError:
    raise MissingDependencyError(
        "URLs signed for CloudFront need the extra 'cloudfront':"
        " pip install 'fastapi-async-storages[cloudfront]'"
    ) from None

__all__ = ["CloudFrontUrls"]

# What base64 has and a URL has not, as CloudFront wants it.
_URL_SAFE = bytes.maketrans(b"+=/", b"-_~")


class CloudFrontUrls:
    """Makes the URLs of a distribution's files, each signed with its query.

    Args:
        base_url: URL of the distribution that ends with ``/``.
        key_id: ID of the public key in CloudFront, in a key group that the distribution trusts.
        private_key: The private key in PEM: RSA, or ECDSA on the curve P-256.

    Raises:
        ConfigurationError: When it is no such key, or has a password.
    """

    def __init__(self, base_url: str, *, key_id: str, private_key: str | bytes) -> None:
        self._base_url = base_url
        self._key_id = key_id
        self._private_key = _load_key(private_key)

    def get(
        self,
        key: str,
        *,
        expires_in: int,
        filename: str | None = None,
        disposition: Disposition | None = None,
    ) -> str:
        """Return the signed URL of an object.

        Args:
            key: Key of the object.
            expires_in: Seconds that the URL works.
            filename: Name under which a browser saves the file.
            disposition: Whether a browser shows the file or saves it.
        """
        url = join_url(self._base_url, key)
        if header := to_disposition_header(disposition, filename):
            url += f"?response-content-disposition={quote(header, safe='')}"
        expires_at = int(time.time()) + expires_in
        condition = {"DateLessThan": {"AWS:EpochTime": expires_at}}
        # CloudFront builds the same text from the request: no spaces, and in this order.
        policy = json.dumps(
            {"Statement": [{"Resource": url, "Condition": condition}]}, separators=(",", ":")
        )
        signature = base64.b64encode(self._sign(policy.encode())).translate(_URL_SAFE).decode()
        return (
            f"{url}{'&' if '?' in url else '?'}Expires={expires_at}&Signature={signature}"
            f"&Key-Pair-Id={self._key_id}&Hash-Algorithm=SHA256"
        )

    def _sign(self, message: bytes) -> bytes:
        if isinstance(self._private_key, rsa.RSAPrivateKey):
            return self._private_key.sign(message, padding.PKCS1v15(), SHA256())
        return self._private_key.sign(message, ec.ECDSA(SHA256()))


def _load_key(pem: str | bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem.encode() if isinstance(pem, str) else pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The causes may quote the key.
        raise ConfigurationError(
            "cloudfront_private_key must be a private key in PEM, without a password."
        ) from None
    if isinstance(key, rsa.RSAPrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ConfigurationError(
        "cloudfront_private_key must be an RSA key, or an ECDSA key on the curve P-256."
    )
