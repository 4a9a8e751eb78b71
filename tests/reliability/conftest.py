"""Places that a server process and the test both reach, and a look at what is left in them."""

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest

from fastapi_async_storages import LocalStorage, S3Storage, Storage
from fastapi_async_storages.backends._s3_parts import MIN_PART_SIZE
from tests.servers.s3 import S3Server, open_sdk_client

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

__all__ = ["Place", "S3Place"]


class Place(ABC):
    """Where the files of a test go.

    Attributes:
        environment: What ``tests.reliability.served_app`` needs to know.
    """

    environment: Mapping[str, str]

    @abstractmethod
    def make_storage(self) -> Storage:
        """Make a storage there."""

    @abstractmethod
    async def list_unfinished(self) -> list[str]:
        """List the uploads that were begun there and neither finished nor cleaned up."""


class LocalPlace(Place):
    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"STORAGE_URL": f"file://{quote(str(root))}"}

    def make_storage(self) -> LocalStorage:
        return LocalStorage(self.root)

    async def list_unfinished(self) -> list[str]:
        return [path.name for path in self.root.glob(".fastapi-async-storages/tmp/*")]


class S3Place(Place):
    def __init__(self, server: S3Server, client: "S3Client", prefix: str) -> None:
        self.server = server
        self.client = client
        self.prefix = prefix
        options = {"endpoint_url": server.endpoint_url, "part_size": MIN_PART_SIZE}
        self.environment = {
            "STORAGE_URL": f"s3://{server.bucket}/{prefix}?{urlencode(options)}",
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def make_storage(self, **options: Any) -> S3Storage:
        return S3Storage(
            self.server.bucket,
            **{
                "endpoint_url": self.server.endpoint_url,
                "aws_access_key_id": self.server.access_key,
                "aws_secret_access_key": self.server.secret_key,
                "prefix": self.prefix,
                "part_size": MIN_PART_SIZE,
                **options,
            },
        )

    async def list_unfinished(self) -> list[str]:
        listed = await self.client.list_multipart_uploads(Bucket=self.server.bucket)
        keys = [upload["Key"] for upload in listed.get("Uploads", [])]
        return [key for key in keys if key.startswith(self.prefix)]


@pytest.fixture(scope="module")
async def s3_client(s3_server: S3Server) -> "AsyncIterator[S3Client]":
    """The SDK itself, to see what is really in the bucket."""
    async with open_sdk_client(s3_server) as client:
        yield client


@pytest.fixture
def s3_place(s3_server: S3Server, s3_client: "S3Client") -> S3Place:
    return S3Place(s3_server, s3_client, uuid4().hex)


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place on disk, and one in the bucket."""
    if request.param == "local":
        return LocalPlace(tmp_path / "files")
    s3_place: S3Place = request.getfixturevalue("s3_place")
    return s3_place
