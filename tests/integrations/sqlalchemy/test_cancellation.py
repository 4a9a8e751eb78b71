"""A task that is cancelled wherever a transaction waits: no row loses its file, no file its row."""

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from typing import Any, TypeAlias

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from fastapi_async_storages import StorageFile
from fastapi_async_storages.testing.contract._cancellation import cancel_at
from fastapi_async_storages.testing.faults import Pause
from tests.integrations.sqlalchemy.models import Document, storage
from tests.integrations.sqlalchemy.state import read_contents, read_files, read_names

pytestmark = [
    pytest.mark.anyio,
    # SQLAlchemy throws a connection away whose closing was cancelled, and aiosqlite warns of it.
    pytest.mark.filterwarnings("ignore:<aiosqlite:ResourceWarning"),
]

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]
Work: TypeAlias = Callable[[AsyncSession], Coroutine[Any, Any, None]]

MOST_STEPS = 500
"""More than any of the transactions here waits."""


@pytest.fixture(autouse=True)
def connections_end_here() -> Iterator[None]:
    yield
    gc.collect()  # Here, where the warning is ignored.


async def add(session: AsyncSession) -> None:
    session.add(Document(file=StorageFile.pending(b"new")))
    await session.flush()


async def roll_back(session: AsyncSession) -> None:
    await add(session)
    await session.rollback()


async def close(session: AsyncSession) -> None:
    try:
        await add(session)
    finally:
        await session.close()


async def reset(session: AsyncSession) -> None:
    try:
        await add(session)
    finally:
        await session.reset()


async def invalidate(session: AsyncSession) -> None:
    try:
        await add(session)
    finally:
        await session.invalidate()


async def close_with_savepoints(session: AsyncSession) -> None:
    try:
        await add(session)
        for _ in range(2):
            _ = await session.begin_nested()
            await add(session)
    finally:
        await session.close()


async def roll_back_savepoint(session: AsyncSession) -> None:
    await add(session)
    savepoint = await session.begin_nested()
    await add(session)
    await savepoint.rollback()
    await session.rollback()


async def raise_in_block(session: AsyncSession) -> None:
    try:
        async with session.begin():
            await add(session)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass


@pytest.mark.parametrize(
    "work",
    [
        roll_back,
        close,
        reset,
        invalidate,
        close_with_savepoints,
        roll_back_savepoint,
        raise_in_block,
    ],
)
async def test_without_a_commit_nothing_stays(
    work: Work, make_session: MakeSession, engine: AsyncEngine
) -> None:
    for step in count():
        assert step < MOST_STEPS
        session = make_session()
        is_whole = await cancel_at(step, work(session))
        if work not in (close, reset, invalidate, close_with_savepoints):
            await session.close()
        assert await read_contents(engine) == [], step
        if is_whole:
            break
    assert step > 5


async def test_a_replacement_is_done_or_not(
    make_session: MakeSession, engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Only when nobody knows about the COMMIT, a file is left over, and the log says so."""
    unknown = 0
    for step in count():
        assert step < MOST_STEPS
        storage.inner._files.clear()  # type: ignore[attr-defined]
        async with make_session.begin() as session:
            session.add(Document(id=1, file=StorageFile.pending(b"old")))
        caplog.clear()

        async def replace() -> None:
            async with make_session() as session:
                (await session.get_one(Document, 1)).file = StorageFile.pending(b"new")
                await session.commit()

        with caplog.at_level(logging.WARNING, "fastapi_async_storages"):
            is_whole = await cancel_at(step, replace())
        if "Nobody knows" in caplog.text:
            unknown += 1
            names, files = await read_names(engine), await read_files()
            assert sorted(files.values()) == [b"new", b"old"]
            assert files.keys() >= set(names)
        else:
            assert await read_contents(engine) in ([b"old"], [b"new"]), step
        # SQLite's lock is held until the cursor of a cancelled statement is gone. What was logged
        # has a traceback, and so the cursor.
        caplog.clear()
        gc.collect(1)
        async with make_session.begin() as session:
            await session.delete(await session.get_one(Document, 1))
        if is_whole:
            break
    assert 1 <= unknown < step


async def test_a_session_that_is_used_again(make_session: MakeSession, engine: AsyncEngine) -> None:
    """The end of its next transaction is the end of one whose own end was cut short."""
    for step in count():
        assert step < MOST_STEPS
        session = make_session()
        is_whole = await cancel_at(step, raise_in_block(session))
        async with session.begin():
            await add(session)
        assert await read_contents(engine) == [b"new"], step
        for document in await session.run_sync(lambda sync: sync.query(Document).all()):
            await session.delete(document)
        await session.commit()
        await session.close()
        if is_whole:
            break


async def test_two_ends_at_once_of_which_the_first_is_cancelled(
    make_session: MakeSession, engine: AsyncEngine
) -> None:
    """An end that was cut short, and the one of the next transaction: both come to their ends."""
    async with make_session.begin() as session:
        session.add_all(Document(id=key, file=StorageFile.pending(b"old")) for key in (1, 2))
    pause = Pause("delete_many")
    resets = 0

    def cut_short(*_: object) -> None:
        nonlocal resets
        resets += 1
        if resets == 1:  # While the connection is given back.
            task.cancel()

    async def work() -> None:
        async with make_session() as session:
            (await session.get_one(Document, 1)).file = StorageFile.pending(b"new")
            await session.flush()
            event.listen(engine.sync_engine.pool, "reset", cut_short)
            with pytest.raises(asyncio.CancelledError):
                await session.commit()
            task.uncancel()
            storage.plan.append(pause)
            (await session.get_one(Document, 2)).file = StorageFile.pending(b"new")
            await session.commit()

    task = asyncio.create_task(work())
    await pause.reached()
    task.cancel()
    pause.resume()
    with pytest.raises(asyncio.CancelledError):
        await task
    event.remove(engine.sync_engine.pool, "reset", cut_short)
    assert await read_contents(engine) == [b"new", b"new"]


async def test_a_session_that_is_thrown_away(
    make_session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is left who could wait for a clean-up; the log says what it left."""

    async def work() -> None:
        session = make_session()
        await add(session)
        # Its connection goes back, which is all that SQLAlchemy wants.
        connection = await session.connection()
        await connection.close()

    await work()
    gc.collect()
    assert "A session was never closed: 1 files that it stored" in caplog.text
