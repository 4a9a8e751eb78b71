"""Migrations without a manual step: ``render_item`` in env.py, and nothing of ours in them."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.integrations.alembic_project import Project

MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_async_storages import MemoryStorage, StorageFile, StorageImage
from fastapi_async_storages.integrations.sqlalchemy import (
    AttachmentListType,
    AttachmentType,
    FileType,
    ImageType,
)

storage = MemoryStorage()


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[StorageFile] = mapped_column(FileType(storage, length=200))
    image: Mapped[StorageImage | None] = mapped_column(ImageType(storage))
    varied: Mapped[StorageFile | None] = mapped_column(
        FileType(storage, length=50).with_variant(ImageType(storage, length=60), "postgresql")
    )
    scan: Mapped[StorageImage | None] = mapped_column(AttachmentType(storage, image=True))
    photos: Mapped[list[StorageFile]] = mapped_column(AttachmentListType(storage))
"""

WITHOUT_THE_PACKAGE = """
import sys

sys.modules["fastapi_async_storages"] = None

from alembic.config import main

main(["upgrade", "head"])
"""

CONFIGURE = "context.configure(connection=connection, target_metadata=target_metadata"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'app.db'}"
        return
    server_url = request.getfixturevalue("postgres_url")
    name = f"migrations_{uuid4().hex}"
    asyncio.run(execute(server_url, f"CREATE DATABASE {name}"))
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    asyncio.run(execute(server_url, f"DROP DATABASE {name}"))


@asynccontextmanager
async def open_engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        yield engine
    finally:
        await engine.dispose()


async def execute(url: str, statement: str) -> None:
    async with open_engine(url) as engine, engine.connect() as connection:
        await connection.execute(text(statement))


async def read_columns(url: str) -> dict[str, str]:
    def read(connection: Connection) -> dict[str, str]:
        if not inspect(connection).has_table("documents"):
            return {}
        columns = inspect(connection).get_columns("documents")
        return {column["name"]: str(column["type"]) for column in columns}

    async with open_engine(url) as engine, engine.connect() as connection:
        return await connection.run_sync(read)


IMPORTS = """
from app.models import Base
from fastapi_async_storages.integrations.alembic import render_item
"""


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Project:
    project = Project(tmp_path, {"app/__init__.py": "", "app/models.py": MODELS})
    project.alembic("init", "-t", "async", "migrations")
    project.edit("alembic.ini", "driver://user:pass@localhost/dbname", database_url)
    env = "migrations/env.py"
    project.edit(env, "target_metadata = None", "target_metadata = Base.metadata")
    project.edit(env, "from alembic import context\n", f"from alembic import context\n{IMPORTS}")
    project.edit(env, CONFIGURE, f"{CONFIGURE}, render_item=render_item")
    return project


def test_migrations(project: Project, database_url: str) -> None:
    project.alembic("revision", "--autogenerate", "-m", "first")
    migration = project.migration("first")
    for column in (
        "'file', sa.Unicode(length=200), nullable=False",
        "'image', sa.Unicode(), nullable=True",
        "'varied', sa.Unicode(length=50).with_variant(sa.Unicode(length=60), 'postgresql')",
        "'scan', sa.JSON().with_variant(postgresql.JSONB(), 'postgresql'), nullable=True",
        "'photos', sa.JSON().with_variant(postgresql.JSONB(), 'postgresql'), nullable=False",
    ):
        assert f"sa.Column({column}" in migration
    assert not re.search(r"storages|app\.", migration)

    project.alembic("upgrade", "head")
    columns = asyncio.run(read_columns(database_url))
    is_sqlite = database_url.startswith("sqlite")
    assert columns["file"] == "VARCHAR(200)"
    assert columns["image"] == "VARCHAR"
    assert columns["scan"] == columns["photos"] == ("JSON" if is_sqlite else "JSONB")
    assert columns["varied"] == ("VARCHAR(50)" if is_sqlite else "VARCHAR(60)")

    project.alembic("revision", "--autogenerate", "-m", "second")
    assert "op." not in project.migration("second").partition("def upgrade")[2]

    project.alembic("downgrade", "base")
    assert asyncio.run(read_columns(database_url)) == {}

    # An env.py without models, as on a server that only migrates.
    project.edit("migrations/env.py", IMPORTS, "")
    project.edit("migrations/env.py", "Base.metadata", "None")
    project.edit("migrations/env.py", ", render_item=render_item", "")
    project.run("-c", WITHOUT_THE_PACKAGE)
    assert asyncio.run(read_columns(database_url)) == columns
