"""Files live and die with their transaction: each way in which one can end."""

from typing import TypeAlias

import pytest
from sqlalchemy import event, func, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from fastapi_async_storages import StorageFile, StorageImage, save_upload
from fastapi_async_storages.exceptions import (
    NotFoundError,
)
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


async def add_document(make_session: MakeSession, content: bytes = b"old") -> int:
    """Commit a row with a file; return its primary key."""
    async with make_session.begin() as session:
        document = Document(file=StorageFile.pending(content, filename="a.txt"))
        session.add(document)
        await session.flush()
        return document.id


class TestInsert:
    async def test_commit(self, session: AsyncSession, engine: AsyncEngine) -> None:
        document = Document(file=StorageFile.pending(b"abc", filename="my notes.txt"))
        session.add(document)
        await session.flush()

        file = document.file
        assert type(file) is StorageFile
        assert file.info is not None
        assert (file.info.filename, file.info.size) == ("my notes.txt", 3)
        assert file.name.startswith("docs/")
        await session.commit()
        assert await read_contents(engine) == [b"abc"]

    async def test_rollback(self, session: AsyncSession, engine: AsyncEngine) -> None:
        session.add(Document(file=StorageFile.pending(b"abc")))
        await session.flush()
        assert len(await read_files()) == 1

        await session.rollback()

        assert await read_contents(engine) == []

    async def test_rollback_before_any_flush(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        session.add(Document(file=StorageFile.pending(b"abc")))
        await session.rollback()
        await session.commit()

        assert await read_contents(engine) == []

    async def test_flush_exception_close(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        async def fail() -> None:
            async with make_session() as session:
                session.add(Document(file=StorageFile.pending(b"abc")))
                await session.flush()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()

        assert await read_contents(engine) == []

    async def test_close_without_commit(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        async with make_session() as session:
            session.add(Document(file=StorageFile.pending(b"abc")))
            await session.flush()

        assert await read_contents(engine) == []

    async def test_a_row_that_the_database_refuses(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        session.add(Document(slug="a", file=StorageFile.pending(b"first")))
        await session.commit()
        session.add(Document(slug="a", file=StorageFile.pending(b"second")))
        with pytest.raises(IntegrityError):
            await session.commit()
        await session.rollback()

        assert await read_contents(engine) == [b"first"]

    async def test_begin_blocks(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        async def fail(session: AsyncSession) -> None:
            async with session.begin():
                session.add(Document(file=StorageFile.pending(b"second")))
                await session.flush()
                raise ZeroDivisionError

        async with make_session() as session:
            async with session.begin():
                session.add(Document(file=StorageFile.pending(b"first")))
            with pytest.raises(ZeroDivisionError):
                await fail(session)
        async with make_session.begin() as session:
            session.add(Document(file=StorageFile.pending(b"third")))

        assert await read_contents(engine) == [b"first", b"third"]

    async def test_several_transactions_of_one_session(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        for number in range(4):
            session.add(Document(file=StorageFile.pending(str(number).encode())))
            await session.flush()
            await (session.commit() if number % 2 else session.rollback())

        assert await read_contents(engine) == [b"1", b"3"]

    async def test_an_object_that_a_listener_takes_away(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        """Its content was stored when it left the flush, and no row came to name it."""

        def take_away(flushed: Session, context: object, instances: object) -> None:
            for document in list(flushed.new):
                flushed.expunge(document)

        event.listen(session.sync_session, "before_flush", take_away)
        session.add(Document(file=StorageFile.pending(b"abc")))
        await session.commit()

        assert await read_contents(engine) == []

    async def test_added_and_deleted_in_one_transaction(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        document = Document(file=StorageFile.pending(b"abc"))
        session.add(document)
        await session.flush()
        await session.delete(document)
        await session.flush()
        assert len(await read_files()) == 1

        await session.commit()

        assert await read_contents(engine) == []


class TestReplace:
    async def test_commit(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        key = await add_document(make_session)
        async with make_session() as session:
            document = await session.get_one(Document, key)
            document.file = StorageFile.pending(b"new")
            await session.flush()
            assert sorted((await read_files()).values()) == [b"new", b"old"]
            await session.commit()

        assert await read_contents(engine) == [b"new"]

    async def test_rollback(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        key = await add_document(make_session)
        async with make_session() as session:
            document = await session.get_one(Document, key)
            document.file = StorageFile.pending(b"new")
            await session.flush()
            await session.rollback()
            await session.refresh(document)
            assert document.file is not None
            assert await document.file.read() == b"old"

        assert await read_contents(engine) == [b"old"]

    async def test_an_expired_object(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        key = await add_document(make_session)
        async with make_session() as session:
            document = await session.get_one(Document, key)
            await session.commit()
            assert "file" in inspect(document).unloaded
            document.file = StorageFile.pending(b"new")
            await session.commit()

        assert await read_contents(engine) == [b"new"]

    async def test_many_expired_objects_with_keys_of_two_columns(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        async with make_session() as session:
            pages = [
                Page(book=book, number=number, scan=StorageFile.pending(f"{book}{number}".encode()))
                for book in "ab"
                for number in range(3)
            ]
            session.add_all(pages)
            await session.commit()
            for page in pages[:4]:
                page.scan = StorageFile.pending(b"new")
            await session.commit()

        assert await read_contents(engine) == [b"b1", b"b2", b"new", b"new", b"new", b"new"]

    async def test_a_deferred_column(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        async with make_session.begin() as session:
            document = Document(preview=StorageFile.pending(b"old"))
            session.add(document)
        async with make_session.begin() as session:
            document = (await session.scalars(select(Document))).one()
            document.preview = StorageFile.pending(b"new")

        assert await read_contents(engine) == [b"new"]

    async def test_by_none(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        key = await add_document(make_session)
        async with make_session.begin() as session:
            (await session.get_one(Document, key)).file = None

        assert await read_contents(engine) == []

    async def test_by_an_sql_expression(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        key = await add_document(make_session)
        await storage.upload(b"other", "other.txt")
        async with make_session.begin() as session:
            document = await session.get_one(Document, key)
            document.file = func.lower("OTHER.TXT")

        assert await read_contents(engine) == [b"other"]

    async def test_twice_in_one_transaction(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        key = await add_document(make_session)
        async with make_session.begin() as session:
            document = await session.get_one(Document, key)
            for content in (b"second", b"third"):
                document.file = StorageFile.pending(content)
                await session.flush()

        assert await read_contents(engine) == [b"third"]

    async def test_there_and_back(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        key = await add_document(make_session)
        async with make_session.begin() as session:
            document = await session.get_one(Document, key)
            old = document.file
            document.file = StorageFile.pending(b"new")
            await session.flush()
            document.file = old

        assert await read_contents(engine) == [b"old"]

    async def test_there_and_back_without_a_flush(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        key = await add_document(make_session)
        async with make_session.begin() as session:
            document = await session.get_one(Document, key)
            old = document.file
            document.file = StorageFile.pending(b"new")
            document.file = old

        assert await read_contents(engine) == [b"old"]

    async def test_by_the_same_file(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        key = await add_document(make_session)
        async with make_session.begin() as session:
            document = await session.get_one(Document, key)
            assert document.file is not None
            document.file = StorageFile(storage, document.file.name)
        async with make_session.begin() as session:
            document = await session.get_one(Document, key)
            await session.refresh(document)
            name = document.file.name if document.file else ""
            session.expire(document)
            document.file = StorageFile(storage, name)

        assert await read_contents(engine) == [b"old"]

    async def test_two_columns_change_their_files(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        document = Document(file=StorageFile.pending(b"a"), preview=StorageFile.pending(b"b"))
        session.add(document)
        await session.commit()
        await session.refresh(document, ["file", "preview"])
        document.file, document.preview = document.preview, document.file
        await session.commit()
        assert await read_contents(engine) == [b"a", b"b"]
        await session.refresh(document, ["file", "preview"])
        document.preview = document.file
        await session.commit()

        assert await read_contents(engine) == [b"b"]


class TestDelete:
    async def test_commit(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        key = await add_document(make_session)
        async with make_session() as session:
            await session.delete(await session.get_one(Document, key))
            await session.flush()
            assert len(await read_files()) == 1
            await session.commit()

        assert await read_contents(engine) == []

    async def test_rollback(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        key = await add_document(make_session)
        async with make_session() as session:
            await session.delete(await session.get_one(Document, key))
            await session.flush()
            await session.rollback()

        assert await read_contents(engine) == [b"old"]

    async def test_an_expired_object(self, session: AsyncSession, engine: AsyncEngine) -> None:
        document = Document(file=StorageFile.pending(b"a"), preview=StorageFile.pending(b"b"))
        session.add(document)
        await session.commit()
        await session.delete(document)
        await session.commit()

        assert await read_contents(engine) == []

    async def test_an_object_that_was_changed(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        key = await add_document(make_session)
        async with make_session.begin() as session:
            document = await session.get_one(Document, key)
            document.file = StorageFile.pending(b"never stored")
            await session.delete(document)

        assert await read_contents(engine) == []

    async def test_one_name_in_two_rows(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        key = await add_document(make_session)
        async with make_session.begin() as session:
            file = (await session.get_one(Document, key)).file
            session.add_all([Document(file=file), Attachment(file=file)])
        async with make_session.begin() as session:
            await session.delete(await session.get_one(Document, key))
        assert await read_contents(engine) == [b"old"]

        async with make_session.begin() as session:
            await session.delete((await session.scalars(select(Document))).one())
        assert await read_contents(engine) == [b"old"]

        async with make_session.begin() as session:
            await session.delete((await session.scalars(select(Attachment))).one())
        assert await read_contents(engine) == []

    async def test_a_row_switch(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        """The unit of work makes an UPDATE of a DELETE and an INSERT of one primary key."""
        key = await add_document(make_session)
        for is_expired in (False, True):
            async with make_session.begin() as session:
                document = await session.get_one(Document, key)
                if is_expired:
                    session.expire(document)
                await session.delete(document)
                session.add(Document(id=key, file=StorageFile.pending(b"new")))

            assert await read_contents(engine) == [b"new"]

    async def test_cascade(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        async with make_session.begin() as session:
            documents = [Document(file=StorageFile.pending(b"%d" % i)) for i in range(3)]
            session.add(Folder(id=1, cover=StorageFile.pending(b"cover"), documents=documents))
        async with make_session.begin() as session:
            await session.delete(await session.get_one(Folder, 1))

        assert await read_contents(engine) == []

    @pytest.mark.parametrize("is_expired", [False, True])
    async def test_an_orphan(
        self, session: AsyncSession, engine: AsyncEngine, is_expired: bool
    ) -> None:
        documents = [
            Document(file=StorageFile.pending(b"%d" % i), preview=StorageFile.pending(b"p"))
            for i in range(2)
        ]
        folder = Folder(id=1, documents=documents)
        session.add(folder)
        await session.flush()
        if is_expired:
            session.expire(documents[0])
        folder.documents.pop(0)
        await session.commit()

        assert await read_contents(engine) == [b"1", b"p"]

    async def test_inherited_columns(self, session: AsyncSession, engine: AsyncEngine) -> None:
        cat = Cat(photo=StorageFile.pending(b"cat"), toy=StorageFile.pending(b"toy"))
        dog = Dog(photo=StorageFile.pending(b"dog"), passport=StorageFile.pending(b"passport"))
        session.add_all([cat, dog])
        await session.commit()
        dog.passport = StorageFile.pending(b"new passport")
        await session.delete(cat)
        await session.commit()
        assert await read_contents(engine) == [b"dog", b"new passport"]

        await session.delete((await session.scalars(select(Animal))).one())
        await session.commit()
        assert await read_contents(engine) == []


class TestFreshFiles:
    async def test_commit(self, session: AsyncSession, engine: AsyncEngine) -> None:
        file = await save_upload(b"abc", storage)
        session.add(Document(file=file))
        await session.commit()

        assert not file._fresh
        assert await read_contents(engine) == [b"abc"]

    async def test_rollback(self, session: AsyncSession, engine: AsyncEngine) -> None:
        file = await save_upload(b"abc", storage)
        session.add(Document(file=file))
        await session.flush()
        assert not file._fresh
        await session.rollback()

        assert await read_contents(engine) == []

    async def test_a_view_as_an_image(self, session: AsyncSession, engine: AsyncEngine) -> None:
        file = await save_upload(b"abc", storage)
        attachment = Attachment(image=file)
        session.add(attachment)
        await session.flush()
        assert type(attachment.image) is StorageImage
        assert not file._fresh
        await session.rollback()

        assert await read_contents(engine) == []

    async def test_one_that_no_flush_has_seen(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        file = await save_upload(b"abc", storage)
        session.add(Document(file=file))
        await session.rollback()

        assert file._fresh
        assert len(await read_files()) == 1

    async def test_a_plain_name_is_nobody_s_to_delete(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        name = await storage.upload(b"abc", "a.txt")
        session.add(Document(file=name))
        await session.flush()
        await session.rollback()
        assert len(await read_files()) == 1

    async def test_one_in_two_rows_of_which_one_is_deleted(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        file = await save_upload(b"abc", storage)
        first, second = Document(file=file), Document(file=file)
        session.add_all([first, second])
        await session.flush()
        await session.delete(first)
        await session.commit()

        assert await read_contents(engine) == [b"abc"]

    async def test_after_its_rollback_it_is_refused(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        document = Document(file=await save_upload(b"abc", storage))
        session.add(document)
        await session.flush()
        await session.rollback()
        session.add(document)
        with pytest.raises(NotFoundError, match=r"Document\.file .*deleted.*Assign the content"):
            await session.commit()
        await session.rollback()

        document.file = StorageFile.pending(b"again")
        session.add(document)
        await session.commit()
        assert await read_contents(engine) == [b"again"]

    async def test_it_belongs_to_one_session_until_that_has_committed(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        file = await save_upload(b"abc", storage)
        async with make_session() as one, make_session() as other:
            one.add(Document(file=file))
            await one.flush()
            other.add(Attachment(file=file))
            with pytest.raises(ValueError, match=r"Attachment\.file .*another session"):
                await other.flush()
            await one.commit()
            await other.commit()
            await other.delete((await other.scalars(select(Attachment))).one())
            await other.commit()

        assert await read_contents(engine) == [b"abc"]
