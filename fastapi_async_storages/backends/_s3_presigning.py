"""Presigned URLs, with all that does not change from one to the next kept.

The SDK resolves the endpoint and derives the signing key anew for each URL, about 250 us; a
redirect to a file is little else than that, and an upload in parts needs up to a thousand.

Source: Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters (AWS Signature
Version 4)".
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, quote, urlsplit

__all__ = ["Credentials", "UrlSigner", "derive_signing_key"]

_ALGORITHM = "AWS4-HMAC-SHA256"

SAMPLE_KEY = "sample"
"""Key of the presigned URL that :meth:`UrlSigner.from_sample` learns from."""


class Credentials(Protocol):
    """A consistent set of credentials, as the SDK returns it."""

    @property
    def access_key(self) -> str:
        """Access key ID."""

    @property
    def secret_key(self) -> str:
        """Secret access key."""

    @property
    def token(self) -> str | None:
        """Session token of temporary credentials."""


class _Common(NamedTuple):
    """What the URLs of one second have in common."""

    query: str
    to_sign: str
    key: bytes


class UrlSigner:
    """Presigns URLs of one bucket at one endpoint.

    Attributes:
        base_url: What stands in front of the key in a URL.
        region: Region that is signed for.
        service: Service that is signed for.

    Args:
        base_url: What stands in front of the key in a URL.
        region: Region that is signed for.
        service: Service that is signed for; ``"s3"``, or ``"s3-outposts"``.
    """

    def __init__(self, base_url: str, *, region: str, service: str = "s3") -> None:
        self.base_url, self.region, self.service = base_url, region, service
        parts = urlsplit(base_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path
        self._host = _to_host(base_url)
        self._scope = f"{region}/{service}/aws4_request"
        self._host_line = f"host:{self._host}\n"
        self._common: tuple[tuple[object, ...], _Common] | None = None

    @classmethod
    def from_sample(cls, url: str) -> "UrlSigner | None":
        """Learn endpoint, region and service from a URL that the SDK presigned for ``SAMPLE_KEY``.

        Returns:
            ``None`` when it is signed in another way than this class knows, such as for directory
            buckets and multi-region access points.
        """
        bare, _, query = url.partition("?")
        signed = {name: values[0] for name, values in parse_qs(query).items()}
        known = {
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-Security-Token",
            "X-Amz-Signature",
            "X-Amz-SignedHeaders",
        }
        if signed.get("X-Amz-Algorithm") != _ALGORITHM or not signed.keys() <= known:
            return None
        if signed.get("X-Amz-SignedHeaders") != "host" or not bare.endswith(f"/{SAMPLE_KEY}"):
            return None
        _, _, region, service, _ = signed["X-Amz-Credential"].rsplit("/", 4)
        return cls(bare.removesuffix(SAMPLE_KEY), region=region, service=service)

    def sign(
        self,
        key: str,
        *,
        parameters: Mapping[str, str],
        expires_in: int,
        credentials: Credentials,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        now: datetime | None = None,
    ) -> str:
        """Return a presigned URL.

        Args:
            key: Key of the object.
            parameters: Further query parameters, such as ``response-content-disposition``. Their
                names start with a small letter, and so come behind the others in the order that is
                signed.
            expires_in: Seconds that the URL works.
            credentials: Whose signature it is.
            method: What may be done with the URL.
            headers: What must be sent with it beside ``Host``, by names in lower case.
            now: Aware time from which it works; the current time when not given.
        """
        lines, names = self._describe_headers(headers)
        second = int(time.time() if now is None else now.timestamp())
        common = self._get_common(second, expires_in, names, credentials)
        query = common.query
        for name in sorted(parameters):
            query += f"&{name}={quote(parameters[name], safe='~')}"
        path = self._path + quote(key, safe="/~")
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        to_sign = f"{common.to_sign}{digest}"
        signature = _hmac(common.key, to_sign).hex()
        return f"{self._origin}{path}?{query}&X-Amz-Signature={signature}"

    def _describe_headers(self, headers: Mapping[str, str] | None) -> tuple[str, str]:
        """Return the lines of the headers to be signed, and their names."""
        if not headers:
            return self._host_line, "host"
        signed = {**headers, "host": self._host}
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        return lines, ";".join(sorted(signed))

    def _get_common(
        self, second: int, expires_in: int, names: str, credentials: Credentials
    ) -> "_Common":
        """Return what the URLs of one second share, made once."""
        access_key, secret_key = credentials.access_key, credentials.secret_key
        token = credentials.token
        subject = (second, expires_in, names, access_key, secret_key, token)
        kept = self._common
        if kept is not None and kept[0] == subject:
            return kept[1]
        timestamp = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{timestamp[:8]}/{self._scope}"
        signed = {
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{access_key}/{scope}",
            "X-Amz-Date": timestamp,
            "X-Amz-Expires": str(expires_in),
            "X-Amz-SignedHeaders": names,
        }
        if token:
            signed["X-Amz-Security-Token"] = token
        common = _Common(
            query="&".join(f"{name}={quote(signed[name], safe='~')}" for name in sorted(signed)),
            to_sign=f"{_ALGORITHM}\n{timestamp}\n{scope}\n",
            key=derive_signing_key(secret_key, scope),
        )
        self._common = (subject, common)
        return common


@lru_cache(maxsize=16)
def derive_signing_key(secret_key: str, scope: str) -> bytes:
    """Return the key that all signatures within a scope are made with. Kept: it takes four HMACs.

    Args:
        secret_key: Secret access key.
        scope: ``YYYYMMDD/region/service/aws4_request``.
    """
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, message: str) -> bytes:
    return hmac.digest(key, message.encode(), "sha256")


def _to_host(url: str) -> str:
    """Return the ``Host`` that clients send for a URL: without a port that is the default one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    is_default = parts.port in (None, {"http": 80, "https": 443}[parts.scheme])
    return host if is_default else f"{host}:{parts.port}"
