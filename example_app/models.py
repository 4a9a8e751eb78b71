"""The tables: each row names its files, the storage holds them."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, Unicode
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from example_app.storages import storage
from fastapi_async_storages import StorageFile, StorageImage
from fastapi_async_storages.integrations.sqlalchemy import FileType, ImageType


class Base(DeclarativeBase):
    """The base of the models."""


class Document(Base):
    """A document of any type."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    filename: Mapped[str] = mapped_column(Unicode(255))
    content_type: Mapped[str]
    size: Mapped[int]
    file: Mapped[StorageFile] = mapped_column(FileType(storage))
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), default=lambda: datetime.now(UTC)
    )


class Photo(Base):
    """A photo and its thumbnail."""

    __tablename__ = "photos"

    id: Mapped[int] = mapped_column(primary_key=True)
    filename: Mapped[str] = mapped_column(Unicode(255))
    content_type: Mapped[str]
    size: Mapped[int]
    image: Mapped[StorageImage] = mapped_column(ImageType(storage))
    thumbnail: Mapped[StorageImage | None] = mapped_column(ImageType(storage, prefix="thumbnails"))
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), default=lambda: datetime.now(UTC)
    )
