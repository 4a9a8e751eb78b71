"""Models with files, in a storage that fails when a test wants it to."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from fastapi_async_storages import ImageRules, MemoryStorage, StorageFile, StorageImage, UploadRules
from fastapi_async_storages.integrations.sqlalchemy import FileType, ImageType
from fastapi_async_storages.testing.faults import FaultyStorage

storage = FaultyStorage(MemoryStorage())
archive = MemoryStorage()
archived: list[StorageFile] = []


async def move_to_archive(file: StorageFile) -> None:
    """A clean-up of the app's own."""
    archived.append(file)
    await archive.upload(await file.read(), file.name)
    await file.delete()


class Base(DeclarativeBase):
    pass


class Folder(Base):
    __tablename__ = "folders"

    id: Mapped[int] = mapped_column(primary_key=True)
    cover: Mapped[StorageFile | None] = mapped_column(FileType(storage, prefix="covers"))
    documents: Mapped[list["Document"]] = relationship(
        back_populates="folder", cascade="all, delete-orphan"
    )


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    slug: Mapped[str | None] = mapped_column(unique=True)
    file: Mapped[StorageFile | None] = mapped_column(FileType(storage, prefix="docs"))
    preview: Mapped[StorageFile | None] = mapped_column(
        "preview_name", FileType(storage, rules=UploadRules(max_size=100)), deferred=True
    )
    # Checked at the COMMIT, which the database refuses then.
    folder_id: Mapped[int | None] = mapped_column(
        ForeignKey("folders.id", deferrable=True, initially="DEFERRED")
    )
    folder: Mapped[Folder | None] = relationship(back_populates="documents")


class Attachment(Base):
    """Other rows, which may hold the same names."""

    __tablename__ = "attachments"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[StorageFile | None] = mapped_column(FileType(storage))
    kept: Mapped[StorageFile | None] = mapped_column(FileType(storage, cleanup="keep"))
    moved: Mapped[StorageFile | None] = mapped_column(FileType(storage, cleanup=move_to_archive))
    image: Mapped[StorageImage | None] = mapped_column(
        ImageType(storage, rules=UploadRules(image=ImageRules(formats=["PNG"])))
    )


class Page(Base):
    """A primary key of two columns."""

    __tablename__ = "pages"

    book: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    scan: Mapped[StorageFile | None] = mapped_column(FileType(storage))


class Animal(Base):
    __tablename__ = "animals"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    photo: Mapped[StorageFile | None] = mapped_column(FileType(storage))

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Cat(Animal):
    """In the table of animals."""

    toy: Mapped[StorageFile | None] = mapped_column(FileType(storage))

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012


class Dog(Animal):
    """In a table of its own, beside that of animals."""

    __tablename__ = "dogs"

    id: Mapped[int] = mapped_column(ForeignKey("animals.id"), primary_key=True)
    passport: Mapped[StorageFile | None] = mapped_column(FileType(storage))

    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012
