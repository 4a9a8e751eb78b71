"""Real databases, empty, with real transactions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import MetaData

from tests.integrations.sqlalchemy.models import Base

__all__ = ["make_sqlite_engine", "open_postgresql", "open_sqlite"]


def make_sqlite_engine(path: Path, **options: Any) -> AsyncEngine:
    """Make an engine whose transactions and SAVEPOINTs are those of SQLite.

    By itself Python's sqlite3 begins no transaction before a SAVEPOINT: releasing it commits.
    See "Enabling Non-Legacy SQLite Transactional Modes" in SQLAlchemy's page of the dialect.
    """
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", **options)

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


@asynccontextmanager
async def open_sqlite(directory: Path) -> AsyncIterator[AsyncEngine]:
    engine = make_sqlite_engine(directory / "test.db")
    try:
        await create_tables(engine)
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def open_postgresql(url: str, **options: Any) -> AsyncIterator[AsyncEngine]:
    """Open a schema of its own, which is dropped at the end."""
    schema = f"test_{uuid4().hex}"
    options["connect_args"] = {
        "server_settings": {"search_path": schema},
        # Without them asyncpg looks for files of passwords and keys, in the event loop, whenever it
        # connects.
        "password": "not asked for",
        "ssl": False,
    }
    admin, engine = create_async_engine(url), create_async_engine(url, **options)
    try:
        async with admin.begin() as connection:
            await connection.execute(text(f"CREATE SCHEMA {schema}"))
        await create_tables(engine)
        yield engine
    finally:
        await engine.dispose()
        async with admin.begin() as connection:
            await connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        await admin.dispose()


async def create_tables(engine: AsyncEngine, metadata: MetaData = Base.metadata) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
