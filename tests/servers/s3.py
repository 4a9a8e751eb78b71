"""The S3 server of the suite: SeaweedFS, or the one that the environment names."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from fastapi_async_storages.testing.seaweedfs import SeaweedFS

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@dataclass(frozen=True)
class S3Server:
    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str


@contextmanager
def run_s3_server() -> Iterator[S3Server]:
    """Start SeaweedFS with one bucket, or use the server at TEST_S3_ENDPOINT.

    That server's keys and an existing bucket come from TEST_S3_ACCESS_KEY, TEST_S3_SECRET_KEY and
    TEST_S3_BUCKET.
    """
    if "TEST_S3_ENDPOINT" in os.environ:
        yield S3Server(
            os.environ["TEST_S3_ENDPOINT"],
            os.environ["TEST_S3_ACCESS_KEY"],
            os.environ["TEST_S3_SECRET_KEY"],
            os.environ["TEST_S3_BUCKET"],
        )
        return
    with (
        TemporaryDirectory(prefix="seaweedfs-") as directory,
        SeaweedFS(directory, buckets=["tests"]) as server,
    ):
        yield S3Server(server.endpoint_url, server.access_key, server.secret_key, "tests")


@asynccontextmanager
async def open_sdk_client(
    server: S3Server | SeaweedFS, *, secret_key: str | None = None
) -> AsyncIterator["S3Client"]:
    """Open the SDK itself, to see what is really in a bucket.

    Args:
        server: Which server.
        secret_key: Another secret than the server's.
    """
    async with get_session().create_client(
        "s3",
        endpoint_url=server.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=server.access_key,
        aws_secret_access_key=secret_key or server.secret_key,
        config=AioConfig(
            s3={"addressing_style": "path"}, request_checksum_calculation="when_required"
        ),
    ) as client:
        yield client
