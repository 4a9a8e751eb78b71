"""URLs of stored files: presigned, plain, or of a CDN."""

from typing import Any
from urllib.parse import quote

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.dispositions import Disposition, content_disposition

__all__ = ["MAX_EXPIRES_IN", "cdn_url", "object_url"]

MAX_EXPIRES_IN = 7 * 24 * 3600
"""Longest life of a presigned URL in seconds.

Source: Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters": X-Amz-Expires.
"""


def cdn_url(base_url: str, key: str) -> str:
    """Return the URL of a key under a base URL.

    Args:
        base_url: URL with its scheme and without a ``/`` at its end.
        key: Key of the object.
    """
    return f"{base_url}/{quote(key, safe='/~')}"


async def object_url(
    bucket: Bucket,
    name: str,
    *,
    expires_in: int,
    filename: str | None = None,
    disposition: Disposition | None = None,
) -> str:
    """Return the URL of a file on the server; presigned when the bucket's client signs.

    Nothing is sent, but temporary credentials that are about to expire are fetched again.

    Args:
        bucket: The bucket, with the client of the endpoint that the URL is for.
        name: Which file.
        expires_in: Seconds that a signature works; at most 7 days.
        filename: Name under which a browser saves the file.
        disposition: Whether a browser shows the file or saves it.

    Raises:
        ValueError: When ``expires_in`` is more than 7 days.
    """
    if expires_in > MAX_EXPIRES_IN:
        raise ValueError(
            f"expires_in must be at most {MAX_EXPIRES_IN} seconds (7 days), not {expires_in}."
        )
    parameters: dict[str, Any] = bucket.locate(name)
    if filename is not None or disposition is not None:
        # A name is for saving, so a name alone means that.
        parameters["ResponseContentDisposition"] = content_disposition(
            disposition or "attachment", filename
        )
    with bucket.translate_errors(name):
        return await bucket.client.generate_presigned_url(
            "get_object", Params=parameters, ExpiresIn=expires_in
        )
