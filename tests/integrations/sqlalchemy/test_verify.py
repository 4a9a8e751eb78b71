"""Rows whose files are gone or are not what they should be are found; all others are not."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from sqlalchemy import Column, MetaData, String, Table, Uuid, insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_async_storages import MemoryStorage, Storage, StorageFile, save_upload
from fastapi_async_storages.exceptions import BackendUnavailableError, ConfigurationError
from fastapi_async_storages.integrations.sqlalchemy import FileType
from fastapi_async_storages.integrations.sqlalchemy.defects import Defect, verify
from fastapi_async_storages.testing.faults import Corrupt, Fail, FaultyStorage, Pause, Truncate
from tests.integrations.sqlalchemy.databases import create_tables
from tests.storages import BACKENDS, make_storage

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]

ABC = f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
XYZ = f"sha256:{hashlib.sha256(b'xyz').hexdigest()}"


def make_base(storage: Storage) -> Any:
    suffix = uuid4().hex[:8]

    class Base(DeclarativeBase):
        pass

    class Document(Base):
        __tablename__ = f"documents_{suffix}"

        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[StorageFile | None] = mapped_column(FileType(storage))

    class Page(Base):
        __tablename__ = f"pages_{suffix}"

        number: Mapped[int] = mapped_column(primary_key=True)
        book: Mapped[str] = mapped_column(primary_key=True)
        scan: Mapped[StorageFile | None] = mapped_column(FileType(storage))

    models: Any = Base
    models.Document, models.Page = Document, Page
    return models


async def collect(*arguments: Any, **options: Any) -> list[Defect]:
    return [defect async for defect in verify(*arguments, **options)]


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

    async def test_missing_files(
        self, storage: Storage, base: Any, make_session: MakeSession
    ) -> None:
        await storage.upload(b"abc", "a.txt")
        async with make_session.begin() as session:
            session.add_all([base.Document(id=1, file="a.txt"), base.Document(id=2, file=None)])
            session.add(base.Document(id=3, file="b.txt"))
            session.add(base.Page(book="B", number=7, scan="c.txt"))

        defects = await collect(make_session, storage, base)

        documents, pages = base.Document.__tablename__, base.Page.__tablename__
        assert defects == [
            Defect(f"{documents}.file", (3,), "b.txt", "missing"),
            Defect(f"{pages}.scan", (7, "B"), "c.txt", "missing"),
        ]

    async def test_content_that_is_not_what_was_stored(
        self, storage: Storage, base: Any, make_session: MakeSession
    ) -> None:
        await storage.upload(b"abc", "right.txt", metadata={"checksum": ABC})
        await storage.upload(b"xyz", "wrong.txt", metadata={"checksum": ABC})
        await storage.upload(b"xyz", "unknown.txt")
        async with make_session.begin() as session:
            for name in ("right.txt", "wrong.txt", "unknown.txt"):
                session.add(base.Document(file=name))

        assert await collect(make_session, storage, base) == []
        defects = await collect(make_session, storage, base, read=True)

        column = f"{base.Document.__tablename__}.file"
        assert defects == [Defect(column, (2,), "wrong.txt", "checksum", ABC, XYZ)]


@pytest.fixture
def storage() -> FaultyStorage:
    return FaultyStorage(MemoryStorage())


@pytest.fixture
async def base(storage: Storage, engine: AsyncEngine) -> Any:
    base = make_base(storage)
    await create_tables(engine, base.metadata)
    return base


async def add_document(
    storage: Storage, base: Any, make_session: MakeSession, content: bytes = b"abc"
) -> str:
    file = await save_upload(content, storage)
    async with make_session.begin() as session:
        session.add(base.Document(file=file))
    return file.name


@pytest.mark.parametrize("fault", [Corrupt("open", at=1), Truncate("open", at=1), Fail("open")])
async def test_files_that_cannot_be_read_as_they_were_stored(
    storage: FaultyStorage, base: Any, make_session: MakeSession, fault: Any
) -> None:
    await storage.upload(b"abc", "a.txt", metadata={"checksum": ABC})
    await storage.upload(b"abc", "b.txt", metadata={"checksum": ABC})
    async with make_session.begin() as session:
        session.add_all([base.Document(file="a.txt"), base.Document(file="b.txt")])
    fault.name = "a.txt"
    fault.happened = 0
    storage.plan.append(fault)

    (defect,) = await collect(make_session, storage, base, read=True)

    assert defect.name == "a.txt"
    if isinstance(fault, Corrupt):
        assert (defect.fault, defect.expected) == ("checksum", ABC)
    else:
        assert defect.fault == "unreadable"
        assert "a.txt" in str(defect.found)


async def test_a_storage_that_is_down(
    storage: FaultyStorage, base: Any, make_session: MakeSession
) -> None:
    await add_document(storage, base, make_session)
    storage.plan.append(Fail("get_info"))

    with pytest.raises(BackendUnavailableError):
        await collect(make_session, storage, base)


async def test_names_that_no_storage_takes(
    storage: Storage, base: Any, make_session: MakeSession
) -> None:
    await storage.upload(b"abc", "b.txt")
    plain = Table(base.Document.__tablename__, MetaData(), Column("file", String))
    async with make_session.begin() as session:
        await session.execute(insert(plain), [{"file": name} for name in ("../a", "./b.txt", "")])

    (defect,) = await collect(make_session, storage, base)

    assert (defect.primary_key, defect.name, defect.fault) == ((1,), "../a", "invalid name")


@pytest.mark.parametrize("change", ["replace", "delete"])
async def test_a_row_that_changes_meanwhile(
    storage: FaultyStorage, base: Any, make_session: MakeSession, change: str
) -> None:
    old = await add_document(storage, base, make_session)
    pause = Pause("get_info", name=old)
    storage.plan.append(pause)

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        checking = tasks.create_task(collect(make_session, storage, base))
        await pause.reached()
        async with make_session.begin() as session:
            document = await session.get_one(base.Document, 1)
            if change == "replace":
                document.file = await save_upload(b"new", storage)
            else:
                await session.delete(document)
        assert not await storage.exists(old)
        pause.resume()

    assert checking.result() == []


async def test_every_page_is_read(storage: Storage, base: Any, make_session: MakeSession) -> None:
    async with make_session.begin() as session:
        rows = [
            {"number": number, "book": book, "scan": f"{book}/{number}.txt"}
            for book in ("A", "B", "C")
            for number in range(400)
        ]
        await session.execute(insert(base.Page), rows)

    defects = await collect(make_session, storage, base)

    keys = [defect.primary_key for defect in defects]
    assert keys == sorted((row["number"], row["book"]) for row in rows)


async def test_keys_that_are_no_numbers(
    storage: Storage, engine: AsyncEngine, make_session: MakeSession
) -> None:
    metadata = MetaData()
    table = Table(
        f"files_{uuid4().hex[:8]}",
        metadata,
        Column("id", Uuid, primary_key=True, default=uuid4),
        Column("file", FileType(storage)),
    )
    await create_tables(engine, metadata)
    async with make_session.begin() as session:
        await session.execute(insert(table), [{"file": f"{number}.txt"} for number in range(1001)])

    defects = await collect(make_session, storage, table.c.file)

    assert len({defect.primary_key for defect in defects}) == len(defects) == 1001


async def test_a_table_without_a_primary_key(storage: Storage, make_session: MakeSession) -> None:
    table = Table("keyless", MetaData(), Column("file", FileType(storage)))

    with pytest.raises(ConfigurationError, match=r"keyless\.file.*primary key"):
        await collect(make_session, storage, table.c.file)


async def test_no_transaction_stays_open(
    storage: Storage, base: Any, engine: AsyncEngine, make_session: MakeSession
) -> None:
    await storage.delete(await add_document(storage, base, make_session))

    async for defect in verify(make_session, storage, base):
        assert defect.fault == "missing"
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
