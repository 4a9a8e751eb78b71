"""What mypy --strict makes of models with files; it is what the assertions are for."""

from collections.abc import Sequence
from typing import assert_type

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from fastapi_async_storages import MemoryStorage, StorageFile, StorageImage
from fastapi_async_storages.integrations.sqlalchemy import FileType, ImageType

storage = MemoryStorage()


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "typed_documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[StorageFile] = mapped_column(FileType(storage))
    image: Mapped[StorageImage | None] = mapped_column(ImageType(storage, length=200))


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class Record(DataBase):
    __tablename__ = "typed_records"

    id: Mapped[int] = mapped_column(init=False, primary_key=True)
    file: Mapped[StorageFile | None] = mapped_column(FileType(storage), default=None)


def test_attributes() -> None:
    document = Document(file=StorageFile(storage, "a.txt"))

    assert_type(document.file, StorageFile)
    assert_type(document.image, StorageImage | None)
    document.image = StorageImage(storage, "a.png")
    document.image = None
    document.image = StorageFile(storage, "a.png")  # type: ignore[assignment]


def test_dataclasses() -> None:
    record = Record(file=StorageFile(storage, "a.txt"))

    assert_type(record.file, StorageFile | None)
    assert_type(Record().file, StorageFile | None)
    Record(file="a.txt")  # type: ignore[arg-type]


def test_queries() -> None:
    query = select(Document.file, Document.image).where(Document.file == "a.txt")

    assert_type(query, Select[StorageFile, StorageImage | None])


async def load(session: AsyncSession) -> Sequence[StorageFile]:
    files = (await session.scalars(select(Document.file))).all()
    assert_type(files, Sequence[StorageFile])
    return files
