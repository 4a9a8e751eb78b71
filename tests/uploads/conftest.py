from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from fastapi_async_storages import LocalStorage, MemoryStorage, S3Storage, Storage


@pytest.fixture(params=["memory", "local", "s3"])
async def storage(
    request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str
) -> AsyncIterator[Storage]:
    """An empty storage of each kind; S3 has parts of 5 MiB."""
    storage: Storage
    if request.param == "memory":
        storage = MemoryStorage()
    elif request.param == "local":
        storage = LocalStorage(tmp_path / "files")
    else:
        server = request.getfixturevalue("s3_server")
        storage = S3Storage(
            server.bucket,
            endpoint_url=server.endpoint_url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            prefix=f"uploads-{uuid4()}",
            part_size=5 * 1024 * 1024,
        )
    async with storage:
        yield storage
