"""What is in the database and in the storage, read past sessions and faults."""

import asyncio
from collections.abc import Callable

from sqlalchemy import Unicode, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncEngine

from fastapi_async_storages import Storage
from fastapi_async_storages.integrations.sqlalchemy import FileType
from tests.integrations.sqlalchemy.models import Base, storage

__all__ = ["read_contents", "read_files", "read_names", "until"]


async def read_names(engine: AsyncEngine) -> list[str]:
    """Read the names that committed rows hold, with those that several rows hold."""
    names: list[str] = []
    async with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                if isinstance(column.type, FileType):
                    query = select(type_coerce(column, Unicode)).where(column.is_not(None))
                    names += (await connection.scalars(query)).all()
    return names


async def read_files(where: Storage = storage.inner) -> dict[str, bytes]:
    """Read all that is stored."""
    files: dict[str, bytes] = {}
    async for info in where.list():
        async with where.open(info.name) as reader:
            files[info.name] = await reader.read()
    return files


async def read_contents(engine: AsyncEngine) -> list[bytes]:
    """Read the contents of all files that rows name, and check that there are no others.

    Returns:
        The contents, sorted; once for each file.
    """
    files = await read_files()
    names = set(await read_names(engine))
    assert names - files.keys() == set(), "rows have lost their files"
    assert files.keys() - names == set(), "files have no row"
    return sorted(files.values())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that nobody announces."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)
