"""Fixtures for pytest, there as soon as the package is installed.

pytest loads this module in every run, before plugins that measure coverage have started. So it
imports the package only when a test asks for a fixture.
"""

import secrets
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fastapi import FastAPI

    from fastapi_async_storages.backends.memory import MemoryStorage

__all__ = ["memory_storage", "storage_app"]


@pytest.fixture
def memory_storage() -> "MemoryStorage":
    """An empty storage in memory, which opens itself on first use.

    Its links lead to ``/files``, where ``storage_app`` serves it, and expire.
    """
    from fastapi_async_storages.backends.memory import MemoryStorage

    return MemoryStorage(base_url="/files", secret_key=secrets.token_urlsafe(32))


@pytest.fixture
def storage_app(memory_storage: "MemoryStorage") -> "FastAPI":
    """An app whose default storage is ``memory_storage``: include your routers, and call them.

    It serves the storage's links, and answers its errors as problems. It works with its lifespan
    and without it, as under httpx.
    """
    from fastapi import FastAPI

    from fastapi_async_storages.dependencies import get_storage
    from fastapi_async_storages.http.access import signed_urls
    from fastapi_async_storages.http.problems import add_problem_handlers
    from fastapi_async_storages.lifespan import storage_lifespan
    from fastapi_async_storages.routers.files import create_files_router

    async def get_memory_storage() -> "MemoryStorage":
        return memory_storage

    app = FastAPI(lifespan=storage_lifespan(memory_storage))
    app.dependency_overrides[get_storage] = get_memory_storage
    add_problem_handlers(app)
    app.include_router(create_files_router(access=signed_urls), prefix="/files")
    return app
