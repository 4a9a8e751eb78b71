"""What the pages work in: an empty folder, and a bucket that the AWS variables lead to."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.servers.s3 import S3Server, open_sdk_client


@pytest.fixture
def environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_server: S3Server
) -> Iterator[None]:
    """An empty working directory, and credentials where the pages say that they come from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("ARCHIVE_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("ARCHIVE_SECRET", s3_server.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint_url)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("SECRET_KEY", "the key of the pages, 32 bytes or more")
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(scope="session")
def pages_bucket(s3_server: S3Server) -> Iterator[str]:
    """A bucket for the pages alone, since they choose names without a prefix."""
    name = f"pages-{uuid4().hex[:12]}"
    asyncio.run(create_bucket(s3_server, name))
    yield name
    asyncio.run(delete_bucket(s3_server, name))


async def create_bucket(server: S3Server, name: str) -> None:
    async with open_sdk_client(server) as client:
        await client.create_bucket(Bucket=name)


async def delete_bucket(server: S3Server, name: str) -> None:
    async with open_sdk_client(server) as client:
        async for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for item in page.get("Contents", []):
                await client.delete_object(Bucket=name, Key=item["Key"])
        await client.delete_bucket(Bucket=name)
