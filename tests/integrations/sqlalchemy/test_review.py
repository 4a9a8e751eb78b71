"""What only an adversary does to a session, and what every app does to one sooner or later."""

import copy
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias

import pytest
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, make_transient, mapped_column

from fastapi_async_storages import MemoryStorage, StorageFile
from fastapi_async_storages.exceptions import NotFoundError
from fastapi_async_storages.integrations.sqlalchemy import FileType, sweep, track_files
from tests.integrations.sqlalchemy.databases import open_postgresql
from tests.integrations.sqlalchemy.models import Document
from tests.integrations.sqlalchemy.state import read_contents

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]
LoadAnew: TypeAlias = Callable[[AsyncSession, Document], Awaitable[object]]


async def refresh(session: AsyncSession, document: Document) -> None:
    await session.refresh(document)


async def populate(session: AsyncSession, document: Document) -> None:
    await session.execute(select(Document).execution_options(populate_existing=True))


class TestTransactionsOfTheApp:
    """A session that joins one and is closed does not roll it back."""

    async def test_it_goes_on_and_is_committed(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection, connection.begin():
            await flush_and_close(connection)

        assert await read_contents(engine) == [b"x"]

    async def test_the_session_rolls_it_back(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection, connection.begin():
            async with track_files(async_sessionmaker(connection))() as session:
                session.add(Document(file=StorageFile.pending(b"x")))
                await session.flush()
                await session.rollback()
            assert not connection.in_transaction()

        assert await read_contents(engine) == []

    async def test_nobody_can_look_into_it(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection, connection.begin():
            session = track_files(async_sessionmaker(connection))()
            session.add(Document(file=StorageFile.pending(b"x")))
            await session.flush()
            savepoint = await connection.begin_nested()
            with pytest.raises(DBAPIError):
                await connection.execute(text("SELECT * FROM nowhere"))
            await session.close()  # PostgreSQL answers no query before the SAVEPOINT has ended.
            await savepoint.rollback()

        assert await read_contents(engine) == [b"x"]

    async def test_a_connection_in_autocommit_mode(self, postgres_url: str) -> None:
        async with open_postgresql(postgres_url) as engine:
            at_once = engine.execution_options(isolation_level="AUTOCOMMIT")
            async with at_once.connect() as connection:
                await flush_and_close(connection)
                assert not connection.in_transaction()

            assert await read_contents(engine) == [b"x"]


async def flush_and_close(connection: AsyncConnection) -> None:
    async with track_files(async_sessionmaker(connection))() as session:
        session.add(Document(file=StorageFile.pending(b"x")))
        await session.flush()


class TestHandlesOfDeletedFiles:
    """No row gets one: it would be committed without its file."""

    @pytest.mark.parametrize("load_anew", [refresh, populate])
    async def test_of_a_refreshed_object_that_is_added_after_its_rollback(
        self, session: AsyncSession, engine: AsyncEngine, load_anew: LoadAnew
    ) -> None:
        document = Document(file=StorageFile.pending(b"x"))
        session.add(document)
        await session.flush()
        await load_anew(session, document)
        await session.rollback()
        session.add(document)
        with pytest.raises(NotFoundError, match=r"Document\.file"):
            await session.commit()

        assert await read_contents(engine) == []

    async def test_of_a_refreshed_object_that_is_added_after_its_savepoint(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        document = Document(file=StorageFile.pending(b"x"))
        async with session.begin_nested() as savepoint:
            session.add(document)
            await session.flush()
            await session.refresh(document)
            await savepoint.rollback()
        session.add(document)
        await session.commit()

        assert await read_contents(engine) == [b"x"]

    async def test_of_a_row_that_is_inserted_after_its_delete(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        async with make_session.begin() as session:
            session.add(Document(id=1, file=StorageFile.pending(b"x")))
        async with make_session() as session:
            document = await session.get_one(Document, 1)
            await session.delete(document)
            await session.commit()
            make_transient(document)
            session.add(document)
            with pytest.raises(NotFoundError, match=r"Document\.file"):
                await session.commit()

        assert await read_contents(engine) == []

    async def test_of_a_replaced_file(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        async with make_session.begin() as session:
            session.add(Document(id=1, file=StorageFile.pending(b"old")))
        async with make_session.begin() as session:
            document = await session.get_one(Document, 1)
            old, document.file = document.file, StorageFile.pending(b"new")
        async with make_session() as session:
            (await session.get_one(Document, 1)).file = old
            with pytest.raises(NotFoundError, match=r"Document\.file"):
                await session.commit()
        async with make_session() as session:
            with pytest.raises(NotFoundError, match="documents"):
                await session.execute(insert(Document).values(file=old))

        assert await read_contents(engine) == [b"new"]

    async def test_not_of_one_that_another_row_holds(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        async with make_session.begin() as session:
            document = Document(id=1, file=StorageFile.pending(b"x"))
            session.add(document)
            await session.flush()
            session.add(Document(id=2, file=document.file))
        async with make_session.begin() as session:
            document = await session.get_one(Document, 1)
            file = document.file
            await session.delete(document)
        async with make_session.begin() as session:
            session.add(Document(id=3, file=file))

        assert await read_contents(engine) == [b"x"]


async def test_a_bulk_delete_in_autocommit_mode(postgres_url: str) -> None:
    async with open_postgresql(postgres_url) as engine:
        async with track_files(async_sessionmaker(engine)).begin() as session:
            session.add(Document(file=StorageFile.pending(b"x")))
        at_once = engine.execution_options(isolation_level="AUTOCOMMIT")
        async with track_files(async_sessionmaker(at_once)).begin() as session:
            await session.execute(delete(Document))

        assert await read_contents(engine) == []


async def test_no_transaction_is_begun_unasked(engine: AsyncEngine) -> None:
    async with track_files(async_sessionmaker(engine, autobegin=False))() as session:
        with pytest.raises(InvalidRequestError, match="Autobegin is disabled"):
            await session.execute(delete(Document))
        assert not session.in_transaction()


def test_content_that_waits_can_be_copied() -> None:
    document = Document(file=StorageFile.pending(b"x", filename="a.txt"))
    for content in (copy.copy(document.file), copy.deepcopy(document.file)):
        assert repr(content) == "PendingFile(bytes, filename='a.txt')"


class TestDefaults:
    """The file that a column's default names belongs to every row that is still to come."""

    @pytest.mark.parametrize("where", ["default", "server_default"])
    async def test_the_last_row_with_it_lets_go(self, where: str, engine: AsyncEngine) -> None:
        storage = MemoryStorage()

        class Base(DeclarativeBase):
            pass

        class Profile(Base):
            __tablename__ = f"profiles_{where}"
            id: Mapped[int] = mapped_column(primary_key=True)
            picture: Mapped[StorageFile] = (
                mapped_column(FileType(storage), default="default.png")
                if where == "default"
                else mapped_column(FileType(storage), server_default="default.png")
            )

        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        make_session = track_files(async_sessionmaker(engine))
        await storage.upload(b"default", "default.png")
        async with make_session.begin() as session:
            session.add(profile := Profile())
            await session.flush()
            await session.refresh(profile)
            assert profile.picture.name == "default.png"
        async with make_session.begin() as session:
            profile = (await session.scalars(select(Profile))).one()
            profile.picture = StorageFile.pending(b"own")

        async with make_session.begin() as session:
            session.add(profile := Profile())
            await session.flush()
            await session.refresh(profile)
            assert await profile.picture.read() == b"default"
        await sweep(make_session, storage, Base, older_than=timedelta(0), dry_run=False)
        assert await storage.exists("default.png")
