"""``kill -9`` at each step: no row is without its file, and the sweep finds what is left."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from fastapi_async_storages import Storage, StorageFile
from fastapi_async_storages.integrations.sqlalchemy import sweep, track_files, verify
from tests.integrations.sqlalchemy.crashing import STEPS, change, make_models, make_storage
from tests.integrations.sqlalchemy.databases import create_tables, open_postgresql, open_sqlite
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.anyio

BEFORE: dict[str, dict[int, Any]] = {
    "documents": {1: b"one", 2: b"old two", 3: b"three"},
    "albums": {1: [b"a", b"b"]},
}
AFTER: dict[str, dict[int, Any]] = {
    "documents": {1: b"one", 2: change("two"), 4: change("new")},
    "albums": {1: [b"b", change("c")]},
}

ORPHANS: dict[str, int | range] = {
    "before the uploads": 0,
    # Three uploads run side by side: when one is there, the others may be.
    "amid an upload": range(3),
    "after one upload": range(1, 4),
    "before the INSERT": 3,
    "after the INSERT": 3,
    "before the UPDATE": 3,
    "after the DELETE": 3,
    "before the COMMIT": 3,
    "after the COMMIT": 3,
    "amid the clean-up": 2,
    "after the clean-up": 0,
    "never": 0,
}
"""How many files are left that no row names: the new ones, and after the COMMIT the old ones."""

COMMITTED = [*STEPS][[*STEPS].index("after the COMMIT") :]


@dataclass
class World:
    """A database and a storage, as this process and the one that crashes see them."""

    storage: Storage
    engine: AsyncEngine
    description: dict[str, Any]

    def __post_init__(self) -> None:
        self.base, self.document_class, self.album_class = make_models(self.storage)
        self.make_session: async_sessionmaker[AsyncSession] = track_files(
            async_sessionmaker(self.engine)
        )

    async def fill(self) -> None:
        await create_tables(self.engine, self.base.metadata)
        async with self.make_session.begin() as session:
            for key, content in BEFORE["documents"].items():
                file = StorageFile.pending(content)
                session.add(self.document_class(id=key, file=file))
            for key, contents in BEFORE["albums"].items():
                photos = [StorageFile.pending(content) for content in contents]
                session.add(self.album_class(id=key, photos=photos))

    async def read(self) -> dict[str, Any]:
        async with self.make_session() as session:
            documents = (await session.scalars(select(self.document_class))).all()
            albums = (await session.scalars(select(self.album_class))).all()
        return {
            "documents": {row.id: await row.file.read() for row in documents},
            "albums": {row.id: [await file.read() for file in row.photos] for row in albums},
        }

    async def run_and_crash(self, step: str) -> int:
        """Change the rows in another process; return how that ended."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integrations.sqlalchemy.crashing", step),
            stdin=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        )
        async with asyncio.timeout(60):
            await process.communicate(json.dumps(self.description).encode())
        assert process.returncode is not None
        return process.returncode


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """SQLite with files on disk, and PostgreSQL with files in S3."""
    if request.param == "sqlite":
        where: dict[str, Any] = {"root": str(tmp_path / "files")}
        opened = open_sqlite(tmp_path)
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        where = {
            "bucket_name": server.bucket,
            "endpoint_url": server.endpoint_url,
            "aws_access_key_id": server.access_key,
            "aws_secret_access_key": server.secret_key,
            "prefix": uuid4().hex,
        }
        opened = open_postgresql(request.getfixturevalue("postgres_url"))
    async with opened as engine, make_storage(where) as storage:
        database: dict[str, Any] = {"url": str(engine.url)}
        if request.param == "postgresql":
            async with engine.connect() as connection:
                schema = await connection.scalar(text("show search_path"))
            database["connect_args"] = {"server_settings": {"search_path": schema}}
        world = World(storage, engine, {"storage": where, "database": database})
        await world.fill()
        yield world


@pytest.mark.parametrize("step", STEPS)
async def test_a_crash(world: World, step: str) -> None:
    ending = await world.run_and_crash(step)

    assert ending == (0 if step == "never" else -signal.SIGKILL)
    assert [defect async for defect in verify(world.make_session, world.storage, world.base)] == []
    rows = await world.read()
    assert rows == (AFTER if step in COMMITTED else BEFORE)

    young = await sweep(world.make_session, world.storage, world.base, dry_run=False)
    assert (young.orphans, young.young) == (0, young.files)
    report = await sweep(
        world.make_session, world.storage, world.base, older_than=timedelta(), dry_run=False
    )
    expected = ORPHANS[step]
    assert report.orphans in (expected if isinstance(expected, range) else [expected])
    assert report.deleted == report.orphans
    named = sum(map(len, rows["albums"].values())) + len(rows["documents"])
    assert len([info async for info in world.storage.list()]) == named
    assert await world.read() == rows


def test_every_step_is_expected() -> None:
    assert [*STEPS] == [*ORPHANS]
