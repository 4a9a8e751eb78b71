"""The CORS rule of a bucket that lets pages of some origins upload to it."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.exceptions import ConfigurationError

__all__ = ["allow_browser_uploads", "check_origins"]

RULE_ID = "fastapi-async-storages-uploads"
"""By which our rule is found again among others."""

MAX_AGE = 3600
"""Seconds for which a browser need not ask again.

Source: Fetch Standard, "CORS-preflight cache"; Chromium keeps an answer for two hours at most.
"""


def check_origins(origins: Iterable[str]) -> list[str]:
    """Return origins as browsers send them, or refuse them.

    Args:
        origins: Such as ``"https://www.example.com"``; ``"*"`` is all of them.

    Raises:
        ConfigurationError: When one could never match, such as one with a path; or when there is
            none.
    """
    checked = [origins] if isinstance(origins, str) else list(origins)
    for origin in checked:
        parts = urlsplit(origin)
        # Source: RFC 6454 section 6.2, the serialization of an origin.
        if origin != "*" and origin.lower() != f"{parts.scheme}://{parts.netloc}":
            raise ConfigurationError(
                f"{origin!r} is no origin: write its scheme, host and port only, such as"
                " 'https://www.example.com' or 'http://localhost:8000', in lower case."
            )
    if not checked:
        raise ConfigurationError("Name at least one origin, such as 'https://www.example.com'.")
    return checked


async def allow_browser_uploads(bucket: Bucket, origins: Iterable[str]) -> None:
    """Put our rule into the CORS configuration of a bucket; the other rules stay.

    Args:
        bucket: Which bucket.
        origins: Whose pages may upload.
    """
    rule = {
        "ID": RULE_ID,
        "AllowedOrigins": check_origins(origins),
        "AllowedMethods": ["POST", "PUT"],
        "AllowedHeaders": ["*"],
        "MaxAgeSeconds": MAX_AGE,
    }
    with bucket.translate_errors():
        others = [one for one in await _list_rules(bucket) if one.get("ID") != RULE_ID]
        rules: list[Any] = [*others, rule]
        await bucket.client.put_bucket_cors(
            Bucket=bucket.name, CORSConfiguration={"CORSRules": rules}
        )


async def _list_rules(bucket: Bucket) -> list[Any]:
    try:
        answer = await bucket.client.get_bucket_cors(Bucket=bucket.name)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchCORSConfiguration":
            return []
        raise
    return list(answer.get("CORSRules", ()))
