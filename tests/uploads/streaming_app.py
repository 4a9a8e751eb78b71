"""An app for a server process of its own, with the bucket that the environment names."""

import os
from typing import Annotated

from fastapi import FastAPI, UploadFile

from fastapi_async_storages import S3Storage, StorageFile
from fastapi_async_storages.lifespan import storage_lifespan
from fastapi_async_storages.streamed_forms import StreamedUpload
from tests.servers.s3 import S3Server

__all__ = ["MAX_CONCURRENCY", "PART_SIZE", "make_app", "make_environment"]

PART_SIZE = 5 * 1024 * 1024
MAX_CONCURRENCY = 2


def make_environment(server: S3Server, prefix: str) -> dict[str, str]:
    """Return what :func:`make_app` needs to know."""
    return {
        "TEST_APP_ENDPOINT": server.endpoint_url,
        "TEST_APP_ACCESS_KEY": server.access_key,
        "TEST_APP_SECRET_KEY": server.secret_key,
        "TEST_APP_BUCKET": server.bucket,
        "TEST_APP_PREFIX": prefix,
    }


def make_app() -> FastAPI:
    storage = S3Storage(
        os.environ["TEST_APP_BUCKET"],
        endpoint_url=os.environ["TEST_APP_ENDPOINT"],
        aws_access_key_id=os.environ["TEST_APP_ACCESS_KEY"],
        aws_secret_access_key=os.environ["TEST_APP_SECRET_KEY"],
        prefix=os.environ["TEST_APP_PREFIX"],
        part_size=PART_SIZE,
        max_concurrency=MAX_CONCURRENCY,
    )
    app = FastAPI(lifespan=storage_lifespan(storage))

    @app.post("/streamed")
    async def streamed(file: Annotated[StorageFile, StreamedUpload("file")]) -> int:
        return await file.get_size()

    @app.post("/spooled")
    async def spooled(file: UploadFile) -> int:
        return file.size or 0

    return app
