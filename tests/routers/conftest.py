"""A storage of each backend, and an app that serves it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from fastapi_async_storages import Storage, create_files_router, public
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client
from tests.storages import BACKENDS, make_storage


@pytest.fixture(params=BACKENDS)
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    """An empty storage of each backend; the app under test opens it."""
    with make_storage(request.param, lambda: request.getfixturevalue("s3_server")) as storage:
        yield storage


@pytest.fixture
async def public_client(storage: Storage) -> AsyncIterator[AsyncClient]:
    """A client of an app that streams every file at ``/files``."""
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=public, mode="proxy"), prefix="/files")
    async with open_client(app) as client:
        yield client
