"""A flush that fails, of a transaction that the app commits all the same."""

from collections.abc import AsyncIterator
from typing import TypeAlias

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_async_storages import MemoryStorage, StorageFile, UploadRules, save_upload
from fastapi_async_storages.exceptions import FileTooLargeError
from fastapi_async_storages.integrations.sqlalchemy import FileType
from tests.integrations.sqlalchemy.databases import create_tables

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]


class Named(MemoryStorage):
    """Not taken for another one: two storages that are written the same may be the same place."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def __repr__(self) -> str:
        return f"Named({self._name!r})"


avatars = Named("avatars")
documents = Named("documents")


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    avatar: Mapped[StorageFile | None] = mapped_column(
        FileType(avatars, rules=UploadRules(max_size=10))
    )


users = Base.metadata.tables["users"]


class Report(Base):
    __tablename__ = "reports"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[StorageFile | None] = mapped_column(FileType(documents))


@pytest.fixture(autouse=True)
async def _tables(engine: AsyncEngine) -> AsyncIterator[None]:
    await create_tables(engine, Base.metadata)
    yield
    for storage in (avatars, documents):
        await storage.delete_many([info.name async for info in storage.list()])


async def read_all(storage: MemoryStorage) -> list[bytes]:
    return [await StorageFile(storage, info.name).read() async for info in storage.list()]


async def read_avatar(make_session: MakeSession) -> bytes:
    async with make_session() as session:
        user = await session.get_one(User, 1)
        assert user.avatar is not None
        return await user.avatar.read()


async def fail_to_flush(session: AsyncSession) -> None:
    with pytest.raises(FileTooLargeError):
        await session.flush()


@pytest.mark.parametrize("how", ["replace", "expired", "bulk"])
async def test_what_it_would_have_replaced_stays(make_session: MakeSession, how: str) -> None:
    async with make_session.begin() as session:
        session.add(User(id=1, avatar=StorageFile.pending(b"face")))
    async with make_session.begin() as session:
        # Their storage is another one: that of the avatars was not looked at before the failure.
        session.add(Report(id=1, file=StorageFile.pending(b"contract")))
        await session.flush()
        user = await session.get_one(User, 1)
        if how == "expired":
            session.expire(user)
        user.avatar = StorageFile.pending(b"far too large for an avatar")
        await fail_to_flush(session)
        await session.refresh(user)
        if how == "bulk":
            await session.execute(insert(Report).values(id=2))

    assert await read_avatar(make_session) == b"face"
    assert await read_all(documents) == [b"contract"]


@pytest.mark.parametrize("has_other_files", [False, True])
async def test_what_it_took_over_is_deleted(
    make_session: MakeSession, *, has_other_files: bool
) -> None:
    """Nobody else does it: the handle is fresh no more."""
    fresh = await save_upload(b"good", avatars)
    async with make_session.begin() as session:
        if has_other_files:
            session.add(Report(id=1, file=StorageFile.pending(b"contract")))
            await session.flush()
        users = [User(avatar=fresh), User(avatar=StorageFile.pending(b"far too large for it"))]
        session.add_all(users)
        await fail_to_flush(session)
        for user in users:
            session.expunge(user)

    assert await read_all(avatars) == []
    assert await read_all(documents) == [b"contract"] * has_other_files


async def test_what_it_took_over_is_in_a_row_by_then(make_session: MakeSession) -> None:
    fresh = await save_upload(b"good", avatars)
    async with make_session.begin() as session:
        session.add_all(
            [User(avatar=fresh), User(avatar=StorageFile.pending(b"far too large for it"))]
        )
        await fail_to_flush(session)
        session.expunge_all()
        # A statement of Core, which nobody tracks.
        await session.execute(insert(users).values(id=1, avatar=fresh.name))

    assert await read_avatar(make_session) == b"good"
