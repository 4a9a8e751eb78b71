"""What happens to files that no row names any more, and when that fails."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from blockbuster import blockbuster_ctx
from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_async_storages import LocalStorage, Storage, StorageFile
from fastapi_async_storages.exceptions import StorageError
from fastapi_async_storages.integrations.sqlalchemy import FileType, track_files
from fastapi_async_storages.integrations.sqlalchemy import cleanup as clean_ups
from fastapi_async_storages.integrations.sqlalchemy.column_types import Cleanup
from fastapi_async_storages.testing.faults import Fail, Pause
from tests.blocking import CountingStorage
from tests.integrations.sqlalchemy.databases import create_tables, make_sqlite_engine
from tests.integrations.sqlalchemy.models import (
    Attachment,
    Document,
    archive,
    archived,
    storage,
)
from tests.integrations.sqlalchemy.state import read_contents, read_files
from tests.servers.s3 import S3Server
from tests.storages import make_storage

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]


async def test_keep(session: AsyncSession) -> None:
    attachment = Attachment(kept=StorageFile.pending(b"first"))
    session.add(attachment)
    await session.commit()
    attachment.kept = StorageFile.pending(b"second")
    await session.commit()
    await session.delete(attachment)
    await session.commit()
    session.add(Attachment(id=9, kept=StorageFile.pending(b"third")))
    await session.flush()
    await session.execute(delete(Attachment))
    await session.commit()
    assert sorted((await read_files()).values()) == [b"first", b"second", b"third"]

    # It is about files that were in rows: what was rolled back never was.
    session.add(Attachment(kept=StorageFile.pending(b"fourth")))
    await session.flush()
    await session.rollback()
    assert len(await read_files()) == 3


async def test_a_clean_up_of_the_app_s_own(session: AsyncSession, engine: AsyncEngine) -> None:
    attachment = Attachment(moved=StorageFile.pending(b"old"))
    session.add(attachment)
    await session.commit()
    attachment.moved = StorageFile.pending(b"new")
    await session.flush()
    await session.rollback()
    assert archived == []

    await session.refresh(attachment)
    attachment.moved = StorageFile.pending(b"new")
    await session.commit()
    assert await read_contents(engine) == [b"new"]
    assert list((await read_files(archive)).values()) == [b"old"]
    assert len(archived) == 1


async def test_a_clean_up_that_fails(
    session: AsyncSession, engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    attachments = [Attachment(moved=StorageFile.pending(b"%d" % i)) for i in range(3)]
    session.add_all(attachments)
    await session.commit()
    storage.plan.append(Fail("delete", times=1))
    for attachment in attachments:
        await session.delete(attachment)
    await session.commit()

    assert (await session.scalars(select(Attachment))).all() == []
    assert len(await read_files()) == 1
    assert caplog.text.count("left to the sweep: its clean-up failed") == 1


@pytest.mark.parametrize("verb", ["commit", "rollback"])
async def test_a_deletion_that_fails_undoes_nothing(
    session: AsyncSession, engine: AsyncEngine, caplog: pytest.LogCaptureFixture, verb: str
) -> None:
    session.add_all([Document(id=i, file=StorageFile.pending(b"%d" % i)) for i in range(1, 4)])
    await session.commit()
    fault = Fail("delete_many", times=1)
    storage.plan.append(fault)
    for document in (await session.scalars(select(Document))).all():
        document.file = StorageFile.pending(b"new")
    await session.flush()
    await getattr(session, verb)()

    assert fault.happened == 1
    assert len(await read_files()) == 4
    assert caplog.text.count("is left to the sweep") == 1
    titles = await session.scalars(select(Document.id))
    assert sorted(titles) == [1, 2, 3]


async def test_a_storage_that_breaks(
    session: AsyncSession, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even an error that no storage should raise makes a commit look like a failure."""
    document = Document(file=StorageFile.pending(b"abc"))
    session.add(document)
    await session.commit()

    async def fail(names: Any) -> dict[str, StorageError]:
        raise ZeroDivisionError

    monkeypatch.setattr(storage, "delete_many", fail)
    await session.delete(document)
    await session.commit()

    assert "1 files in" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_a_name_of_another_program_is_left_alone(
    session: AsyncSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Its file may be that of another row, under another spelling."""
    await storage.upload(b"abc", "a.txt")
    await session.execute(
        text("INSERT INTO documents (id, title, file) VALUES (1, '', './a.txt'), (2, '', '../b')")
    )
    await session.execute(text("INSERT INTO documents (id, title, file) VALUES (3, '', 'a.txt')"))
    await session.commit()
    for key in (1, 2):
        await session.delete(await session.get_one(Document, key))
    await session.commit()

    assert list(await read_files()) == ["a.txt"]
    assert caplog.text.count("is no name of ours") == 2


@pytest.mark.parametrize("backend", ["local", "s3"])
async def test_other_backends(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    get_server: Callable[[], S3Server] = lambda: request.getfixturevalue("s3_server")  # noqa: E731
    with make_storage(backend, get_server) as where:

        class Base(DeclarativeBase):
            pass

        class Row(Base):
            __tablename__ = "rows"
            id: Mapped[int] = mapped_column(primary_key=True)
            file: Mapped[StorageFile | None] = mapped_column(FileType(where, prefix="a/b"))

        engine = make_sqlite_engine(tmp_path / "rows.db")
        await create_tables(engine, Base.metadata)
        make_session = track_files(async_sessionmaker(engine))
        async with where, make_session() as session:
            with blockbuster_ctx("fastapi_async_storages"):
                rows = [Row(file=StorageFile.pending(b"%d" % i)) for i in range(30)]
                session.add_all(rows)
                await session.commit()
                for row in rows[:10]:
                    row.file = StorageFile.pending(b"new")
                for row in rows[10:20]:
                    await session.delete(row)
                await session.commit()
                rows[0].file = StorageFile.pending(b"newer")
                await session.flush()
                await session.rollback()
            names = set(await session.scalars(select(Row.file)))
            assert {file.name for file in names if file} == {
                info.name async for info in where.list()
            }
            assert len(names) == 20
        await engine.dispose()


@asynccontextmanager
async def letting_go_of_many(
    where: Storage, folder: Path, cleanup: Cleanup = "delete"
) -> AsyncIterator[AsyncSession]:
    """A session that has deleted 5,000 rows and has to commit that; one of the files is there."""

    class Base(DeclarativeBase):
        pass

    class Row(Base):
        __tablename__ = "rows"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[StorageFile | None] = mapped_column(FileType(where, cleanup=cleanup))

    engine = make_sqlite_engine(folder / "rows.db")
    await create_tables(engine, Base.metadata)
    await where.upload(b"abc", "4999")
    async with track_files(async_sessionmaker(engine))() as session:
        names = [{"file": str(number)} for number in range(5000)]
        await session.execute(text("INSERT INTO rows (file) VALUES (:file)"), names)
        await session.execute(delete(Row))
        yield session
    await engine.dispose()


@pytest.mark.parametrize("cleanup", ["delete", StorageFile.delete], ids=["delete", "own"])
async def test_other_tasks_run_while_many_files_are_cleaned_up(
    tmp_path: Path, cleanup: Cleanup
) -> None:
    counting = CountingStorage()
    async with letting_go_of_many(counting, tmp_path, cleanup) as session:
        counting.checked_at_once = 0
        await session.commit()
    assert not await counting.exists("4999")
    assert 1 < counting.checked_at_once <= 1000


async def test_names_that_are_checked_for_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clean_ups, "TIME_LIMIT", 0.001)
    counting = CountingStorage()
    async with letting_go_of_many(counting, tmp_path) as session:
        await session.commit()
    assert await counting.exists("4999")
    assert "Up to 5000 files" in caplog.text


async def test_a_clean_up_that_hangs(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The commit ends in time, and what other columns let go of is deleted."""
    monkeypatch.setattr(clean_ups, "TIME_LIMIT", 0.5)
    called = list[StorageFile]()

    async def hang(file: StorageFile) -> None:
        called.append(file)
        await asyncio.Event().wait()

    class Base(DeclarativeBase):
        pass

    class Report(Base):
        __tablename__ = "reports"
        id: Mapped[int] = mapped_column(primary_key=True)
        draft: Mapped[StorageFile | None] = mapped_column(FileType(storage, cleanup=hang))
        file: Mapped[StorageFile | None] = mapped_column(FileType(storage))

    await create_tables(engine, Base.metadata)
    make_session = track_files(async_sessionmaker(engine))
    async with make_session.begin() as session:
        for _ in range(3):
            draft, file = StorageFile.pending(b"draft"), StorageFile.pending(b"file")
            session.add(Report(draft=draft, file=file))
    async with make_session() as session:
        await session.execute(delete(Report))
        async with asyncio.timeout(20):
            await session.commit()
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)

    assert list((await read_files()).values()) == [b"draft"] * 3
    assert len(called) == 1
    assert "Up to 3 files" in caplog.text
    assert called[0].name in caplog.text


async def test_a_storage_that_hangs(
    make_session: MakeSession,
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(clean_ups, "TIME_LIMIT", 0.5)
    async with make_session.begin() as session:
        session.add(Document(id=1, file=StorageFile.pending(b"old")))
    storage.plan.append(pause := Pause("delete_many"))
    async with asyncio.timeout(20), make_session.begin() as session:
        (await session.get_one(Document, 1)).file = StorageFile.pending(b"new")
    pause.resume()

    assert sorted((await read_files()).values()) == [b"new", b"old"]
    assert "Up to 1 files" in caplog.text


async def test_a_disk_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A commit waits for the one call that nobody can break off, and no other one is made."""
    monkeypatch.setattr(clean_ups, "TIME_LIMIT", 0.5)
    where = LocalStorage(tmp_path / "files")
    is_late = threading.Event()

    async def wait_for_the_limit(file: StorageFile) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            is_late.set()

    class Base(DeclarativeBase):
        pass

    class Row(Base):
        __tablename__ = "rows"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[StorageFile | None] = mapped_column(FileType(where))
        draft: Mapped[StorageFile | None] = mapped_column(
            FileType(storage, cleanup=wait_for_the_limit)
        )

    engine = make_sqlite_engine(tmp_path / "rows.db")
    await create_tables(engine, Base.metadata)
    make_session = track_files(async_sessionmaker(engine))
    async with make_session.begin() as session:
        for _ in range(3):
            file, draft = StorageFile.pending(b"file"), StorageFile.pending(b"draft")
            session.add(Row(file=file, draft=draft))
    async with make_session() as session:
        await session.execute(delete(Row))
        with hanging_unlink(monkeypatch, is_late) as unlinked:
            async with asyncio.timeout(20):
                await session.commit()
            assert unlinked
    await engine.dispose()

    assert len([info async for info in where.list()]) == 2
    assert f"Up to 3 files in {where!r}" in caplog.text


@contextmanager
def hanging_unlink(
    monkeypatch: pytest.MonkeyPatch, is_over: threading.Event
) -> Iterator[list[str]]:
    """Make ``os.unlink`` hang until long after an event, and yield a list of what it has deleted.

    Long is many passes of the event loop: who does not wait for the call goes on meanwhile.
    """
    loop, unlink, unlinked = asyncio.get_running_loop(), os.unlink, list[str]()

    async def pass_often() -> None:
        for _ in range(1000):
            await asyncio.sleep(0)

    def hang(path: str, *, dir_fd: int | None = None) -> None:
        assert is_over.wait(20)
        asyncio.run_coroutine_threadsafe(pass_often(), loop).result(20)
        unlink(path, dir_fd=dir_fd)
        unlinked.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", hang)
        yield unlinked
