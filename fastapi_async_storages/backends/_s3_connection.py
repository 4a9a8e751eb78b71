"""What one event loop has of a storage: its clients, and the engine that works with them."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Literal, Self, TypeAlias

from aiobotocore.session import AioSession

from fastapi_async_storages.backends._s3_aiobotocore import AiobotocoreEngine
from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_config import S3Config, open_client, open_session
from fastapi_async_storages.backends._s3_errors import translate_errors
from fastapi_async_storages.backends._s3_uploads import S3PresignedUploads
from fastapi_async_storages.backends._s3_urls import ObjectUrls

__all__ = ["Connection", "Engine"]

Engine: TypeAlias = Literal["aiobotocore", "obstore"]
"""What moves the bytes."""


class Connection:
    """The clients of one storage in one event loop; ``async with`` opens and closes them.

    A class and no async generator, as :class:`LoopClients` asks.

    Attributes:
        engine: Moves the bytes.
        urls: Makes the URLs of files.
        uploads: Those that clients send to the bucket themselves.

    Args:
        config: Where the bucket is.
        bucket_name: Name of the bucket.
        prefix: What stands in front of all names.
        storage: How errors name the storage.
        url_endpoint: Endpoint for URLs, when it is another one.
        signed_urls: Whether URLs are signed.
        acl: Canned ACL of what clients have uploaded, once it is published.
        part_size: Bytes of a part that a client uploads.
        max_concurrency: How many requests one call makes at a time.
        engine: What moves the bytes.
    """

    engine: AiobotocoreEngine
    urls: ObjectUrls
    uploads: S3PresignedUploads

    def __init__(
        self,
        config: S3Config,
        *,
        bucket_name: str,
        prefix: str,
        storage: str,
        url_endpoint: str | None,
        signed_urls: bool,
        acl: str | None,
        part_size: int,
        max_concurrency: int,
        engine: Engine,
    ) -> None:
        self._config = config
        self._bucket_name = bucket_name
        self._prefix = prefix
        self._storage = storage
        self._url_endpoint = url_endpoint
        self._signed_urls = signed_urls
        self._acl = acl
        self._part_size = part_size
        self._max_concurrency = max_concurrency
        self._engine_name = engine
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the clients. Connections are made when requests need them."""
        async with AsyncExitStack() as opened:
            with translate_errors(self._storage):
                session = await open_session(self._config)
                client = signing_client = await open_client(self._config, session, opened)
                if self._url_endpoint is not None:
                    signing_client = await open_client(
                        self._config, session, opened, endpoint_url=self._url_endpoint
                    )
                url_client = signing_client
                if not self._signed_urls:
                    url_client = await open_client(
                        self._config, session, opened, endpoint_url=self._url_endpoint, signed=False
                    )
            bucket, signing_bucket, url_bucket = (
                Bucket(client, self._bucket_name, prefix=self._prefix, storage=self._storage)
                for client in (client, signing_client, url_client)
            )
            self.engine = await self._open_engine(bucket, session)
            self.urls = ObjectUrls(url_bucket, session)
            self.uploads = S3PresignedUploads(
                bucket,
                signing_bucket,
                ObjectUrls(signing_bucket, session),
                acl=self._acl,
                part_size=self._part_size,
                max_concurrency=self._max_concurrency,
            )
            self._opened = opened.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the clients with their connections."""
        await self._opened.aclose()

    async def _open_engine(self, bucket: Bucket, session: AioSession) -> AiobotocoreEngine:
        if self._engine_name == "aiobotocore":
            return AiobotocoreEngine(bucket, max_concurrency=self._max_concurrency)
        # Loaded here because it needs an extra of its own.
        from fastapi_async_storages.backends._s3_obstore import open_engine  # noqa: PLC0415

        return await open_engine(bucket, session, max_concurrency=self._max_concurrency)
