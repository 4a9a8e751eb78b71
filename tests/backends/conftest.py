"""Fixtures for what only one backend does."""

import os
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

import pytest

from fastapi_async_storages import S3Storage
from tests.servers.s3 import S3Server, open_sdk_client
from tests.servers.s3_proxy import S3Proxy, run_s3_proxy

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

MakeS3Storage: TypeAlias = Callable[..., S3Storage]

ENGINES = ("aiobotocore", "obstore")


@pytest.fixture(autouse=True)
def no_aws_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep out what the machine is set up with: the SDK reads it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def prefix() -> str:
    """A folder of the bucket for one test."""
    return uuid4().hex


@pytest.fixture
def engine() -> str:
    """The transfer engine; modules about what both do have a fixture with :data:`ENGINES`."""
    return ENGINES[0]


@pytest.fixture
def make_s3_storage(s3_server: S3Server, prefix: str, engine: str) -> MakeS3Storage:
    """Make storages in the folder of the test; options replace the defaults."""

    def make(bucket_name: str = s3_server.bucket, **options: Any) -> S3Storage:
        return S3Storage(
            bucket_name,
            **{
                "endpoint_url": s3_server.endpoint_url,
                "aws_access_key_id": s3_server.access_key,
                "aws_secret_access_key": s3_server.secret_key,
                "prefix": prefix,
                "engine": engine,
                **options,
            },
        )

    return make


@pytest.fixture
async def s3_storage(make_s3_storage: MakeS3Storage) -> AsyncIterator[S3Storage]:
    async with make_s3_storage() as storage:
        yield storage


@pytest.fixture
async def s3_proxy(s3_server: S3Server) -> AsyncIterator[S3Proxy]:
    async with run_s3_proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
async def s3_client(s3_server: S3Server) -> "AsyncIterator[S3Client]":
    """The SDK itself, to see what is really in the bucket."""
    async with open_sdk_client(s3_server) as client:
        yield client
