"""The tables: each row names its files, the storage holds them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, TypeDecorator, Unicode
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from example_app.storages import storage
from fastapi_async_storages import StorageFile, StorageImage
from fastapi_async_storages.integrations.sqlalchemy import FileType, ImageType


class Base(DeclarativeBase):
    """The base of the models."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC on every database: SQLite keeps no time zones."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = DateTime(timezone=True)
    cache_ok: bool | None = True

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Give a time of SQLite the zone that it was stored in."""
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class Document(Base):
    """A document of any type."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    filename: Mapped[str] = mapped_column(Unicode(255))
    content_type: Mapped[str]
    size: Mapped[int]
    file: Mapped[StorageFile] = mapped_column(FileType(storage))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=lambda: datetime.now(UTC))


class Photo(Base):
    """A photo and its thumbnail."""

    __tablename__ = "photos"

    id: Mapped[int] = mapped_column(primary_key=True)
    filename: Mapped[str] = mapped_column(Unicode(255))
    content_type: Mapped[str]
    size: Mapped[int]
    image: Mapped[StorageImage] = mapped_column(ImageType(storage))
    thumbnail: Mapped[StorageImage | None] = mapped_column(ImageType(storage, prefix="thumbnails"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=lambda: datetime.now(UTC))
