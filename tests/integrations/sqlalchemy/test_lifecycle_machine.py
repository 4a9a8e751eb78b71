"""Random transactions: whatever happens, no row loses its file, and no file is without a row."""

import asyncio
import itertools
from collections.abc import Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    AsyncSessionTransaction,
    async_sessionmaker,
)

from fastapi_async_storages import StorageFile, save_upload
from fastapi_async_storages.exceptions import BackendUnavailableError
from fastapi_async_storages.integrations.sqlalchemy import track_files
from fastapi_async_storages.testing.faults import Fail
from tests.integrations.sqlalchemy.databases import open_postgresql, open_sqlite
from tests.integrations.sqlalchemy.models import Attachment, Document, storage
from tests.integrations.sqlalchemy.state import read_contents, read_files, read_names

T = TypeVar("T")

PICK = st.integers(0, 1000)
"""Which of the objects there are."""


class Transactions(RuleBasedStateMachine):
    """One session, in a loop of its own, on an empty database.

    What the rows should hold is not modelled: it is read from the database. So each content is
    another one, and the model knows which contents a committed row has held.
    """

    postgres_url: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.contents = itertools.count(1)
        self.objects: list[Document | Attachment] = []
        self.savepoints: list[AsyncSessionTransaction] = []
        self.directory = TemporaryDirectory()
        self.run(self.open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self) -> None:
        self.database = (
            open_sqlite(Path(self.directory.name))
            if self.postgres_url is None
            else open_postgresql(self.postgres_url)
        )
        self.engine: AsyncEngine = await self.database.__aenter__()
        self.session: AsyncSession = track_files(async_sessionmaker(self.engine))()

    def teardown(self) -> None:
        async def close() -> None:
            await self.session.close()
            try:
                await self.check()
            finally:
                storage.plan.clear()
                storage.inner._files.clear()  # type: ignore[attr-defined]
                await self.database.__aexit__(None, None, None)

        self.run(close())
        self.runner.close()
        self.directory.cleanup()

    async def check(self) -> None:
        """After each outermost transaction: rows and files belong together, byte for byte."""
        await read_contents(self.engine)
        files = await read_files()
        for name in await read_names(self.engine):
            info = await storage.inner.get_info(name)
            assert info.filename == files[name].decode(), "another file has its name"

    def make_content(self) -> StorageFile:
        content = str(next(self.contents))
        return StorageFile.pending(content.encode(), filename=content)

    async def end(self) -> None:
        self.savepoints.clear()
        await self.check()
        # What is gone with the transaction is nothing to work with.
        self.objects = [*(await self.session.scalars(select(Document))).all()]
        self.objects += (await self.session.scalars(select(Attachment))).all()

    async def flush(self) -> None:
        await self.session.flush()

    def pick(self, number: int) -> Document | Attachment | None:
        live = [one for one in self.objects if one in self.session]
        return live[number % len(live)] if live else None

    @initialize(is_big=st.booleans())
    def begin(self, is_big: bool) -> None:
        async def add() -> None:
            for _ in range(5 if is_big else 1):
                self.objects.append(Document(file=self.make_content()))
            self.session.add_all(self.objects)
            await self.session.commit()
            await self.end()

        self.run(add())

    @rule(is_fresh=st.booleans(), is_flushed=st.booleans(), kind=st.sampled_from("da"))
    def add(self, is_fresh: bool, is_flushed: bool, kind: str) -> None:
        async def add() -> None:
            file = self.make_content()
            if is_fresh:
                content: Any = file
                file = await save_upload(content.content, storage, filename=content.filename)
            one = Document(file=file) if kind == "d" else Attachment(file=file)
            self.session.add(one)
            self.objects.append(one)
            # One that no flush sees is its uploader's to delete.
            if is_flushed or is_fresh:
                await self.flush()

        self.run(add())

    @rule(number=PICK, is_expired=st.booleans(), is_flushed=st.booleans())
    def replace(self, number: int, is_expired: bool, is_flushed: bool) -> None:
        async def replace() -> None:
            one = self.pick(number)
            if one is None:
                return
            if is_expired:
                await self.flush()
                self.session.expire(one)
            one.file = self.make_content()
            if is_flushed:
                await self.flush()

        self.run(replace())

    @rule(number=PICK, other=PICK)
    def share(self, number: int, other: int) -> None:
        """One row gets the file of another one, which may be its own."""

        async def share() -> None:
            await self.flush()
            one, two = self.pick(number), self.pick(other)
            if one is None or two is None:
                return
            await self.session.refresh(two, ["file"])
            one.file = two.file

        self.run(share())

    @rule(number=PICK, is_deleted=st.booleans(), kind=st.sampled_from("da"))
    def let_go_of_one_of_two(self, number: int, is_deleted: bool, kind: str) -> None:
        """A row lets go of a file that another row, maybe of another table, has got from it."""

        async def work() -> None:
            await self.flush()
            one = self.pick(number)
            if one is None:
                return
            await self.session.refresh(one, ["file"])
            two = Document(file=one.file) if kind == "d" else Attachment(file=one.file)
            self.session.add(two)
            self.objects.append(two)
            await self.flush()
            if is_deleted:
                await self.session.delete(one)
                self.objects.remove(one)
            else:
                one.file = self.make_content()

        self.run(work())

    @rule(number=PICK)
    def clear(self, number: int) -> None:
        one = self.pick(number)
        if one is not None:
            one.file = None

    @rule(number=PICK, is_expired=st.booleans(), is_flushed=st.booleans())
    def delete(self, number: int, is_expired: bool, is_flushed: bool) -> None:
        async def work() -> None:
            await self.flush()
            one = self.pick(number)
            if one is None:
                return
            if is_expired:
                self.session.expire(one)
            await self.session.delete(one)
            self.objects.remove(one)
            if is_flushed:
                await self.flush()

        self.run(work())

    @rule(number=PICK)
    def expunge_and_add_again(self, number: int) -> None:
        async def work() -> None:
            await self.flush()
            one = self.pick(number)
            if one is not None:
                self.session.expunge(one)
                self.session.add(one)

        self.run(work())

    @rule(modulo=st.integers(1, 3))
    def delete_in_bulk(self, modulo: int) -> None:
        async def work() -> None:
            await self.session.execute(delete(Document).where(Document.id % modulo == 0))
            self.session.expire_all()
            self.objects = [*(await self.session.scalars(select(Document))).all()]
            self.objects += (await self.session.scalars(select(Attachment))).all()

        self.run(work())

    @rule(modulo=st.integers(1, 3), is_null=st.booleans())
    def update_in_bulk(self, modulo: int, is_null: bool) -> None:
        async def work() -> None:
            content: Any = self.make_content()
            file = None
            if not is_null:
                file = await save_upload(content.content, storage, filename=content.filename)
            await self.session.execute(
                update(Attachment).where(Attachment.id % modulo == 0).values(file=file)
            )

        self.run(work())

    @precondition(lambda self: len(self.savepoints) < 4)
    @rule()
    def begin_savepoint(self) -> None:
        async def work() -> None:
            self.savepoints.append(await self.session.begin_nested())

        self.run(work())

    @precondition(lambda self: self.savepoints)
    @rule(is_released=st.booleans())
    def end_savepoint(self, is_released: bool) -> None:
        async def work() -> None:
            savepoint = self.savepoints.pop()
            await (savepoint.commit() if is_released else savepoint.rollback())
            # What was rolled back is nowhere; the objects may be added once more.
            self.objects = [one for one in self.objects if one in self.session]

        self.run(work())

    @precondition(lambda self: self.savepoints)
    @rule()
    def roll_back_and_add_again(self) -> None:
        async def work() -> None:
            await self.flush()
            before = [one for one in self.objects if one in self.session]
            await self.savepoints.pop().rollback()
            for one in before:
                if one not in self.session and one.__dict__.get("file") is not None:
                    # A row of this key may be there again, and the database chooses another one.
                    kind = type(one)
                    again = kind(file=one.__dict__["file"])
                    self.session.add(again)
                    self.objects.append(again)
            self.objects = [one for one in self.objects if one in self.session]

        self.run(work())

    @rule()
    def upload_that_fails(self) -> None:
        async def work() -> None:
            await self.flush()
            # Of the last one, the storage takes some bytes before it fails; the others are there.
            long = StorageFile.pending(b"x" * 100, filename="long")
            contents = [self.make_content(), self.make_content(), long]
            documents = [Document(file=content) for content in contents]
            storage.plan.append(Fail("upload", times=1, at=50))
            self.session.add_all(documents)
            try:
                with pytest.raises(BackendUnavailableError):
                    await self.flush()
            finally:
                storage.plan.clear()
            for document in documents:
                self.session.expunge(document)

        self.run(work())

    @rule()
    def commit(self) -> None:
        async def work() -> None:
            await self.session.commit()
            await self.end()

        self.run(work())

    @rule(is_closed=st.booleans())
    def roll_back(self, is_closed: bool) -> None:
        async def work() -> None:
            await (self.session.close() if is_closed else self.session.rollback())
            await self.end()

        self.run(work())

    @rule(is_closed=st.booleans())
    def commit_that_is_refused(self, is_closed: bool) -> None:
        """A key of a folder that is not there, which the database sees at the COMMIT."""

        async def work() -> None:
            self.session.add(Document(folder_id=77, file=self.make_content()))
            with pytest.raises(IntegrityError):
                await self.session.commit()
            await (self.session.close() if is_closed else self.session.rollback())
            await self.end()

        self.run(work())

    @rule()
    def flush_that_is_refused(self) -> None:
        """A slug that is taken: the flush rolls back the innermost transaction."""

        async def work() -> None:
            self.session.add_all(Document(slug="a", file=self.make_content()) for _ in range(2))
            with pytest.raises(IntegrityError):
                await self.flush()
            if self.savepoints:
                await self.savepoints.pop().rollback()
                self.objects = [one for one in self.objects if one in self.session]
            else:
                await self.session.rollback()
                await self.end()

        self.run(work())

    @rule(is_committed=st.booleans())
    def cancelled_flush(self, is_committed: bool) -> None:
        """The task that flushes is cancelled while it stores; the session is closed."""

        async def work() -> None:
            self.session.add_all([Document(file=self.make_content()) for _ in range(3)])
            task = asyncio.create_task(
                self.session.commit() if is_committed else self.session.flush()
            )
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await self.session.close()
            await self.end()

        self.run(work())


def run_machine(machine: type[Transactions], *, examples: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_sqlite() -> None:
    run_machine(Transactions, examples=40, steps=25)


def test_postgresql(postgres_url: str) -> None:
    machine = type("PostgresqlTransactions", (Transactions,), {"postgres_url": postgres_url})
    run_machine(machine, examples=15, steps=25)
