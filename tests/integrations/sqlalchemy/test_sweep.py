"""The sweep finds what no row names, and nothing else, whatever the order of the listing."""

import asyncio
import logging
import os
import tracemalloc
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, declarative_base, mapped_column
from sqlmodel import Field, SQLModel

from fastapi_async_storages import FileInfo, LocalStorage, MemoryStorage, Storage, StorageFile
from fastapi_async_storages.exceptions import BackendUnavailableError, ConfigurationError
from fastapi_async_storages.integrations.sqlalchemy import FileType, ImageType
from fastapi_async_storages.integrations.sqlalchemy.orphans import SweepReport, sweep
from fastapi_async_storages.testing.faults import Fail, FaultyStorage, Pause
from tests.integrations.sqlalchemy.databases import create_tables
from tests.storages import BACKENDS, make_storage

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]

NOW = timedelta()
"""The least age of files that a test has just stored."""

# Bytes, folders and languages sort these in three ways.
NAMES = [
    "a b",
    "a!",
    "a-b",
    "a/b",
    "a/c/d",
    "a/é",
    "a.txt",
    "B.txt",
    "b.txt",
    "z.txt",
    "Z.txt",
    "é.txt",
    "ü.txt",
    "%.txt",
    "_.txt",
    "日本.txt",
    "😀.txt",
    "it's.txt",
]


def make_base(storage: Storage) -> Any:
    suffix = uuid4().hex[:8]

    class Base(DeclarativeBase):
        pass

    class Document(Base):
        __tablename__ = f"documents_{suffix}"

        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[StorageFile | None] = mapped_column(FileType(storage))
        preview: Mapped[StorageFile | None] = mapped_column(ImageType(storage))

    class Note(Base):
        __tablename__ = f"notes_{suffix}"

        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[StorageFile | None] = mapped_column(FileType(storage))

    models: Any = Base
    models.Document, models.Note = Document, Note
    return models


other_bases_storage = MemoryStorage()
ClassicBase: Any = declarative_base()


class Classic(ClassicBase):  # type: ignore[misc]
    __tablename__ = "swept_classic"

    id = Column(Integer, primary_key=True)
    file: Column[Any] = Column(FileType(other_bases_storage))


class Modern(SQLModel, table=True):
    __tablename__ = "swept_modern"  # type: ignore[mutable-override]

    id: int | None = Field(default=None, primary_key=True)
    file: StorageFile = Field(sa_type=FileType(other_bases_storage))


async def store(storage: Storage, *names: str) -> None:
    for name in names:
        await storage.upload(b"abc", name)


async def list_names(storage: Storage) -> set[str]:
    return {info.name async for info in storage.list()}


class TestOnEachBackend:
    @pytest.fixture(params=BACKENDS)
    def storage(self, request: pytest.FixtureRequest) -> Iterator[Storage]:
        with make_storage(request.param, lambda: request.getfixturevalue("s3_server")) as storage:
            yield storage

    @pytest.fixture
    async def base(self, storage: Storage, engine: AsyncEngine) -> AsyncIterator[Any]:
        async with storage:
            base = make_base(storage)
            await create_tables(engine, base.metadata)
            yield base

    async def test_only_what_no_row_names_is_found(
        self, storage: Storage, base: Any, make_session: MakeSession
    ) -> None:
        orphans = set(NAMES[1::2])
        await store(storage, *NAMES)
        async with make_session.begin() as session:
            for index, name in enumerate(NAMES[::2]):
                session.add((base.Document, base.Note)[index % 2](file=name))
            session.add(base.Document(preview="a/c/d"))
            orphans.discard("a/c/d")

        report = await sweep(make_session, storage, base, older_than=NOW)

        assert report == SweepReport(
            files=len(NAMES),
            size=3 * len(NAMES),
            orphans=len(orphans),
            orphans_size=3 * len(orphans),
        )
        assert await list_names(storage) == set(NAMES)

        report = await sweep(make_session, storage, base, older_than=NOW, dry_run=False)

        assert (report.deleted, report.deleted_size) == (len(orphans), 3 * len(orphans))
        assert await list_names(storage) == set(NAMES) - orphans

    async def test_young_files_are_left_alone(
        self, storage: Storage, base: Any, make_session: MakeSession
    ) -> None:
        await store(storage, "a.txt", "b.txt")

        report = await sweep(make_session, storage, base, dry_run=False)

        assert report == SweepReport(files=2, size=6, young=2)
        assert await list_names(storage) == {"a.txt", "b.txt"}

    async def test_a_prefix(self, storage: Storage, base: Any, make_session: MakeSession) -> None:
        await store(storage, "docs/a.txt", "docs/b.txt", "docs2/c.txt", "docs.txt")
        async with make_session.begin() as session:
            session.add(base.Document(file="docs/a.txt"))

        report = await sweep(
            make_session, storage, base, prefix="docs", older_than=NOW, dry_run=False
        )

        assert (report.files, report.deleted) == (2, 1)
        assert await list_names(storage) == {"docs/a.txt", "docs2/c.txt", "docs.txt"}


@pytest.fixture
def storage() -> FaultyStorage:
    return FaultyStorage(MemoryStorage())


@pytest.fixture
async def base(storage: Storage, engine: AsyncEngine) -> Any:
    base = make_base(storage)
    await create_tables(engine, base.metadata)
    return base


class TestRaces:
    """The listing is old news: what it says is looked up again before anything is deleted."""

    @pytest.fixture
    def pause(self, storage: FaultyStorage) -> Pause:
        pause = Pause("get_info", times=None)
        storage.plan.append(pause)
        return pause

    async def sweep_meanwhile(
        self, arguments: tuple[MakeSession, Storage, Any], pause: Pause, act: Callable[[], Any]
    ) -> SweepReport:
        """Sweep, and act after the orphans were found and before they are deleted."""
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            sweeping = tasks.create_task(sweep(*arguments, older_than=NOW, dry_run=False))
            await pause.reached()
            await act()
            pause.resume()
        return sweeping.result()

    async def test_a_row_that_takes_an_orphan(
        self, storage: FaultyStorage, base: Any, make_session: MakeSession, pause: Pause
    ) -> None:
        await store(storage, "a.txt", "b.txt")

        async def take() -> None:
            async with make_session.begin() as session:
                session.add(base.Note(file="a.txt"))

        report = await self.sweep_meanwhile((make_session, storage, base), pause, take)

        assert (report.orphans, report.deleted, report.failed) == (2, 1, 0)
        assert await list_names(storage) == {"a.txt"}

    async def test_a_new_file_of_the_same_name(
        self, storage: FaultyStorage, base: Any, make_session: MakeSession, pause: Pause
    ) -> None:
        await store(storage, "a.txt", "b.txt")

        async def store_again() -> None:
            await storage.upload(b"new", "a.txt")

        report = await self.sweep_meanwhile((make_session, storage, base), pause, store_again)

        assert (report.orphans, report.deleted, report.failed) == (2, 1, 0)
        assert await list_names(storage) == {"a.txt"}

    async def test_an_orphan_that_somebody_else_deletes(
        self, storage: FaultyStorage, base: Any, make_session: MakeSession, pause: Pause
    ) -> None:
        await store(storage, "a.txt", "b.txt")

        async def delete() -> None:
            await storage.delete("a.txt")

        report = await self.sweep_meanwhile((make_session, storage, base), pause, delete)

        assert (report.deleted, report.deleted_size) == (1, 3)

    async def test_no_transaction_stays_open(
        self, engine: AsyncEngine, make_session: MakeSession
    ) -> None:
        open_connections = []

        class Watched(MemoryStorage):
            async def _get_info(self, name: str) -> FileInfo:
                open_connections.append(engine.pool.checkedout())  # type: ignore[attr-defined]
                return await super()._get_info(name)

            async def _list(self, prefix: str) -> AsyncIterator[FileInfo]:
                async for info in super()._list(prefix):
                    open_connections.append(engine.pool.checkedout())  # type: ignore[attr-defined]
                    yield info

        storage = Watched()
        base = make_base(storage)
        await create_tables(engine, base.metadata)
        await store(storage, *(f"{number}.txt" for number in range(501)))

        report = await sweep(make_session, storage, base, older_than=NOW, dry_run=False)

        assert report.deleted == 501
        assert set(open_connections) == {0}


class TestAge:
    async def test_old_among_young_ones(
        self, tmp_path: Path, engine: AsyncEngine, make_session: MakeSession
    ) -> None:
        storage = LocalStorage(tmp_path / "files")
        base = make_base(storage)
        await create_tables(engine, base.metadata)
        await store(storage, "old.txt", "young.txt", "day.txt", "named.txt")
        for name, hours in {"old.txt": 25, "young.txt": 23, "day.txt": 24, "named.txt": 99}.items():
            then = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
            os.utime(tmp_path / "files" / name, (then, then))
        async with make_session.begin() as session:
            session.add(base.Note(file="named.txt"))

        report = await sweep(make_session, storage, base, dry_run=False)

        assert (report.files, report.young, report.deleted) == (4, 1, 2)
        assert await list_names(storage) == {"young.txt", "named.txt"}

    async def test_a_negative_one_is_refused(
        self, storage: Storage, base: Any, make_session: MakeSession
    ) -> None:
        with pytest.raises(ValueError, match="negative"):
            await sweep(make_session, storage, base, older_than=timedelta(seconds=-1))


class TestFailures:
    async def test_files_that_cannot_be_deleted(
        self,
        storage: FaultyStorage,
        base: Any,
        make_session: MakeSession,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        await store(storage, "a.txt", "b.txt")
        storage.plan.append(Fail("delete_many", name="a.txt"))

        report = await sweep(make_session, storage, base, older_than=NOW, dry_run=False)

        assert (report.orphans, report.deleted, report.failed) == (2, 1, 1)
        assert await list_names(storage) == {"a.txt"}
        assert "'a.txt' in MemoryStorage() could not be deleted" in caplog.text

    @pytest.mark.parametrize("verb", ["list", "get_info"])
    async def test_a_storage_that_fails(
        self, storage: FaultyStorage, base: Any, make_session: MakeSession, verb: Any
    ) -> None:
        await store(storage, "a.txt")
        storage.plan.append(Fail(verb))

        with pytest.raises(BackendUnavailableError):
            await sweep(make_session, storage, base, older_than=NOW, dry_run=False)

        assert await list_names(storage) == {"a.txt"}


class TestNames:
    async def test_a_row_that_another_program_wrote_in_another_form(
        self, storage: Storage, base: Any, make_session: MakeSession
    ) -> None:
        await store(storage, "grün.txt", "naïve.txt")
        decomposed = unicodedata.normalize("NFD", "grün.txt")
        assert decomposed != "grün.txt"
        async with make_session.begin() as session:
            table = base.metadata.tables[base.Note.__tablename__]
            plain = Table(table.name, MetaData(), Column("file", String))
            await session.execute(insert(plain).values(file=decomposed))

        report = await sweep(make_session, storage, base, older_than=NOW, dry_run=False)

        assert report.deleted == 1
        assert await list_names(storage) == {"grün.txt"}

    async def test_a_file_whose_name_is_not_safe(
        self,
        tmp_path: Path,
        engine: AsyncEngine,
        make_session: MakeSession,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Deleting it under its safe name would delete another file."""

        class Foreign(MemoryStorage):
            async def _list(self, prefix: str) -> AsyncIterator[FileInfo]:
                async for info in super()._list(prefix):
                    yield info
                for name in (unicodedata.normalize("NFD", "grün.txt"), "a\\b.txt"):
                    yield FileInfo(name, 3, last_modified=datetime.now(UTC) - timedelta(days=9))

        storage = Foreign()
        base = make_base(storage)
        await create_tables(engine, base.metadata)
        await store(storage, "grün.txt")
        async with make_session.begin() as session:
            session.add(base.Note(file="grün.txt"))

        report = await sweep(make_session, storage, base, dry_run=False)

        assert (report.young, report.orphans, report.deleted, report.failed) == (1, 1, 0, 1)
        assert await storage.exists("grün.txt")
        assert "has no safe name" in caplog.text

    async def test_orphans_are_logged(
        self,
        storage: Storage,
        base: Any,
        make_session: MakeSession,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO, logger="fastapi_async_storages")
        await store(storage, "a.txt")

        await sweep(make_session, storage, base, older_than=NOW)

        assert "No row names 'a.txt' in MemoryStorage() (3 bytes)." in caplog.text


class TestSources:
    """Whatever tells where names are: no model of the same base is forgotten."""

    @pytest.fixture
    async def named(self, storage: Storage, base: Any, make_session: MakeSession) -> set[str]:
        await store(storage, "file.txt", "preview.png", "note.txt", "orphan.txt")
        async with make_session.begin() as session:
            session.add(base.Document(file="file.txt", preview="preview.png"))
            session.add(base.Note(file="note.txt"))
        return {"file.txt", "preview.png", "note.txt"}

    @pytest.mark.parametrize(
        "choose",
        [
            lambda base: base,
            lambda base: base.registry,
            lambda base: base.Document,
            lambda base: [base.Note],
            lambda base: {base.Note, base.Document},
            lambda base: (base.Document.file, base.Document.preview, base.Note.__table__.c.file),
        ],
        ids=["base", "registry", "model", "list", "set", "columns"],
    )
    async def test_all_columns_are_looked_into(
        self,
        storage: Storage,
        base: Any,
        make_session: MakeSession,
        named: set[str],
        choose: Callable[[Any], Any],
    ) -> None:
        await sweep(make_session, storage, choose(base), older_than=NOW, dry_run=False)

        assert await list_names(storage) == named

    async def test_a_table_that_no_class_is_mapped_to(
        self, storage: Storage, base: Any, engine: AsyncEngine, named: set[str]
    ) -> None:
        metadata = MetaData()
        history = Table(
            f"history_{uuid4().hex[:8]}",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("old_name", String),
        )
        await create_tables(engine, metadata)
        make_session = async_sessionmaker(engine)
        async with make_session.begin() as session:
            await session.execute(insert(history).values(old_name="orphan.txt"))

        report = await sweep(
            make_session, storage, [base, history.c.old_name], older_than=NOW, dry_run=False
        )

        assert (report.files, report.orphans) == (4, 0)

    async def test_other_kinds_of_bases(
        self, engine: AsyncEngine, make_session: MakeSession
    ) -> None:
        storage = other_bases_storage
        for metadata in (ClassicBase.metadata, SQLModel.metadata):
            await create_tables(engine, metadata)
        await store(storage, "classic.txt", "modern.txt", "orphan.txt")
        async with make_session.begin() as session:
            session.add(Classic(file="classic.txt"))
            session.add(Modern(file=StorageFile(storage, "modern.txt")))

        for bases in ([ClassicBase, SQLModel], [Classic, Modern]):
            assert (await sweep(make_session, storage, bases, older_than=NOW)).orphans == 1

    async def test_no_column_of_the_storage(
        self, storage: Storage, base: Any, make_session: MakeSession, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigurationError, match=r"No column of these models .*LocalStorage"):
            await sweep(make_session, LocalStorage(tmp_path), base)
        with pytest.raises(ConfigurationError, match=r"MemoryStorage.* not of LocalStorage"):
            await sweep(make_session, LocalStorage(tmp_path), base.Note.file)

    @pytest.mark.parametrize("source", [object(), "Document", Column("n", Integer), int], ids=repr)
    async def test_what_holds_no_names(
        self, storage: Storage, make_session: MakeSession, source: Any
    ) -> None:
        with pytest.raises(TypeError):
            await sweep(make_session, storage, [source])


async def test_memory_is_constant(
    engine: AsyncEngine, make_session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "fastapi_async_storages")  # pytest keeps what is logged.
    files = 16_000
    sizes: list[int] = []

    class Huge(MemoryStorage):
        """Lists more files than there is room for."""

        async def _list(self, prefix: str) -> AsyncIterator[FileInfo]:
            for number in range(files):
                if number % 2_000 == 1_000:
                    sizes.append(tracemalloc.get_traced_memory()[0])
                time = datetime(2020, 1, 1, tzinfo=UTC)
                yield FileInfo(f"{number:06}.txt", 10, last_modified=time)

    storage = Huge()
    base = make_base(storage)
    await create_tables(engine, base.metadata)
    async with make_session.begin() as session:
        rows = [{"file": f"{number:06}.txt"} for number in range(0, files, 2)]
        await session.execute(insert(base.Note), rows)
    tracemalloc.start()
    try:
        report = await sweep(make_session, storage, base)
    finally:
        tracemalloc.stop()

    assert (report.files, report.orphans) == (files, files // 2)
    # 2,000 records take 400 kB: with their names, times and sizes. The first pages fill the caches
    # of statements, and of whoever measures the coverage; and some of a page is left until the
    # garbage collector comes.
    _, _, *warm = sizes
    assert max(warm[3:]) - max(warm[:3]) < 100_000
