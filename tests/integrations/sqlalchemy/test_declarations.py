"""The ways to declare a model: all of them keep files, with the same transactions."""

import dataclasses
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any, TypeAlias

import pytest
from fastapi import FastAPI
from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    declarative_base,
    mapped_column,
    registry,
)
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelSession
from starlette.datastructures import UploadFile

from fastapi_async_storages import (
    MemoryStorage,
    StorageFile,
    StorageImage,
    file_out,
    save_upload,
)
from fastapi_async_storages.exceptions import InvalidNameError
from fastapi_async_storages.integrations.sqlalchemy import (
    AttachmentListType,
    AttachmentType,
    FileType,
    ImageType,
    track_files,
)
from tests.asgi import open_client
from tests.integrations.sqlalchemy.databases import create_tables

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]

storage = MemoryStorage(base_url="/files")


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012
        StorageFile: FileType(storage),
        StorageImage: ImageType(storage),
    }


class Annotated(Base):
    __tablename__ = "declared_annotated"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[StorageFile]


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class Dataclass(DataBase):
    __tablename__ = "declared_dataclass"

    id: Mapped[int] = mapped_column(init=False, primary_key=True)
    file: Mapped[StorageFile] = mapped_column(FileType(storage))
    image: Mapped[StorageImage | None] = mapped_column(ImageType(storage), default=None)


ClassicBase: Any = declarative_base()


class Classic(ClassicBase):  # type: ignore[misc]
    __tablename__ = "declared_classic"

    id = Column(Integer, primary_key=True)
    file: Column[Any] = Column(FileType(storage))


class Imperative:
    def __init__(self, file: Any) -> None:
        self.file = file


imperative = registry(metadata=MetaData())
imperative.map_imperatively(
    Imperative,
    Table(
        "declared_imperative",
        imperative.metadata,
        Column("id", Integer, primary_key=True),
        Column("file", FileType(storage)),
    ),
)


class DocumentBase(SQLModel):
    title: str = ""


class Document(DocumentBase, table=True):
    __tablename__ = "declared_documents"  # type: ignore[mutable-override]

    id: int | None = Field(default=None, primary_key=True)
    file: StorageFile | None = Field(default=None, sa_type=FileType(storage))
    image: StorageImage | None = Field(default=None, sa_type=ImageType(storage))
    scan: StorageFile | None = Field(default=None, sa_type=AttachmentType(storage))
    pages: list[StorageFile] = Field(default_factory=list, sa_type=AttachmentListType(storage))


class DocumentRead(DocumentBase):
    id: int
    file: StorageFile | None
    pages: list[StorageFile]


METADATA = (
    Base.metadata,
    DataBase.metadata,
    ClassicBase.metadata,
    imperative.metadata,
    SQLModel.metadata,
)


@pytest.fixture(autouse=True)
async def _tables(engine: AsyncEngine) -> AsyncIterator[None]:
    for metadata in METADATA:
        await create_tables(engine, metadata)
    yield
    storage._files.clear()


async def list_names() -> list[str]:
    return [info.name async for info in storage.list()]


@pytest.mark.parametrize("model", [Annotated, Dataclass, Classic, Imperative, Document])
async def test_a_life_of_a_row(make_session: MakeSession, model: Any) -> None:
    async with make_session() as session:
        row = model(file=StorageFile.pending(b"one", filename="one.txt"))
        session.add(row)
        await session.flush()
        assert await row.file.read() == b"one"
        await session.rollback()
        assert await list_names() == []

        row = model(file=StorageFile.pending(b"two"))
        session.add(row)
        await session.commit()
        await session.refresh(row)
        (two,) = await list_names()
        assert row.file == StorageFile(storage, two)

        row.file = await save_upload(b"three", storage)
        await session.commit()
        await session.refresh(row)
        assert await list_names() == [row.file.name]
        with pytest.raises(InvalidNameError):
            row.file = "../a.txt"

        await session.delete(row)
        await session.commit()
    assert await list_names() == []


async def test_dataclasses(make_session: MakeSession) -> None:
    async with make_session() as session:
        row = Dataclass(StorageFile.pending(b"abc"))
        session.add(row)
        await session.commit()
        await session.refresh(row)

    assert dataclasses.asdict(row) == {"id": row.id, "file": row.file, "image": None}


class TestSQLModel:
    @pytest.fixture
    def make_session(self, engine: AsyncEngine) -> async_sessionmaker[SQLModelSession]:
        return track_files(async_sessionmaker(engine, class_=SQLModelSession))

    async def test_all_types(self, make_session: async_sessionmaker[SQLModelSession]) -> None:
        async with make_session() as session:
            document = Document(
                title="All",
                file=StorageFile.pending(b"file"),
                scan=StorageFile.pending(b"scan", filename="scan.txt"),
                pages=[StorageFile.pending(b"1"), StorageFile.pending(b"2")],
            )
            session.add(document)
            await session.commit()

        async with make_session() as session:
            query = select(Document).where(col(Document.scan)["size"] == 4)
            found = (await session.exec(query)).one()
            found.pages.reverse()
            found.pages.append(StorageFile.pending(b"0"))
            await session.commit()
            await session.refresh(found)

            assert (type(found.file), found.image) == (StorageFile, None)
            assert found.scan is not None
            assert found.scan.info is not None
            assert found.scan.info.filename == "scan.txt"
            assert [await page.read() for page in found.pages] == [b"2", b"1", b"0"]
            await session.delete(found)
            await session.commit()

        assert await list_names() == []

    async def test_what_was_assigned_is_a_handle_after_the_flush(
        self, make_session: async_sessionmaker[SQLModelSession]
    ) -> None:
        """SQLModel keeps what was assigned in the place of what listeners made of it."""
        await storage.upload(b"named", "named.txt")
        async with make_session() as session:
            values: dict[str, Any] = {"file": UploadFile(BytesIO(b"up")), "image": "named.txt"}
            document: Any = Document(**values)
            session.add(document)
            await session.flush()
            assert await document.file.read() == b"up"
            assert document.image == StorageImage(storage, "named.txt")

            document.file = b"bytes"
            document.pages = [b"1"]
            document.pages.append(b"2")
            await session.flush()
            document.pages.append(b"3")
            await session.commit()
            await session.refresh(document)

            assert await document.file.read() == b"bytes"
            assert [await page.read() for page in document.pages] == [b"1", b"2", b"3"]
        assert len(await list_names()) == 5

    @pytest.mark.parametrize("value", ["../a.txt", 7, StorageFile(MemoryStorage(), "a.txt")])
    async def test_what_is_refused_at_assignment(self, value: Any) -> None:
        with pytest.raises((TypeError, ValueError)):
            Document(file=value)
        with pytest.raises((TypeError, ValueError)):
            Document().pages = [value]

    async def test_validated_models(self) -> None:
        file = await save_upload(b"abc", storage)

        made = Document.model_validate({"title": "T", "file": file, "pages": [file]})
        dumped = made.model_dump(exclude_unset=True)
        copied = Document().sqlmodel_update(dumped)

        assert dumped["file"] is file
        assert (copied.file, copied.pages) == (file, [file])

    async def test_a_response_model(
        self, make_session: async_sessionmaker[SQLModelSession]
    ) -> None:
        app = FastAPI()

        @app.post("/documents", response_model=DocumentRead)
        async def create() -> Document:
            async with make_session() as session:
                document = Document(pages=[StorageFile.pending(b"abc", filename="a.txt")])
                session.add(document)
                await session.commit()
                await session.refresh(document)
                return document

        @app.get("/pages/{key}")
        async def show(key: int) -> Any:
            async with make_session() as session:
                document = await session.get_one(Document, key)
                return await file_out(document.pages[0])

        async with open_client(app) as client:
            made = (await client.post("/documents")).json()
            shown = (await client.get(f"/pages/{made['id']}")).json()

        page = made["pages"][0]
        assert (made["file"], page["filename"], page["size"]) == (None, "a.txt", 3)
        assert shown == {**page, "url": f"/files/{page['name']}"}
