"""A process that changes rows with files, and kills itself (``SIGKILL``) at one step of it.

Run as ``python -m tests.integrations.sqlalchemy.crashing STEP`` with a description of the database
and the storage, as JSON, on standard input.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from fastapi_async_storages import LocalStorage, S3Storage, Storage, StorageFile
from fastapi_async_storages.exceptions import StorageError
from fastapi_async_storages.integrations.sqlalchemy import (
    AttachmentListType,
    FileType,
    track_files,
)
from fastapi_async_storages.testing.faults import Fault, FaultyStorage

__all__ = ["STEPS", "change", "make_models", "make_storage"]


Step: TypeAlias = Callable[[FaultyStorage, AsyncEngine], None]
"""Makes the process crash when it comes to the step."""


def crash(*_: object) -> None:
    """Die at once: no ``finally``, no ``except``, no closing of anything."""
    os.kill(os.getpid(), signal.SIGKILL)


class Crash(Fault):
    """Crashes before a call, or in its body."""

    async def happen(self, storage: Storage, name: str, chunk: bytes) -> bytes:
        crash()
        raise AssertionError("unreachable")


class CrashAfter(Fault):
    """Crashes when so many calls of a verb have succeeded."""

    def __init__(self, verb: Any, calls: int) -> None:
        super().__init__(verb, times=None)
        self.calls = calls

    async def happen(self, storage: Storage, name: str, chunk: bytes) -> bytes:
        return chunk

    async def after(self, storage: Storage, name: str) -> None:
        self.calls -= 1
        if self.calls == 0:
            crash()


def crash_at(
    statement: str, moment: str = "before"
) -> Callable[[FaultyStorage, AsyncEngine], None]:
    """Crash before or after the first statement of a kind."""

    def listen(storage: FaultyStorage, engine: AsyncEngine) -> None:
        def execute(connection: Any, cursor: Any, text: str, *_: Any) -> None:
            if text.startswith(statement):
                crash()

        event.listen(engine.sync_engine, f"{moment}_cursor_execute", execute)

    return listen


def crash_by(fault: Fault) -> Step:
    return lambda storage, engine: storage.plan.append(fault)


def crash_amid_deletes(storage: FaultyStorage, engine: AsyncEngine) -> None:
    """Crash when the storage has deleted the first of many files."""
    inner = storage.inner

    async def delete_first(names: Sequence[str]) -> dict[str, StorageError]:
        await inner.delete(names[0])
        crash()
        return {}

    inner._delete_many = delete_first  # type: ignore[method-assign]


STEPS: dict[str, Step] = {
    "before the uploads": crash_by(Crash("upload")),
    "amid an upload": crash_by(Crash("upload", at=100_000)),
    "after one upload": crash_by(CrashAfter("upload", 1)),
    "before the INSERT": crash_at("INSERT"),
    "after the INSERT": crash_at("INSERT", "after"),
    "before the UPDATE": crash_at("UPDATE"),
    "after the DELETE": crash_at("DELETE", "after"),
    "before the COMMIT": lambda _, engine: event.listen(engine.sync_engine, "commit", crash),
    "after the COMMIT": lambda *_: event.listen(Session, "after_commit", crash),
    "amid the clean-up": crash_amid_deletes,
    "after the clean-up": crash_by(CrashAfter("delete_many", 3)),
    "never": lambda *_: None,
}
"""Where the process dies."""


def make_models(storage: Storage) -> tuple[type[DeclarativeBase], type[Any], type[Any]]:
    """Make the models of a storage: a base, documents with one file, and albums with many."""

    class Base(DeclarativeBase):
        pass

    class Document(Base):
        __tablename__ = "crash_documents"

        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[StorageFile] = mapped_column(FileType(storage))

    class Album(Base):
        __tablename__ = "crash_albums"

        id: Mapped[int] = mapped_column(primary_key=True)
        photos: Mapped[list[StorageFile]] = mapped_column(AttachmentListType(storage))

    return Base, Document, Album


def make_storage(description: dict[str, Any]) -> Storage:
    """Make a storage of its arguments; one that has a ``root`` is local."""
    if "root" in description:
        return LocalStorage(**description)
    return S3Storage(**description)


def change(content: str) -> bytes:
    """Return content of several chunks."""
    return content.encode() * 100_000


async def run(step: str, database: dict[str, Any], storage: FaultyStorage) -> None:
    engine = create_async_engine(**database)
    make_session = track_files(async_sessionmaker(engine))
    _, document_class, album_class = make_models(storage)
    async with storage:
        STEPS[step](storage, engine)
        async with make_session.begin() as session:
            replaced = await session.get_one(document_class, 2)
            deleted = await session.get_one(document_class, 3)
            album = await session.get_one(album_class, 1)
            # All of it in one flush, which comes with the COMMIT.
            session.add(document_class(id=4, file=StorageFile.pending(change("new"))))
            replaced.file = StorageFile.pending(change("two"))
            album.photos.pop(0)
            album.photos.append(StorageFile.pending(change("c")))
            await session.delete(deleted)
    await engine.dispose()


if __name__ == "__main__":
    described = json.load(sys.stdin)
    faulty = FaultyStorage(make_storage(described["storage"]))
    asyncio.run(run(sys.argv[1], described["database"], faulty))
