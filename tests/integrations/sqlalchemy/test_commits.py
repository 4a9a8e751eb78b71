"""COMMITs that fail: refused for certain, or without an answer, when nothing is deleted."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from fastapi_async_storages import StorageFile, save_upload
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.integrations.sqlalchemy import commits, track_files, transactions
from fastapi_async_storages.testing.faults import Pause
from tests.integrations.sqlalchemy.databases import (
    create_tables,
    make_sqlite_engine,
    open_postgresql,
    open_sqlite,
)
from tests.integrations.sqlalchemy.models import Attachment, Document, storage
from tests.integrations.sqlalchemy.postgres_proxy import CommitProxy, run_commit_proxy
from tests.integrations.sqlalchemy.state import read_contents, read_files, read_names

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]


@pytest.fixture
async def postgresql(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    async with open_postgresql(postgres_url) as engine:
        yield engine


async def add_documents(make_session: MakeSession, *contents: bytes) -> None:
    async with make_session.begin() as session:
        for key, content in enumerate(contents, 1):
            session.add(Document(id=key, file=StorageFile.pending(content)))


class TestRefused:
    """A COMMIT that the database refuses is a rollback."""

    async def change(self, session: AsyncSession) -> None:
        """Replace a file, and write a row without the parent that it must have at the COMMIT."""
        (await session.get_one(Document, 1)).file = StorageFile.pending(b"new")
        session.add(Document(id=9, folder_id=7, file=StorageFile.pending(b"other")))
        await session.flush()

    async def test_session_commit(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        await add_documents(make_session, b"old")
        async with make_session() as session:
            await self.change(session)
            with pytest.raises(IntegrityError):
                await session.commit()
            assert len(await read_files()) == 3
            await session.rollback()
            assert await read_contents(engine) == [b"old"]

    async def test_close_without_rollback(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        await add_documents(make_session, b"old")
        async with make_session() as session:
            await self.change(session)
            with pytest.raises(IntegrityError):
                await session.commit()

        assert await read_contents(engine) == [b"old"]

    async def test_begin_blocks(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        await add_documents(make_session, b"old")
        with pytest.raises(IntegrityError):
            async with make_session.begin() as session:
                await self.change(session)

        assert await read_contents(engine) == [b"old"]

    async def test_commit_of_the_transaction(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        await add_documents(make_session, b"old")
        async with make_session() as session:
            transaction = await session.begin()
            await self.change(session)
            with pytest.raises(IntegrityError):
                await transaction.commit()

        assert await read_contents(engine) == [b"old"]

    async def test_serialization_failure_and_retry(self, postgresql: AsyncEngine) -> None:
        serializable = postgresql.execution_options(isolation_level="SERIALIZABLE")
        make_session = track_files(async_sessionmaker(serializable))
        await add_documents(make_session, b"first", b"second")
        both_have_read = asyncio.Barrier(2)
        states: list[str] = []

        async def work(key: int) -> None:
            for attempt in range(3):
                try:
                    async with make_session.begin() as session:
                        # Each reads what the other one writes.
                        rows = (await session.scalars(select(Document))).all()
                        document = next(row for row in rows if row.id == key)
                        document.file = StorageFile.pending(b"new %d" % key)
                        await session.flush()
                        if attempt == 0:
                            await both_have_read.wait()
                    return
                except DBAPIError as error:
                    states.append(getattr(error.orig, "sqlstate", ""))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(work(1))
            tasks.create_task(work(2))

        assert states == ["40001"]
        assert await read_contents(postgresql) == [b"new 1", b"new 2"]

    async def test_a_busy_sqlite(self, tmp_path: Path) -> None:
        """It keeps the transaction open, and the pool the connection with it."""
        path = tmp_path / "busy.db"
        engine = make_sqlite_engine(path, connect_args={"timeout": 0}, pool_size=1)
        await create_tables(engine)
        make_session = track_files(async_sessionmaker(engine))
        await add_documents(make_session, b"old")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM documents").fetchall()

        async with make_session() as session:
            session.add(Document(file=StorageFile.pending(b"new")))
            with pytest.raises(OperationalError, match="locked"):
                await session.commit()
        reader.execute("ROLLBACK")
        reader.close()
        async with engine.begin() as connection:
            # The next user of the connection commits whatever is open on it.
            await connection.execute(text("UPDATE documents SET title = 'changed'"))

        assert await read_contents(engine) == [b"old"]
        await engine.dispose()


class TestUnknown:
    """Without an answer to the COMMIT, neither new nor old files are deleted."""

    @pytest.fixture
    async def proxy(self, postgres_url: str) -> AsyncIterator[CommitProxy]:
        async with run_commit_proxy(postgres_url) as proxy:
            yield proxy

    @pytest.fixture
    async def engine(self, proxy: CommitProxy) -> AsyncIterator[AsyncEngine]:
        async with open_postgresql(proxy.url) as engine:
            yield engine

    async def change(self, session: AsyncSession) -> None:
        (await session.get_one(Document, 1)).file = StorageFile.pending(b"new")
        await session.flush()

    async def check_nothing_is_deleted(self, engine: AsyncEngine, expected: bytes) -> None:
        files = await read_files()
        assert sorted(files.values()) == [b"new", b"old"]
        [name] = await read_names(engine)
        assert files[name] == expected

    @pytest.mark.parametrize("fault, content", [("lose", b"old"), ("lose answer", b"new")])
    async def test_the_connection_is_cut(
        self,
        proxy: CommitProxy,
        make_session: MakeSession,
        engine: AsyncEngine,
        caplog: pytest.LogCaptureFixture,
        fault: Any,
        content: bytes,
    ) -> None:
        await add_documents(make_session, b"old")
        async with make_session() as session:
            await self.change(session)
            proxy.fault = fault
            with pytest.raises(DBAPIError):
                await session.commit()
            await session.rollback()

        await self.check_nothing_is_deleted(engine, content)
        assert "1 files that it stored and 1 that it let go of are left to the sweep" in caplog.text

    async def test_the_task_is_cancelled(
        self, proxy: CommitProxy, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        await add_documents(make_session, b"old")

        async def work() -> None:
            async with make_session() as session:
                await self.change(session)
                proxy.fault = "hang"
                await session.commit()

        task = asyncio.create_task(work())
        await proxy.met.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        # Whether the database has read the COMMIT by now, or does so later, nobody knows here.
        assert sorted((await read_files()).values()) == [b"new", b"old"]

    async def test_the_time_is_over(
        self, proxy: CommitProxy, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        await add_documents(make_session, b"old")
        async with make_session() as session:
            await self.change(session)
            proxy.fault = "hang"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await session.commit()

        assert sorted((await read_files()).values()) == [b"new", b"old"]

    async def test_the_server_ends_the_connection(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        """Before the COMMIT: then there is none."""
        await add_documents(make_session, b"old")
        async with make_session() as session:
            await self.change(session)
            pid = await session.scalar(text("SELECT pg_backend_pid()"))
            async with engine.connect() as connection:
                await connection.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
            with pytest.raises(DBAPIError):
                await session.execute(text("SELECT 1"))

        assert await read_contents(engine) == [b"old"]


class TestFailedTransactions:
    async def test_a_commit_of_what_postgresql_has_given_up(self, postgresql: AsyncEngine) -> None:
        """After an error it takes a COMMIT as a rollback, and says nothing."""
        make_session = track_files(async_sessionmaker(postgresql))
        await add_documents(make_session, b"old")
        for content, is_new in ((b"new", True), (b"replaced", False)):
            async with make_session() as session:
                if is_new:
                    session.add(Document(id=9, file=StorageFile.pending(content)))
                else:
                    document = await session.get_one(Document, 1)
                    document.file = StorageFile.pending(content)
                await session.flush()
                with pytest.raises(DBAPIError, match="division by zero"):
                    await session.execute(text("SELECT 1/0"))
                with pytest.raises(DBAPIError, match="current transaction is aborted"):
                    await session.commit()

            assert await read_contents(postgresql) == [b"old"]

    async def test_a_commit_of_what_sqlite_has_rolled_back(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path) as engine:
            make_session = track_files(async_sessionmaker(engine))
            await add_documents(make_session, b"old")
            async with make_session() as session:
                (await session.get_one(Document, 1)).file = StorageFile.pending(b"new")
                await session.flush()
                with pytest.raises(IntegrityError):
                    await session.execute(
                        text("INSERT OR ROLLBACK INTO documents (id, title) VALUES (1, '')")
                    )
                await session.commit()

            assert await read_contents(engine) == [b"old"]


class TestRollbacksThatUndoNothing:
    """No row loses its file when the engine is set up in such a way."""

    async def test_autocommit(
        self, postgresql: AsyncEngine, caplog: pytest.LogCaptureFixture
    ) -> None:
        autocommit = postgresql.execution_options(isolation_level="AUTOCOMMIT")
        async with track_files(async_sessionmaker(autocommit))() as session:
            session.add(Document(file=StorageFile.pending(b"abc")))
            await session.flush()
            await session.rollback()

        assert await read_contents(postgresql) == [b"abc"]
        assert "1 files stay" in caplog.text

    async def test_savepoints_of_sqlite3_as_it_comes(self, tmp_path: Path) -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'legacy.db'}")
        await create_tables(engine)
        async with track_files(async_sessionmaker(engine))() as session:
            async with session.begin_nested():
                session.add(Document(file=StorageFile.pending(b"abc")))
            await session.rollback()

        assert await read_contents(engine) == [b"abc"]
        await engine.dispose()


class TestRaces:
    async def test_two_sessions_replace_one_file(self, postgresql: AsyncEngine) -> None:
        """No row loses its file; that of the first one may be left over, for the sweep."""
        make_session = track_files(async_sessionmaker(postgresql))
        await add_documents(make_session, b"old")
        have_read = asyncio.Barrier(2)

        async def replace(content: bytes) -> None:
            async with make_session.begin() as session:
                document = await session.get_one(Document, 1)
                await have_read.wait()
                document.file = StorageFile.pending(content)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(replace(b"one"))
            tasks.create_task(replace(b"two"))

        files = await read_files()
        [name] = await read_names(postgresql)
        assert sorted(files.values()) == [b"one", b"two"]
        assert files[name] in (b"one", b"two")

    async def test_one_replaces_what_the_other_deletes(self, postgresql: AsyncEngine) -> None:
        make_session = track_files(async_sessionmaker(postgresql))
        await add_documents(make_session, b"old")
        async with make_session() as one, make_session() as other:
            replaced, deleted = await one.get_one(Document, 1), await other.get_one(Document, 1)
            await other.delete(deleted)
            await other.commit()
            replaced.file = StorageFile.pending(b"new")
            with pytest.raises(SQLAlchemyError, match="1 row"):
                await one.commit()
            await one.rollback()

        assert await read_contents(postgresql) == []


class TestOuterTransactions:
    """A session that joins a transaction does not know how that ends."""

    async def test_it_is_rolled_back(self, engine: AsyncEngine) -> None:
        await add_documents(track_files(async_sessionmaker(engine)), b"old")
        async with engine.connect() as connection:
            transaction = await connection.begin()
            factory = async_sessionmaker(
                connection, join_transaction_mode="create_savepoint", expire_on_commit=False
            )
            async with track_files(factory)() as session:
                document = await session.get_one(Document, 1)
                document.file = StorageFile.pending(b"new")
                await session.commit()
                document.file = StorageFile.pending(b"newer")
                await session.flush()
                await session.rollback()
            await transaction.rollback()

        names = await read_names(engine)
        files = await read_files()
        assert [files[name] for name in names] == [b"old"]
        assert sorted(files.values()) == [b"new", b"old"]  # The first one is for the sweep.

    async def test_a_connection_without_a_transaction(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            make_session = track_files(async_sessionmaker(connection))
            await add_documents(make_session, b"old")
            async with make_session.begin() as session:
                (await session.get_one(Document, 1)).file = StorageFile.pending(b"new")
            async with make_session() as session:
                (await session.get_one(Document, 1)).file = StorageFile.pending(b"newer")
                await session.flush()

        assert await read_contents(engine) == [b"new"]


async def test_two_phases_are_refused(postgresql: AsyncEngine) -> None:
    for factory, options in (
        (async_sessionmaker(postgresql, twophase=True), {}),
        (async_sessionmaker(postgresql), {"twophase": True}),
    ):
        with pytest.raises(ConfigurationError, match="twophase"):
            track_files(factory)(**options)


async def test_a_listener_that_fails_after_the_commit(
    session: AsyncSession, engine: AsyncEngine
) -> None:
    session.add(Document(id=1, file=StorageFile.pending(b"old")))
    await session.commit()
    (await session.get_one(Document, 1)).file = StorageFile.pending(b"new")

    def fail(_: object) -> None:
        raise ZeroDivisionError

    event.listen(session.sync_session, "after_commit", fail)
    with pytest.raises(ZeroDivisionError):
        await session.commit()
    await session.close()

    assert await read_contents(engine) == [b"new"]


@contextmanager
def lookups_fail(engine: AsyncEngine, *, times: int) -> Iterator[None]:
    left = [None] * times

    def fail(conn: Any, cursor: Any, statement: str, *_: object) -> None:
        if "DISTINCT" in statement and left:
            left.pop()
            raise ZeroDivisionError

    event.listen(engine.sync_engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", fail)


async def test_a_lookup_that_fails_is_a_rollback(
    session: AsyncSession, engine: AsyncEngine
) -> None:
    """Nobody could say whether another row names the file, so nothing is committed."""
    session.add(Document(id=1, file=StorageFile.pending(b"old")))
    await session.commit()
    (await session.get_one(Document, 1)).file = StorageFile.pending(b"new")
    await session.flush()
    with lookups_fail(engine, times=1):
        with pytest.raises(ZeroDivisionError):
            await session.commit()
        await session.close()

    assert await read_contents(engine) == [b"old"]


@pytest.mark.parametrize("times, is_known", [(1, True), (2, False)])
async def test_a_lookup_that_fails_after_the_rollback(
    session: AsyncSession,
    engine: AsyncEngine,
    caplog: pytest.LogCaptureFixture,
    times: int,
    is_known: bool,
) -> None:
    """It is made again on another connection; and then nobody may delete anything."""
    session.add(Document(file=StorageFile.pending(b"new")))
    await session.flush()
    with lookups_fail(engine, times=times):
        await session.rollback()

    assert list((await read_files()).values()) == ([] if is_known else [b"new"])
    assert ("1 files stay" in caplog.text) is not is_known


@pytest.mark.parametrize("verb", ["rollback", "close"])
async def test_a_rollback_waits_for_no_other_connection(postgres_url: str, verb: str) -> None:
    """All are taken, and who waits for one gets this one."""
    async with open_postgresql(postgres_url, pool_size=1, max_overflow=0) as engine:
        session = track_files(async_sessionmaker(engine))()
        session.add(Document(file=StorageFile.pending(b"new")))
        await session.flush()
        is_ended = asyncio.Event()

        async def hold() -> None:
            async with engine.connect():
                await is_ended.wait()

        holder = asyncio.create_task(hold())
        async with asyncio.timeout(5):
            await getattr(session, verb)()
        is_ended.set()
        await holder
        await session.close()

        assert await read_contents(engine) == []


async def test_a_rollback_waits_for_no_lock_for_ever(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who wants to alter the table waits for the transaction, and then nobody may read the rows."""
    monkeypatch.setattr(commits, "LOOKUP_SECONDS", 0.1)
    monkeypatch.setattr(transactions, "LOOKUP_SECONDS", 0.1)
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with (
        open_postgresql(postgres_url) as engine,
        track_files(async_sessionmaker(engine))() as session,
        engine.connect() as other,
        engine.execution_options(isolation_level="AUTOCOMMIT").connect() as observer,
    ):
        session.add(Document(file=StorageFile.pending(b"new")))
        await session.flush()
        lock = text("LOCK TABLE documents IN ACCESS EXCLUSIVE MODE")
        locked = asyncio.create_task(other.execute(lock))
        async with asyncio.timeout(20):
            while not await observer.scalar(waiting):
                pass
            await session.rollback()
        await locked

        assert list((await read_files()).values()) == [b"new"]
        assert "After a rollback nobody could look for its rows: TimeoutError()" in caplog.text


@pytest.mark.parametrize("verb", ["commit", "rollback"])
async def test_a_task_that_is_cancelled_while_files_are_deleted(
    make_session: MakeSession, engine: AsyncEngine, verb: str
) -> None:
    """They are all deleted; the commit stands."""
    await add_documents(make_session, b"a", b"b", b"c")
    pause = Pause("delete_many")
    storage.plan.append(pause)

    async def work() -> None:
        async with make_session() as session:
            for document in (await session.scalars(select(Document))).all():
                document.file = StorageFile.pending(b"new")
            await session.flush()
            await getattr(session, verb)()

    task = asyncio.create_task(work())
    await pause.reached()
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    pause.resume()
    with pytest.raises(asyncio.CancelledError):
        await task

    expected = [b"new"] * 3 if verb == "commit" else [b"a", b"b", b"c"]
    assert await read_contents(engine) == expected


async def test_a_fresh_file_whose_commit_is_refused(
    make_session: MakeSession, engine: AsyncEngine
) -> None:
    file = await save_upload(b"abc", storage)
    with pytest.raises(IntegrityError):
        async with make_session.begin() as session:
            session.add(Document(folder_id=7, file=file))

    assert await read_contents(engine) == []


async def test_what_others_commit_meanwhile_is_seen(postgresql: AsyncEngine) -> None:
    make_session = track_files(async_sessionmaker(postgresql))
    await add_documents(make_session, b"old")
    async with make_session() as session:
        document = await session.get_one(Document, 1)
        async with make_session.begin() as other:
            other.add(Attachment(file=document.file))
        await session.delete(document)
        await session.commit()

    assert await read_contents(postgresql) == [b"old"]
