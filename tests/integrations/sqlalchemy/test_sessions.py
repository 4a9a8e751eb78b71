"""What else sessions do with objects: merge, refresh, expire, expunge, and detach them."""

import asyncio
import copy
from typing import TypeAlias

import pytest
from sqlalchemy import event, inspect, select, text
from sqlalchemy.exc import IllegalStateChangeError, InvalidRequestError, ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import make_transient, make_transient_to_detached

from fastapi_async_storages import StorageFile, save_upload
from fastapi_async_storages.integrations.sqlalchemy import track_files
from tests.integrations.sqlalchemy.models import Attachment, Document, Folder, storage
from tests.integrations.sqlalchemy.state import read_contents, read_files

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]


async def add_document(make_session: MakeSession, content: bytes = b"old") -> Document:
    """Commit a row with a file; return its object, detached."""
    async with make_session() as session:
        document = Document(id=1, file=StorageFile.pending(content))
        session.add(document)
        await session.commit()
        await session.refresh(document)
        return document


async def test_merge_a_new_object(session: AsyncSession, engine: AsyncEngine) -> None:
    document = Document(id=1, file=StorageFile.pending(b"abc"))
    merged = await session.merge(document)
    assert merged is not document
    await session.commit()

    assert await read_contents(engine) == [b"abc"]


async def test_merge_over_a_row(make_session: MakeSession, engine: AsyncEngine) -> None:
    await add_document(make_session)
    async with make_session.begin() as session:
        await session.merge(Document(id=1, file=StorageFile.pending(b"new")))

    assert await read_contents(engine) == [b"new"]


async def test_merge_a_detached_object(make_session: MakeSession, engine: AsyncEngine) -> None:
    document = await add_document(make_session)
    document.title = "changed"
    async with make_session.begin() as session:
        await session.merge(document)
    assert await read_contents(engine) == [b"old"]

    document.file = StorageFile.pending(b"new")
    async with make_session.begin() as session:
        await session.merge(document)
    assert await read_contents(engine) == [b"new"]


async def test_merge_without_loading(make_session: MakeSession, engine: AsyncEngine) -> None:
    document = await add_document(make_session)
    async with make_session.begin() as session:
        merged = await session.merge(document, load=False)
        merged.file = StorageFile.pending(b"new")

    assert await read_contents(engine) == [b"new"]


async def test_refresh_gives_up_what_is_pending(session: AsyncSession, engine: AsyncEngine) -> None:
    document = Document(file=StorageFile.pending(b"old"))
    session.add(document)
    await session.commit()
    document.file = StorageFile.pending(b"new")
    await session.refresh(document)
    assert await document.file.read() == b"old"
    await session.commit()

    assert await read_contents(engine) == [b"old"]


async def test_refresh_after_the_flush(session: AsyncSession, engine: AsyncEngine) -> None:
    document = Document(file=StorageFile.pending(b"old"))
    session.add(document)
    await session.commit()
    document.file = StorageFile.pending(b"new")
    await session.flush()
    await session.refresh(document)
    assert await document.file.read() == b"new"
    await session.commit()

    assert await read_contents(engine) == [b"new"]


async def test_expire_gives_up_what_is_pending(session: AsyncSession, engine: AsyncEngine) -> None:
    document = Document(file=StorageFile.pending(b"old"))
    session.add(document)
    await session.commit()
    document.file = StorageFile.pending(b"new")
    session.expire(document)
    await session.commit()

    assert await read_contents(engine) == [b"old"]


async def test_expire_after_the_flush(session: AsyncSession, engine: AsyncEngine) -> None:
    document = Document(file=StorageFile.pending(b"old"))
    session.add(document)
    await session.flush()
    session.expire_all()
    await session.commit()

    assert await read_contents(engine) == [b"old"]


async def test_expunge_before_the_flush(session: AsyncSession, engine: AsyncEngine) -> None:
    document = Document(file=StorageFile.pending(b"abc"))
    session.add(document)
    session.expunge(document)
    await session.commit()

    assert await read_contents(engine) == []


async def test_expunge_after_the_flush(session: AsyncSession, engine: AsyncEngine) -> None:
    for content in (b"first", b"second"):
        document = Document(file=StorageFile.pending(content))
        session.add(document)
        await session.flush()
        session.expunge(document)
        await (session.commit() if content == b"first" else session.rollback())

    assert await read_contents(engine) == [b"first"]


async def test_a_detached_object_in_another_session(
    make_session: MakeSession, engine: AsyncEngine
) -> None:
    document = await add_document(make_session)
    document.file = StorageFile.pending(b"new")
    async with make_session() as session:
        session.add(document)
        await session.flush()
        await session.rollback()
    assert await read_contents(engine) == [b"old"]

    async with make_session.begin() as session:
        session.add(document)
        document.file = StorageFile.pending(b"new")
    assert await read_contents(engine) == [b"new"]

    async with make_session.begin() as session:
        await session.delete(document)
    assert await read_contents(engine) == []


async def test_an_object_that_never_was_loaded(
    make_session: MakeSession, engine: AsyncEngine
) -> None:
    await add_document(make_session)
    document = Document(id=1)
    make_transient_to_detached(document)
    async with make_session.begin() as session:
        session.add(document)
        document.file = StorageFile.pending(b"new")
    assert await read_contents(engine) == [b"new"]

    document = Document(id=1)
    make_transient_to_detached(document)
    async with make_session.begin() as session:
        await session.delete(document)
    assert await read_contents(engine) == []


async def test_a_copy_of_a_row_holds_the_same_file(
    make_session: MakeSession, engine: AsyncEngine
) -> None:
    document = await add_document(make_session)
    make_transient(document)
    document.id = 2
    async with make_session.begin() as session:
        session.add(document)
    async with make_session.begin() as session:
        await session.delete(await session.get_one(Document, 1))
    assert await read_contents(engine) == [b"old"]

    async with make_session.begin() as session:
        await session.delete(await session.get_one(Document, 2))
    assert await read_contents(engine) == []


async def test_copies_of_a_fresh_handle(session: AsyncSession, engine: AsyncEngine) -> None:
    """Whoever has one of them hears that the file has found its keeper."""
    file = await save_upload(b"abc", storage)
    for copied in (copy.copy(file), copy.deepcopy(file)):
        session.add(Document(file=copied))
    await session.flush()
    assert not file._fresh
    await session.rollback()

    assert await read_contents(engine) == []


async def test_flush_of_some_objects(session: AsyncSession, engine: AsyncEngine) -> None:
    flushed = Document(file=StorageFile.pending(b"flushed"))
    waiting = Document(file=StorageFile.pending(b"waiting"))
    session.add_all([flushed, waiting])
    with pytest.deprecated_call():
        await session.flush([flushed])
    assert list((await read_files()).values()) == [b"flushed"]
    await session.commit()

    assert await read_contents(engine) == [b"flushed", b"waiting"]


async def test_autoflush(session: AsyncSession, engine: AsyncEngine) -> None:
    session.add(Document(file=StorageFile.pending(b"abc")))
    [document] = (await session.scalars(select(Document))).all()
    assert type(document.file) is StorageFile
    await session.rollback()

    assert await read_contents(engine) == []


async def test_without_autobegin(engine: AsyncEngine) -> None:
    make_session = track_files(async_sessionmaker(engine, autobegin=False))
    async with make_session() as session:
        with pytest.raises(InvalidRequestError, match="Autobegin"):
            session.add(Document(file=StorageFile.pending(b"abc")))
        async with session.begin():
            session.add(Document(file=StorageFile.pending(b"abc")))

    assert await read_contents(engine) == [b"abc"]


async def test_without_expiring_on_commit(engine: AsyncEngine) -> None:
    make_session = track_files(async_sessionmaker(engine, expire_on_commit=False))
    async with make_session() as session:
        document = Document(file=StorageFile.pending(b"old", filename="a.txt"))
        session.add(document)
        await session.commit()
        assert document.file is not None
        assert document.file.info is not None
        assert document.file.info.filename == "a.txt"
        document.file = StorageFile.pending(b"new")
        await session.commit()

    assert await read_contents(engine) == [b"new"]


async def test_a_session_without_files_costs_no_query(
    make_session: MakeSession, engine: AsyncEngine
) -> None:
    """Nor does one that only adds them: what is new is in no other row."""
    await add_document(make_session)
    statements: list[str] = []

    def record(conn: object, cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            statements.append(statement.partition(" ")[0])

    event.listen(engine.sync_engine, "before_cursor_execute", record)
    try:
        async with make_session.begin() as session:
            session.add(Folder(id=1))
            session.add(Attachment(file=StorageFile.pending(b"a")))
            await session.flush()
            session.expunge_all()
            session.add(Attachment(file=StorageFile.pending(b"b")))
            session.add(Attachment(file=await save_upload(b"c", storage)))
            (await session.get_one(Document, 1)).title = "changed"
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", record)

    assert sorted(set(statements)) == ["INSERT", "SELECT", "UPDATE"]
    assert statements.count("SELECT") == 1


async def test_what_unloaded_objects_held_is_read_in_one_query(
    make_session: MakeSession, engine: AsyncEngine
) -> None:
    async with make_session() as session:
        documents = [Document(file=StorageFile.pending(b"%d" % i)) for i in range(20)]
        session.add_all(documents)
        await session.commit()
        keys = [inspect(document).identity for document in documents]
        assert len(set(keys)) == 20
        queries: list[str] = []

        def record(conn: object, cursor: object, statement: str, *_: object) -> None:
            # Those for all columns are SQLAlchemy's own, which loads what it expired.
            if statement.startswith("SELECT") and "documents.title" not in statement:
                queries.append(statement)

        event.listen(engine.sync_engine, "before_cursor_execute", record)
        try:
            for document in documents:
                document.file = StorageFile.pending(b"new")
            await session.flush()
            assert len(queries) == 1
            await session.commit()
        finally:
            event.remove(engine.sync_engine, "before_cursor_execute", record)

    # And one for each column of the storage, to look for other rows.
    assert len(queries) <= 12
    assert await read_contents(engine) == [b"new"] * 20


@pytest.mark.parametrize("deleted", [(1,), (1, 2)])
async def test_a_name_that_another_program_has_decomposed(
    make_session: MakeSession, deleted: tuple[int, ...]
) -> None:
    """Handles compose it, so all rows have the same file."""
    await storage.upload(b"x", "caf\u00e9.txt")
    async with make_session.begin() as session:
        session.add(Document(id=1, file="caf\u00e9.txt"))
        query = text("INSERT INTO documents (id, title, file) VALUES (:key, '', :name)")
        for key in (2, 3):
            await session.execute(query, {"key": key, "name": "cafe\u0301.txt"})
    async with make_session.begin() as session:
        for key in deleted:
            await session.delete(await session.get_one(Document, key))
    async with make_session() as session:
        document = await session.get_one(Document, 3)
        assert document.file is not None
        assert await document.file.read() == b"x"


async def test_closed_while_another_task_commits(session: AsyncSession) -> None:
    """SQLAlchemy refuses that, in one error."""
    is_flushing = asyncio.Event()
    event.listen(session.sync_session, "before_flush", lambda *_: is_flushing.set())
    session.add(Document(file=StorageFile.pending(b"x")))
    commit = asyncio.create_task(session.commit())
    await is_flushing.wait()
    with pytest.raises(IllegalStateChangeError) as refused:
        await session.close()
    assert refused.value.__context__ is None
    await asyncio.wait([commit])
    assert isinstance(commit.exception(), ResourceClosedError | IllegalStateChangeError)


@pytest.mark.parametrize("verb", ["close", "rollback", "commit"])
def test_a_transaction_that_used_nothing_ends_without_a_loop(verb: str) -> None:
    """As that of any AsyncSession does."""
    make_session = track_files(async_sessionmaker())
    session = make_session()
    session.sync_session.begin()
    getattr(session.sync_session, verb)()
    assert not session.in_transaction()
