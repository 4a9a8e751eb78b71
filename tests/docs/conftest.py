"""What the pages talk to: a bucket on the S3 server of the session, by the AWS variables."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from aiobotocore.session import get_session

from tests.servers.s3 import S3Server

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@pytest.fixture(scope="session")
def pages_bucket(s3_server: S3Server) -> Iterator[str]:
    """A bucket for the pages alone, since they choose names without a prefix."""
    name = f"pages-{uuid4().hex[:12]}"
    asyncio.run(create_bucket(s3_server, name))
    yield name
    asyncio.run(delete_bucket(s3_server, name))


async def create_bucket(server: S3Server, name: str) -> None:
    async with open_client(server) as client:
        await client.create_bucket(Bucket=name)


async def delete_bucket(server: S3Server, name: str) -> None:
    async with open_client(server) as client:
        async for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for item in page.get("Contents", []):
                await client.delete_object(Bucket=name, Key=item["Key"])
        await client.delete_bucket(Bucket=name)


@asynccontextmanager
async def open_client(server: S3Server) -> AsyncIterator["S3Client"]:
    async with get_session().create_client(
        "s3",
        endpoint_url=server.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    ) as client:
        yield client
