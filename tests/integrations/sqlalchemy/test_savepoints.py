"""SAVEPOINTs, which must be real ones: released, rolled back, nested, and what is in them."""

from typing import TypeAlias

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from fastapi_async_storages import StorageFile, save_upload
from tests.integrations.sqlalchemy.models import Document, storage
from tests.integrations.sqlalchemy.state import read_contents, read_files

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]


def make_document(content: bytes, **values: str) -> Document:
    return Document(file=StorageFile.pending(content), **values)


async def get_document(session: AsyncSession) -> Document:
    return (await session.scalars(select(Document))).one()


async def test_released_then_committed(session: AsyncSession, engine: AsyncEngine) -> None:
    async with session.begin_nested():
        session.add(make_document(b"abc"))
    await session.commit()

    assert await read_contents(engine) == [b"abc"]


async def test_released_then_rolled_back(session: AsyncSession, engine: AsyncEngine) -> None:
    async with session.begin_nested():
        session.add(make_document(b"abc"))
    assert len(await read_files()) == 1
    await session.rollback()

    assert await read_contents(engine) == []


async def test_rolled_back_then_committed(session: AsyncSession, engine: AsyncEngine) -> None:
    session.add(make_document(b"outer"))
    savepoint = await session.begin_nested()
    session.add(make_document(b"inner"))
    await session.flush()
    await savepoint.rollback()
    await session.commit()

    assert await read_contents(engine) == [b"outer"]


async def test_replaced_in_one_that_is_rolled_back(
    session: AsyncSession, engine: AsyncEngine
) -> None:
    document = make_document(b"old")
    session.add(document)
    await session.commit()
    savepoint = await session.begin_nested()
    document.file = StorageFile.pending(b"new")
    await session.flush()
    await savepoint.rollback()
    await session.commit()
    assert await read_contents(engine) == [b"old"]

    async with session.begin_nested():
        document.file = StorageFile.pending(b"new")
    await session.rollback()
    assert await read_contents(engine) == [b"old"]

    async with session.begin_nested():
        document.file = StorageFile.pending(b"new")
    await session.commit()
    assert await read_contents(engine) == [b"new"]


async def test_deleted_in_one_that_is_rolled_back(
    session: AsyncSession, engine: AsyncEngine
) -> None:
    document = make_document(b"abc")
    session.add(document)
    await session.commit()
    savepoint = await session.begin_nested()
    await session.delete(document)
    await session.flush()
    await savepoint.rollback()
    await session.commit()

    assert await read_contents(engine) == [b"abc"]


async def test_three_deep(session: AsyncSession, engine: AsyncEngine) -> None:
    session.add(make_document(b"0"))
    async with session.begin_nested():
        session.add(make_document(b"1"))
        second = await session.begin_nested()
        session.add(make_document(b"2"))
        async with session.begin_nested():
            session.add(make_document(b"3"))
        await second.rollback()
        async with session.begin_nested():
            session.add(make_document(b"4"))
            third = await session.begin_nested()
            session.add(make_document(b"5"))
            await session.flush()
            await third.rollback()
    await session.commit()

    assert await read_contents(engine) == [b"0", b"1", b"4"]


async def test_close_within_three(make_session: MakeSession, engine: AsyncEngine) -> None:
    async with make_session() as session:
        for depth in range(3):
            _ = await session.begin_nested()
            session.add(make_document(b"%d" % depth))
        await session.flush()
        assert len(await read_files()) == 3

    assert await read_contents(engine) == []


async def test_commit_within_three(session: AsyncSession, engine: AsyncEngine) -> None:
    for depth in range(3):
        _ = await session.begin_nested()
        session.add(make_document(b"%d" % depth))
    await session.commit()

    assert await read_contents(engine) == [b"0", b"1", b"2"]


async def test_the_outermost_one_is_committed_around_an_open_one(
    make_session: MakeSession, engine: AsyncEngine
) -> None:
    async with make_session() as session:
        session.add(Document(id=1, file=StorageFile.pending(b"old")))
        await session.commit()
        async with session.begin():
            document = await get_document(session)
            _ = await session.begin_nested()
            document.file = StorageFile.pending(b"new")

    assert await read_contents(engine) == [b"new"]


async def test_what_was_pending_before_is_in_the_outer_one(
    session: AsyncSession, engine: AsyncEngine
) -> None:
    session.add(make_document(b"outer"))
    savepoint = await session.begin_nested()
    await savepoint.rollback()
    await session.commit()

    assert await read_contents(engine) == [b"outer"]


async def test_the_same_object_once_more(session: AsyncSession, engine: AsyncEngine) -> None:
    """What a slug that is taken makes one do. The file is still there, and stays."""
    session.add(make_document(b"first", slug="a"))
    await session.flush()
    document = make_document(b"second", slug="a")
    with pytest.raises(IntegrityError):
        async with session.begin_nested():
            session.add(document)
    document.slug = "b"
    session.add(document)
    await session.commit()

    assert await read_contents(engine) == [b"first", b"second"]


async def test_the_same_object_once_more_and_rolled_back(
    session: AsyncSession, engine: AsyncEngine
) -> None:
    document = Document(file=await save_upload(b"abc", storage))
    savepoint = await session.begin_nested()
    session.add(document)
    await session.flush()
    await savepoint.rollback()
    session.add(document)
    await session.flush()
    await session.rollback()

    assert await read_contents(engine) == []


async def test_a_flush_that_fails_in_one(session: AsyncSession, engine: AsyncEngine) -> None:
    session.add(make_document(b"first", slug="a"))
    await session.flush()

    async def fail() -> None:
        async with session.begin_nested():
            session.add(make_document(b"other", slug="a"))
            await session.flush()

    for _ in range(3):
        with pytest.raises(IntegrityError):
            await fail()
    await session.commit()

    assert await read_contents(engine) == [b"first"]


async def test_many_in_a_row(session: AsyncSession, engine: AsyncEngine) -> None:
    document = make_document(b"0")
    session.add(document)
    await session.commit()
    for number in range(1, 12):
        savepoint = await session.begin_nested()
        document.file = StorageFile.pending(b"%d" % number)
        await session.flush()
        await (savepoint.commit() if number % 3 else savepoint.rollback())
    await session.commit()

    assert await read_contents(engine) == [b"11"]
