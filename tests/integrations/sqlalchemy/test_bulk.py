"""ORM-enabled INSERT, UPDATE and DELETE statements, which no object takes part in."""

from typing import Any, TypeAlias

import pytest
from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import aliased

from fastapi_async_storages import StorageFile, save_upload
from fastapi_async_storages.exceptions import NotFoundError
from tests.integrations.sqlalchemy.models import (
    Animal,
    Attachment,
    Cat,
    Document,
    Dog,
    Folder,
    Page,
    storage,
)
from tests.integrations.sqlalchemy.state import read_contents, read_files

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]


@pytest.fixture
async def documents(make_session: MakeSession) -> None:
    """Three rows, of which the last one has no file."""
    async with make_session.begin() as session:
        session.add(Folder(id=1))
        session.add_all(
            Document(
                id=number,
                title=f"title {number}",
                folder_id=1,
                file=StorageFile.pending(b"%d" % number) if number < 3 else None,
            )
            for number in (1, 2, 3)
        )


@pytest.mark.usefixtures("documents")
class TestDelete:
    async def test_all(self, session: AsyncSession, engine: AsyncEngine) -> None:
        await session.execute(delete(Document))
        assert len(await read_files()) == 2
        await session.commit()

        assert await read_contents(engine) == []

    async def test_rollback(self, session: AsyncSession, engine: AsyncEngine) -> None:
        await session.execute(delete(Document))
        await session.rollback()

        assert await read_contents(engine) == [b"1", b"2"]

    @pytest.mark.parametrize(
        "statement, parameters",
        [
            (delete(Document).where(Document.id == 1), None),
            (delete(Document).where(Document.title.like("%1")), None),
            (delete(Document).where(Document.id == bindparam("key")), {"key": 1}),
            (delete(Document).where(Document.id.in_(select(func.min(Document.id)))), None),
            (delete(Document).where(Document.folder.has(id=1), Document.id < 2), None),
            (delete(Document).where(Document.file == "no such file"), None),
        ],
        ids=["key", "like", "parameter", "subquery", "relationship", "nothing"],
    )
    async def test_some(
        self, session: AsyncSession, engine: AsyncEngine, statement: Any, parameters: Any
    ) -> None:
        await session.execute(
            statement, parameters, execution_options={"synchronize_session": False}
        )
        await session.commit()

        deleted = "no such file" not in str(statement.compile().params.values())
        assert await read_contents(engine) == ([b"2"] if deleted else [b"1", b"2"])

    async def test_using_another_table(self, session: AsyncSession, engine: AsyncEngine) -> None:
        if engine.dialect.name == "sqlite":
            pytest.skip("SQLite has no DELETE ... USING")
        await session.execute(
            delete(Document).where(Document.folder_id == Folder.id, Document.id == 1),
            execution_options={"synchronize_session": False},
        )
        await session.commit()

        assert await read_contents(engine) == [b"2"]

    async def test_what_the_session_has_not_flushed(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        session.add(Document(id=7, file=StorageFile.pending(b"7")))
        await session.execute(delete(Document))
        await session.commit()

        assert await read_contents(engine) == []

    async def test_without_autoflush(self, session: AsyncSession, engine: AsyncEngine) -> None:
        session.add(Document(id=7, file=StorageFile.pending(b"7")))
        with session.no_autoflush:
            await session.execute(delete(Document))
        await session.commit()
        assert await read_contents(engine) == [b"7"]

        session.add(Document(id=8, file=StorageFile.pending(b"8")))
        await session.execute(delete(Document), execution_options={"autoflush": False})
        await session.commit()
        assert await read_contents(engine) == [b"8"]

    async def test_in_a_savepoint(self, session: AsyncSession, engine: AsyncEngine) -> None:
        savepoint = await session.begin_nested()
        await session.execute(delete(Document).where(Document.id == 1))
        await savepoint.rollback()
        async with session.begin_nested():
            await session.execute(delete(Document).where(Document.id == 2))
        await session.commit()

        assert await read_contents(engine) == [b"1"]

    async def test_a_name_that_another_row_holds(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        document = await session.get_one(Document, 1)
        session.add(Attachment(file=document.file))
        await session.execute(delete(Document))
        await session.commit()

        assert await read_contents(engine) == [b"1"]

    async def test_returning(self, session: AsyncSession, engine: AsyncEngine) -> None:
        files = (await session.scalars(delete(Document).returning(Document.file))).all()
        await session.commit()

        assert len(files) == 3
        assert await read_contents(engine) == []


@pytest.mark.usefixtures("documents")
class TestUpdate:
    async def test_to_null(self, session: AsyncSession, engine: AsyncEngine) -> None:
        await session.execute(update(Document).values(file=None))
        await session.commit()

        assert await read_contents(engine) == []

    @pytest.mark.parametrize(
        "values", [{"title": "new"}, {Document.title: "new"}, {"folder_id": None}], ids=str
    )
    async def test_of_other_columns(
        self, session: AsyncSession, engine: AsyncEngine, values: Any
    ) -> None:
        await session.execute(update(Document).values(values))
        await session.commit()

        assert await read_contents(engine) == [b"1", b"2"]

    async def test_to_a_fresh_file(self, session: AsyncSession, engine: AsyncEngine) -> None:
        file = await save_upload(b"new", storage)
        await session.execute(update(Document).where(Document.id == 1).values(file=file))
        assert not file._fresh
        await session.commit()
        assert await read_contents(engine) == [b"2", b"new"]

        file = await save_upload(b"newer", storage)
        await session.execute(update(Document).where(Document.id == 1).values(file=file))
        await session.rollback()
        assert await read_contents(engine) == [b"2", b"new"]
        with pytest.raises(NotFoundError, match="deleted"):
            await session.execute(update(Document).where(Document.id == 1).values(file=file))

    async def test_of_no_row(self, session: AsyncSession, engine: AsyncEngine) -> None:
        file = await save_upload(b"new", storage)
        await session.execute(update(Document).where(Document.id == 99).values(file=file))
        await session.commit()

        assert await read_contents(engine) == [b"1", b"2"]

    async def test_by_primary_key(self, session: AsyncSession, engine: AsyncEngine) -> None:
        rows = [
            {"id": 1, "file": await save_upload(b"new 1", storage)},
            {"id": 3, "file": await save_upload(b"new 3", storage)},
        ]
        await session.execute(update(Document), rows)
        await session.commit()

        assert await read_contents(engine) == [b"2", b"new 1", b"new 3"]

    async def test_by_another_name_of_the_column(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        file = await save_upload(b"preview", storage)
        await session.execute(update(Document).where(Document.id == 1).values(preview=file))
        await session.commit()
        await session.execute(update(Document).values({Document.preview: None}))
        await session.commit()

        assert await read_contents(engine) == [b"1", b"2"]

    async def test_ordered_values(self, session: AsyncSession, engine: AsyncEngine) -> None:
        await session.execute(
            update(Document).ordered_values((Document.title, "new"), (Document.file, None))
        )
        await session.commit()

        assert await read_contents(engine) == []

    async def test_from_another_row(self, session: AsyncSession, engine: AsyncEngine) -> None:
        """All rows get the file of the first one."""
        first = aliased(Document)
        name = select(first.file).where(first.id == 1).scalar_subquery()
        await session.execute(
            update(Document).values(file=name), execution_options={"synchronize_session": False}
        )
        await session.commit()

        assert await read_contents(engine) == [b"1"]

    async def test_a_statement_that_fails(self, session: AsyncSession, engine: AsyncEngine) -> None:
        with pytest.raises(DBAPIError):
            await session.execute(update(Document).values(file=None, id=1))
        await session.rollback()

        assert await read_contents(engine) == [b"1", b"2"]


class TestInsert:
    async def test_fresh_files(self, session: AsyncSession, engine: AsyncEngine) -> None:
        for verb in (session.commit, session.rollback):
            files = [await save_upload(b"%d" % number, storage) for number in range(4)]
            await session.execute(insert(Attachment), [{"file": file} for file in files[:2]])
            await session.execute(insert(Attachment).values([{"file": files[2]}]))
            await session.execute(insert(Attachment).values(file=files[3]))
            assert not any(file._fresh for file in files)
            await verb()

        assert await read_contents(engine) == [b"0", b"1", b"2", b"3"]

    async def test_content_is_refused(self, session: AsyncSession, engine: AsyncEngine) -> None:
        with pytest.raises(StatementError, match="bulk or a Core statement"):
            await session.execute(insert(Attachment), [{"file": StorageFile.pending(b"abc")}])
        await session.rollback()

        assert await read_contents(engine) == []

    async def test_a_row_that_is_refused(self, session: AsyncSession, engine: AsyncEngine) -> None:
        session.add(Document(slug="a"))
        await session.flush()
        file = await save_upload(b"abc", storage)
        with pytest.raises(DBAPIError):
            await session.execute(insert(Document), [{"slug": "a", "file": file}])
        await session.rollback()

        assert await read_contents(engine) == []


class TestInheritance:
    @pytest.fixture(autouse=True)
    async def _animals(self, make_session: MakeSession) -> None:
        async with make_session.begin() as session:
            session.add(
                Cat(id=1, photo=StorageFile.pending(b"cat"), toy=StorageFile.pending(b"toy"))
            )
            session.add(
                Dog(id=2, photo=StorageFile.pending(b"dog"), passport=StorageFile.pending(b"pass"))
            )

    async def test_columns_of_subclasses_in_the_same_table(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        await session.execute(delete(Animal).where(Animal.id == 1))
        await session.commit()

        assert await read_contents(engine) == [b"dog", b"pass"]

    async def test_a_table_of_a_subclass(self, session: AsyncSession, engine: AsyncEngine) -> None:
        await session.execute(
            update(Dog).where(Dog.id == 2).values(passport=None),
            execution_options={"synchronize_session": False},
        )
        await session.commit()
        assert await read_contents(engine) == [b"cat", b"dog", b"toy"]

    async def test_a_subclass_in_the_table_of_its_base(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        await session.execute(delete(Cat))
        await session.commit()

        assert await read_contents(engine) == [b"dog", b"pass"]


async def test_many_rows(session: AsyncSession, engine: AsyncEngine) -> None:
    """More than are read, and looked up, at a time."""
    names = [f"scans/{number}.txt" for number in range(2500)]
    for name in names:
        await storage.upload(b"x", name)
    rows = [{"book": "a", "number": n, "scan": name} for n, name in enumerate(names)]
    await session.execute(insert(Page), rows)
    await session.commit()
    await session.execute(delete(Page).where(Page.number < 2499))
    await session.commit()

    assert list(await read_files()) == names[2499:]
