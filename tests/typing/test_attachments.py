"""What mypy --strict makes of columns that keep what is known about files."""

from typing import assert_type

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlmodel import Field, SQLModel

from fastapi_async_storages import FileOut, MemoryStorage, StorageFile, StorageImage, file_out
from fastapi_async_storages.integrations.sqlalchemy import (
    AttachmentListType,
    AttachmentType,
    FileType,
    SweepReport,
    sweep,
    verify,
)
from fastapi_async_storages.integrations.sqlalchemy.defects import Fault

storage = MemoryStorage()


class Base(DeclarativeBase):
    pass


class Album(Base):
    __tablename__ = "typed_albums"

    id: Mapped[int] = mapped_column(primary_key=True)
    cover: Mapped[StorageImage | None] = mapped_column(AttachmentType(storage, image=True))
    photos: Mapped[list[StorageImage]] = mapped_column(AttachmentListType(storage, image=True))


# SQLModel has one metadata for all: the documentation has an Invoice, and its code runs too.
class TypedInvoice(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    file: StorageFile | None = Field(default=None, sa_type=FileType(storage))


def test_attributes() -> None:
    album = Album(cover=StorageImage.pending(b""), photos=[StorageImage(storage, "a.png")])

    assert_type(album.cover, StorageImage | None)
    assert_type(album.photos, list[StorageImage])
    album.photos.append(StorageImage.pending(b""))
    album.photos = [StorageImage(storage, "b.png")]
    assert_type(TypedInvoice(file=StorageFile(storage, "a.txt")).file, StorageFile | None)


async def clean(make_session: async_sessionmaker[AsyncSession]) -> None:
    assert_type(await sweep(make_session, storage, Base), SweepReport)
    async for defect in verify(make_session, storage, [Album, TypedInvoice]):
        assert_type(defect.fault, Fault)


async def show(file: StorageFile, image: StorageImage | None) -> None:
    assert_type(await file_out(file), FileOut)
    assert_type(await file_out(image), FileOut | None)
