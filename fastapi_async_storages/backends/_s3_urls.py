"""URLs of stored files: presigned, plain, or of a CDN."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from aiobotocore.session import AioSession
from anyio import to_thread

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_presigning import SAMPLE_KEY, Credentials, UrlSigner
from fastapi_async_storages.dispositions import Disposition, content_disposition

__all__ = ["MAX_EXPIRES_IN", "ObjectUrls", "join_url", "to_disposition_header"]

MAX_EXPIRES_IN = 7 * 24 * 3600
"""Longest life of a presigned URL in seconds.

Source: Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters": X-Amz-Expires.
"""


def join_url(base_url: str, key: str) -> str:
    """Return the URL of a key under a base URL.

    Args:
        base_url: URL that ends with ``/``.
        key: Key of the object.
    """
    return base_url + quote(key, safe="/~")


def to_disposition_header(disposition: Disposition | None, filename: str | None) -> str | None:
    """Return the ``Content-Disposition`` that a URL asks for, if it asks for one.

    Args:
        disposition: Whether a browser shows the file or saves it.
        filename: Name under which a browser saves the file.
    """
    if filename is None and disposition is None:
        return None
    # A name is for saving, so a name alone means that.
    return content_disposition(disposition or "attachment", filename)


class ObjectUrls:
    """Makes the URLs of a bucket's objects: presigned, or plain when the client does not sign.

    Args:
        bucket: The bucket, with the client of the endpoint that the URLs are for.
        session: Where the credentials are from.
    """

    def __init__(self, bucket: Bucket, session: AioSession) -> None:
        self._bucket = bucket
        self._session = session
        self._sample: str | None = None
        self._signer: UrlSigner | None = None

    async def get(
        self,
        name: str,
        *,
        expires_in: int,
        filename: str | None = None,
        disposition: Disposition | None = None,
    ) -> str:
        """Return the URL of a file.

        Nothing is sent, but temporary credentials that are about to expire are fetched again.

        Args:
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
        header = to_disposition_header(disposition, filename)
        place = self._bucket.locate(name)
        with self._bucket.translate_errors(name):
            sample = self._sample or await self._learn()
            if "?" not in sample:
                return join_url(sample.removesuffix(SAMPLE_KEY), place["Key"])
            if self._signer is None:
                return await self._ask_sdk(place, expires_in, header)
            return self._signer.sign(
                place["Key"],
                parameters={"response-content-disposition": header} if header else {},
                expires_in=expires_in,
                credentials=await self._get_credentials(),
            )

    async def get_parts(
        self, name: str, upload_id: str, sizes: Sequence[int], *, expires_in: int
    ) -> list[str]:
        """Return the URLs to which the parts of an upload are sent.

        The client must be one that signs.

        Args:
            name: Which file.
            upload_id: Which upload.
            sizes: Bytes of each part. A part of another size is refused, since the signatures
                cover ``Content-Length``.
            expires_in: Seconds that the signatures work.
        """
        place = self._bucket.locate(name)
        with self._bucket.translate_errors(name):
            if self._sample is None:
                await self._learn()
            if self._signer is None:
                upload = {**place, "UploadId": upload_id}
                return [
                    await self._ask_sdk_for_part(upload, number, size, expires_in)
                    for number, size in enumerate(sizes, 1)
                ]
            credentials = await self._get_credentials()
            sign = partial(
                self._signer.sign, place["Key"], expires_in=expires_in, credentials=credentials
            )
            # A thousand of them take 40 ms.
            return await to_thread.run_sync(partial(_sign_parts, sign, upload_id, sizes))

    async def _get_credentials(self) -> Credentials:
        # The SDK has them, else it could not have signed the sample.
        credentials: Any = await self._session.get_credentials()
        frozen: Credentials = await credentials.get_frozen_credentials()
        return frozen

    async def _learn(self) -> str:
        """Have the SDK make one URL, which shows how it resolves and signs the endpoint."""
        self._sample = await self._ask_sdk({"Bucket": self._bucket.name, "Key": SAMPLE_KEY}, 1)
        self._signer = UrlSigner.from_sample(self._sample)
        return self._sample

    async def _ask_sdk(
        self, place: dict[str, Any], expires_in: int, header: str | None = None
    ) -> str:
        response = {"ResponseContentDisposition": header} if header else {}
        return await self._bucket.client.generate_presigned_url(
            "get_object", Params={**place, **response}, ExpiresIn=expires_in
        )

    async def _ask_sdk_for_part(
        self, upload: dict[str, Any], number: int, size: int, expires_in: int
    ) -> str:
        return await self._bucket.client.generate_presigned_url(
            "upload_part",
            Params={**upload, "PartNumber": number, "ContentLength": size},
            ExpiresIn=expires_in,
        )


def _sign_parts(sign: Callable[..., str], upload_id: str, sizes: Sequence[int]) -> list[str]:
    return [
        sign(
            method="PUT",
            parameters={"partNumber": str(number), "uploadId": upload_id},
            headers={"content-length": str(size)},
        )
        for number, size in enumerate(sizes, 1)
    ]
