"""The database: engine, sessions, and the session dependency."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from example_app.models import Base
from example_app.settings import settings
from fastapi_async_storages.integrations.sqlalchemy import track_files

engine = create_async_engine(settings.database_url)
make_session = track_files(async_sessionmaker(engine, expire_on_commit=False))


@asynccontextmanager
async def open_database() -> AsyncIterator[None]:
    """Create the tables, and close the connections at the end. A real app migrates with Alembic."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    try:
        yield
    finally:
        await engine.dispose()


async def get_session() -> AsyncIterator[AsyncSession]:
    """Hand out a session for one request; what it did not commit is rolled back, files too."""
    async with make_session() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]
