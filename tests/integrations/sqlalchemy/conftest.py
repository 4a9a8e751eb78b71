from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from fastapi_async_storages.integrations.sqlalchemy import track_files
from tests.integrations.sqlalchemy import models
from tests.integrations.sqlalchemy.databases import open_postgresql, open_sqlite


@pytest.fixture(autouse=True)
def _empty_storages() -> Iterator[None]:
    yield
    models.storage.plan.clear()
    models.archived.clear()
    for memory in (models.storage.inner, models.archive):
        memory._files.clear()  # type: ignore[attr-defined]


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """An empty database with the tables of the models."""
    if request.param == "sqlite":
        async with open_sqlite(tmp_path) as engine:
            yield engine
    else:
        async with open_postgresql(request.getfixturevalue("postgres_url")) as engine:
            yield engine


@pytest.fixture
def make_session(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return track_files(async_sessionmaker(engine))


@pytest.fixture
async def session(make_session: async_sessionmaker[AsyncSession]) -> AsyncIterator[AsyncSession]:
    async with make_session() as session:
        yield session
