"""Columns of JSON: handles read back with all that is known, and lists notice their changes."""

import itertools
import json
import pickle
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from io import BytesIO
from typing import Any, TypeAlias

import pytest
from PIL import Image
from sqlalchemy import (
    Column,
    Index,
    MetaData,
    Table,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, aliased, mapped_column
from starlette.datastructures import UploadFile

from fastapi_async_storages import (
    FileInfo,
    MemoryStorage,
    StorageFile,
    StorageImage,
    UploadRules,
    save_upload,
)
from fastapi_async_storages.exceptions import (
    FileTooLargeError,
    InvalidNameError,
    NotFoundError,
    NotStoredError,
)
from fastapi_async_storages.integrations.sqlalchemy import (
    AttachmentList,
    AttachmentListType,
    AttachmentType,
    sweep,
    verify,
)
from fastapi_async_storages.testing.faults import FaultyStorage
from tests.integrations.sqlalchemy.databases import create_tables

pytestmark = pytest.mark.anyio

MakeSession: TypeAlias = async_sessionmaker[AsyncSession]

storage = FaultyStorage(MemoryStorage())
other_storage = MemoryStorage(base_url="/other")


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "attached_documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    file: Mapped[StorageFile | None] = mapped_column(AttachmentType(storage, prefix="docs"))
    image: Mapped[StorageImage | None] = mapped_column(AttachmentType(storage, image=True))


class Album(Base):
    __tablename__ = "attached_albums"

    id: Mapped[int] = mapped_column(primary_key=True)
    photos: Mapped[list[StorageFile]] = mapped_column(
        AttachmentListType(storage, prefix="photos", rules=UploadRules(max_size=1000))
    )
    scans: Mapped[list[StorageImage]] = mapped_column(AttachmentListType(storage, image=True))


@pytest.fixture(autouse=True)
async def _tables(engine: AsyncEngine) -> AsyncIterator[None]:
    await create_tables(engine, Base.metadata)
    yield
    storage.plan.clear()
    storage.inner._files.clear()  # type: ignore[attr-defined]


def make_png(width: int = 32, height: int = 16) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


async def write_raw(engine: AsyncEngine, column: str, value: Any) -> None:
    """Write a record as another program would."""
    table = "attached_albums" if column in ("photos", "scans") else "attached_documents"
    kind = "jsonb" if engine.dialect.name == "postgresql" else "text"
    async with engine.begin() as connection:
        await connection.execute(
            text(f"update {table} set {column} = cast(:value as {kind})"),  # noqa: S608
            {"value": json.dumps(value)},
        )


async def read_raw(engine: AsyncEngine, column: str) -> Any:
    table = "attached_albums" if column in ("photos", "scans") else "attached_documents"
    async with engine.connect() as connection:
        value = await connection.scalar(text(f"select {column} from {table}"))  # noqa: S608
    return json.loads(value) if isinstance(value, str) else value


async def list_names() -> list[str]:
    return [info.name async for info in storage.list()]


class TestOneFile:
    async def test_all_that_is_known_reads_back_without_io(self, make_session: MakeSession) -> None:
        upload = await save_upload(make_png(), storage, filename="Größe.png", prefix="x")
        async with make_session.begin() as session:
            session.add(Document(id=1, file=upload, image=upload))
        storage.inner._files.clear()  # type: ignore[attr-defined]

        async with make_session() as session:
            document = await session.get_one(Document, 1)

        assert document.file is not None
        assert document.image is not None
        assert (type(document.file), type(document.image)) == (StorageFile, StorageImage)
        assert document.file.info == upload.info
        assert (document.file.info.filename, document.file.info.width) == ("Größe.png", 32)  # type: ignore[union-attr]
        assert document.file.info.checksum.startswith("sha256:")  # type: ignore[union-attr]
        assert await document.file.get_size() == len(make_png())
        assert await document.image.get_dimensions() == (32, 16)

    @pytest.mark.parametrize(
        "content",
        [
            StorageFile.pending(b"abc", filename="a.txt"),
            UploadFile(BytesIO(b"abc"), filename="a.txt"),
        ],
        ids=["pending", "upload"],
    )
    async def test_content_is_stored_by_the_flush(
        self, make_session: MakeSession, content: Any
    ) -> None:
        async with make_session() as session:
            document = Document(file=content)
            session.add(document)
            await session.commit()
            await session.refresh(document)

        assert document.file is not None
        assert document.file.name.startswith("docs/")
        assert await document.file.read() == b"abc"
        assert document.file.info is not None
        assert (document.file.info.size, document.file.info.filename) == (3, "a.txt")

    async def test_replaced_and_deleted_rows_let_go_of_their_files(
        self, make_session: MakeSession
    ) -> None:
        async with make_session() as session:
            document = Document(file=StorageFile.pending(b"one"))
            session.add(document)
            await session.commit()
            (first,) = await list_names()
            document.file = StorageFile.pending(b"two")
            await session.commit()
            (second,) = await list_names()
            assert first != second
            document.file = StorageFile.pending(b"three")
            await session.flush()
            await session.rollback()
            assert await list_names() == [second]
            await session.delete(document)
            await session.commit()

        assert await list_names() == []

    async def test_bulk_statements(self, make_session: MakeSession) -> None:
        async with make_session.begin() as session:
            contents = (b"1", b"22", b"333", b"4444")
            session.add_all([Document(file=StorageFile.pending(content)) for content in contents])
        async with make_session.begin() as session:
            await session.execute(delete(Document).where(Document.file["size"] > 3))
            await session.execute(
                update(Document).where(Document.file["size"] == 1).values(file=None)
            )

        assert sorted([info.size async for info in storage.list()]) == [2, 3]

    async def test_a_file_that_another_column_names_stays(self, make_session: MakeSession) -> None:
        png = await save_upload(make_png(), storage)
        async with make_session.begin() as session:
            session.add_all([Document(id=1, file=png), Document(id=2, image=png)])
            session.add(Album(id=1, photos=[png]))

        for model, key in ((Document, 1), (Document, 2), (Album, 1)):
            assert await list_names() == [png.name]
            async with make_session.begin() as session:
                await session.delete(await session.get_one(model, key))

        assert await list_names() == []

    async def test_the_flush_asks_about_a_name(self, make_session: MakeSession) -> None:
        await storage.upload(b"abc", "a.txt", metadata={"filename": "mine.txt"})
        async with make_session() as session:
            document = Document(file="a.txt")
            session.add(document)
            await session.commit()
            await session.refresh(document)

        assert document.file is not None
        assert document.file.info is not None
        assert (document.file.info.size, document.file.info.filename) == (3, "mine.txt")

    async def test_a_name_without_a_file(self, session: AsyncSession) -> None:
        session.add(Document(file="missing.txt"))

        with pytest.raises(NotFoundError, match=r"missing\.txt"):
            await session.flush()

    async def test_sessions_that_are_not_tracked(self, engine: AsyncEngine) -> None:
        make_session = async_sessionmaker(engine)
        await storage.upload(b"abc", "a.txt")
        file = StorageFile(storage, "a.txt")
        for unknown, error, advice in (
            (file, ValueError, "await file.get_info()"),
            (StorageFile.pending(b""), NotStoredError, "await save_upload(...)"),
        ):
            async with make_session() as session:
                session.add(Document(file=unknown))
                with pytest.raises(StatementError) as caught:
                    await session.flush()
            assert isinstance(caught.value.orig, error)
            assert advice in str(caught.value)

        await file.get_info()
        async with make_session.begin() as session:
            session.add(Document(file=file))

    async def test_none(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        async with make_session() as session:
            document = Document(file=StorageFile.pending(b"abc"))
            session.add(document)
            await session.commit()
            document.file = None
            await session.commit()

            assert await session.scalar(select(Document).where(Document.file.is_(None)))
        assert await read_raw(engine, "file") is None
        assert await list_names() == []

    @pytest.mark.parametrize(
        "value, error",
        [
            ("../a", InvalidNameError),
            (7, TypeError),
            ({"name": "a.txt"}, TypeError),
            (StorageFile(other_storage, "a.txt"), ValueError),
        ],
        ids=repr,
    )
    async def test_what_is_refused_at_assignment(self, value: Any, error: type[Exception]) -> None:
        with pytest.raises(error):
            Document(file=value)
        with pytest.raises(error):
            Album(photos=[value])
        with pytest.raises(error):
            Album().photos.append(value)

    async def test_rules(self, session: AsyncSession) -> None:
        session.add(
            Album(photos=[StorageFile.pending(bytes(10)), StorageFile.pending(bytes(1001))])
        )

        with pytest.raises(FileTooLargeError):
            await session.flush()

        assert await list_names() == []

    async def test_an_equal_value_is_no_change(self, make_session: MakeSession) -> None:
        async with make_session() as session:
            document = Document(file=StorageFile.pending(b"abc"))
            session.add(document)
            await session.commit()
            await session.refresh(document)
            assert document.file is not None
            for equal in (
                document.file,
                document.file.name,
                StorageFile(storage, document.file.name),
            ):
                document.file = equal  # type: ignore[assignment]
                assert not session.is_modified(document)

    async def test_a_new_file_of_the_same_name_is_a_change(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        async with make_session() as session:
            document = Document(file=await save_upload(b"abc", storage, name="a.txt"))
            session.add(document)
            await session.commit()
            await session.refresh(document)
            document.file = await save_upload(b"longer", storage, name="a.txt", overwrite=True)
            await session.commit()

        assert (await read_raw(engine, "file"))["size"] == 6
        assert await list_names() == ["a.txt"]


class TestRecords:
    """What other versions of the app, and other programs, have written."""

    RECORD: dict[str, Any] = {  # noqa: RUF012
        "name": "a.txt",
        "size": 3,
        "content_type": "text/plain",
        "blurhash": "L6Pj0",
        "crop": {"x": [1, 2]},
        "etag": '"1"',
    }

    @pytest.fixture
    async def rows(self, make_session: MakeSession) -> None:
        async with make_session.begin() as session:
            session.add_all([Document(id=1), Album(id=1)])

    @pytest.mark.usefixtures("rows")
    async def test_unknown_keys_are_kept(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        await write_raw(engine, "file", self.RECORD)
        async with make_session.begin() as session:
            document = await session.get_one(Document, 1)
            document.image, document.file = document.file, None  # type: ignore[assignment]

        assert await read_raw(engine, "image") == self.RECORD

    @pytest.mark.usefixtures("rows")
    async def test_unknown_keys_in_lists_are_kept(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        records = [self.RECORD, {"name": "b.txt", "alt": "B"}]
        await write_raw(engine, "photos", records)
        async with make_session.begin() as session:
            album = await session.get_one(Album, 1)
            album.photos.reverse()

        assert await read_raw(engine, "photos") == records[::-1]

    @pytest.mark.usefixtures("rows")
    async def test_missing_keys_are_tolerated(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        await storage.upload(b"abc", "a.txt")
        await write_raw(engine, "file", {"name": "a.txt"})
        async with make_session.begin() as session:
            document = await session.get_one(Document, 1)
            assert document.file is not None
            assert document.file.info is None
            assert await document.file.get_size() == 3

        await write_raw(engine, "file", {"name": "a.txt", "size": 3})
        async with make_session() as session:
            document = await session.get_one(Document, 1)
        assert document.file is not None
        assert document.file.info == FileInfo("a.txt", 3)

    @pytest.mark.usefixtures("rows")
    @pytest.mark.parametrize("value", [None, [], {}, {"name": ""}, {"name": 7}, "a.txt", 7])
    async def test_what_is_no_record(
        self, make_session: MakeSession, engine: AsyncEngine, value: Any
    ) -> None:
        await write_raw(engine, "file", value)
        await write_raw(engine, "photos", value)
        async with make_session() as session:
            assert (await session.get_one(Document, 1)).file is None
            assert (await session.get_one(Album, 1)).photos == []
        await storage.upload(b"abc", "orphan.txt")

        report = await sweep(make_session, storage, Base, older_than=timedelta())

        assert report.orphans == 1
        assert [defect async for defect in verify(make_session, storage, Base)] == []

    @pytest.mark.usefixtures("rows")
    async def test_facts_of_another_type(
        self, make_session: MakeSession, engine: AsyncEngine
    ) -> None:
        await write_raw(engine, "file", {"name": "a.txt", "size": 3, "width": "wide"})
        async with make_session() as session:
            document = await session.get_one(Document, 1)

        assert document.file is not None
        assert document.file.info == FileInfo("a.txt", 3)


class TestQueries:
    @pytest.fixture
    async def rows(self, make_session: MakeSession, engine: AsyncEngine) -> None:
        async with make_session.begin() as session:
            session.add(Document(id=1))
        large = {"name": "docs/large.bin", "size": 5_000_000_000, "metadata": {"owner": "me"}}
        await write_raw(engine, "file", large)
        png = await save_upload(
            make_png(), storage, name="docs/a.png", filename="A.png", cache_control="no-store"
        )
        async with make_session.begin() as session:
            session.add_all([Document(id=2, file=png, image=png), Document(id=3)])

    @pytest.mark.usefixtures("rows")
    @pytest.mark.parametrize(
        "condition, found",
        [
            (Document.file["size"] > 10_000, [1]),
            (Document.file["size"] <= 4_999_999_999, [2]),
            (Document.file["size"].between(1, 9_000), [2]),
            (Document.file["width"] == 32, [2]),
            (Document.image["height"] > 10, [2]),
            (Document.file["filename"] == "A.png", [2]),
            (Document.file["filename"].is_(None), [1, 3]),
            (Document.file["content_type"].startswith("image/"), [2]),
            (Document.file["cache_control"] == "no-store", [2]),
            (Document.file["name"].like("docs/%"), [1, 2]),
            (Document.file["metadata"]["owner"].as_string() == "me", [1]),
            (Document.file == "docs/a.png", [2]),
            (Document.file == "docs/./a.png", [2]),
            (Document.file == StorageFile(storage, "docs/a.png"), [2]),
            (Document.file != "docs/a.png", [1]),
            (Document.file.in_(["docs/a.png", StorageFile(storage, "docs/large.bin")]), [1, 2]),
            (Document.file.not_in(["docs/a.png"]), [1]),
            (Document.file.startswith("docs/"), [1, 2]),
            (Document.file.endswith(".png"), [2]),
            (Document.file.is_(None), [3]),
            (Document.file == None, [3]),  # noqa: E711
            (Document.file.is_not(None), [1, 2]),
        ],
        ids=itertools.count(),
    )
    async def test_conditions(
        self, session: AsyncSession, condition: Any, found: list[int]
    ) -> None:
        query = select(Document.id).where(condition).order_by(Document.id)

        assert (await session.scalars(query)).all() == found

    @pytest.mark.usefixtures("rows")
    async def test_expressions(self, session: AsyncSession) -> None:
        alias = aliased(Document)
        by_size = select(alias.id).order_by(alias.file["size"].desc().nulls_last())
        assert (await session.scalars(by_size)).all() == [1, 2, 3]
        total = select(func.sum(Document.file["size"]))
        assert await session.scalar(total) == 5_000_000_000 + len(make_png())
        names = select(Document.file["name"]).where(Document.file["size"] < 9_000)
        assert (await session.scalars(names)).all() == ["docs/a.png"]

    async def test_a_file_of_another_storage(self) -> None:
        with pytest.raises(ValueError, match="MemoryStorage"):
            select(Document).where(Document.file == StorageFile(other_storage, "a.txt"))

    async def test_an_index_serves_the_lookups(self, engine: AsyncEngine) -> None:
        metadata = MetaData()
        column: Column[Any] = Column("file", AttachmentType(storage))
        table = Table("indexed_attachments", metadata, column)
        Index("names_of_attachments", column["name"])
        await create_tables(engine, metadata)
        async with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execute(text("set enable_seqscan = off"))
                explain = "explain"
            else:
                explain = "explain query plan"
            names = AttachmentType(storage).select_names(column, connection.dialect).subquery()
            query = select(names.c.name).where(names.c.name.in_(["a.txt", "b.txt"])).distinct()
            compiled = query.compile(connection.sync_engine, compile_kwargs={"literal_binds": True})
            plan = (await connection.execute(text(f"{explain} {compiled}"))).all()

        assert table.name in str(plan)
        assert "names_of_attachments" in str(plan)


class TestLists:
    @pytest.fixture
    async def album(self, session: AsyncSession) -> Album:
        """A committed row with three files, in a session with nothing to do."""
        album = Album(id=1)
        for name in ("a.txt", "b.txt", "c.txt"):
            album.photos.append(await save_upload(name.encode(), storage, name=name))
        session.add(album)
        await session.commit()
        await session.refresh(album)
        return album

    @pytest.mark.parametrize(
        "change, left",
        [
            (lambda files: files.append(StorageFile.pending(b"d.txt")), "abcd"),
            (lambda files: files.insert(1, StorageFile.pending(b"d.txt")), "adbc"),
            (lambda files: files.extend([StorageFile.pending(b"d.txt")]), "abcd"),
            (lambda files: files.remove(files[1]), "ac"),
            (lambda files: files.remove("b.txt"), "ac"),
            (lambda files: files.pop(), "ab"),
            (lambda files: files.pop(0), "bc"),
            (lambda files: files.reverse(), "cba"),
            (lambda files: files.sort(key=lambda file: file.name, reverse=True), "cba"),
            (lambda files: files.clear(), ""),
            (lambda files: files.__delitem__(0), "bc"),
            (lambda files: files.__delitem__(slice(0, 2)), "c"),
            (lambda files: files.__setitem__(1, StorageFile.pending(b"d.txt")), "adc"),
            (lambda files: files.__setitem__(slice(0, 2), [StorageFile.pending(b"d.txt")]), "dc"),
            (lambda files: files.__setitem__(slice(None), [files[2], files[0]]), "ca"),
            (lambda files: files.__iadd__([StorageFile.pending(b"d.txt")]), "abcd"),
        ],
        ids=itertools.count(),
    )
    async def test_changes_are_kept(
        self, session: AsyncSession, album: Album, change: Callable[[Any], Any], left: str
    ) -> None:
        change(album.photos)
        assert album in session.dirty
        await session.commit()

        await session.refresh(album)
        contents = [await file.read() for file in album.photos]
        assert b"".join(contents).replace(b".txt", b"").decode() == left
        assert all(file.info is not None for file in album.photos)
        # What was taken out is gone, what was put in is there, and the rest is untouched.
        assert sorted(await list_names()) == sorted(file.name for file in album.photos)

    async def test_a_change_that_is_rolled_back(self, session: AsyncSession, album: Album) -> None:
        album.photos.append(StorageFile.pending(b"d.txt"))
        album.photos.remove(StorageFile(storage, "a.txt"))
        await session.flush()
        assert len(await list_names()) == 4
        await session.rollback()

        await session.refresh(album)
        assert [file.name for file in album.photos] == ["a.txt", "b.txt", "c.txt"]
        assert await list_names() == ["a.txt", "b.txt", "c.txt"]

    async def test_a_savepoint_that_is_rolled_back(
        self, session: AsyncSession, album: Album
    ) -> None:
        album.photos.append(StorageFile.pending(b"d.txt"))
        savepoint = await session.begin_nested()
        album.photos.append(StorageFile.pending(b"e.txt"))
        album.photos.remove(StorageFile(storage, "a.txt"))
        await session.flush()
        await savepoint.rollback()
        await session.commit()

        await session.refresh(album)
        assert [await file.read() for file in album.photos] == [
            b"a.txt",
            b"b.txt",
            b"c.txt",
            b"d.txt",
        ]
        assert len(await list_names()) == 4

    async def test_a_deleted_row_lets_go_of_all(self, session: AsyncSession, album: Album) -> None:
        album.photos.append(StorageFile.pending(b"d.txt"))
        await session.flush()
        album.photos.pop()
        await session.delete(album)
        await session.commit()

        assert await list_names() == []

    async def test_a_file_that_moves_to_another_row(
        self, session: AsyncSession, album: Album
    ) -> None:
        other = Album(id=2, photos=[album.photos.pop(1)])
        session.add(other)
        await session.commit()

        await session.refresh(other)
        assert [file.name for file in other.photos] == ["b.txt"]
        assert await list_names() == ["a.txt", "b.txt", "c.txt"]

    async def test_a_whole_new_list(self, session: AsyncSession, album: Album) -> None:
        album.photos = [album.photos[2], StorageFile.pending(b"d.txt")]
        await session.commit()
        await session.refresh(album)

        assert [await file.read() for file in album.photos] == [b"c.txt", b"d.txt"]
        assert len(await list_names()) == 2

    async def test_a_list_that_is_assigned_is_the_row_s_own(
        self, session: AsyncSession, album: Album
    ) -> None:
        other = Album(id=2, photos=album.photos)
        session.add(other)
        await session.commit()
        for row in (album, other):
            await session.refresh(row)
        other.photos.pop()

        assert len(album.photos) == 3
        assert other in session.dirty
        assert album not in session.dirty

    async def test_a_list_stays_itself(self, session: AsyncSession, album: Album) -> None:
        photos = album.photos
        album.photos += [StorageFile.pending(b"d.txt")]
        assert album.photos is photos
        await session.flush()
        photos.append(StorageFile.pending(b"e.txt"))
        await session.commit()
        await session.refresh(album)

        assert len(album.photos) == 5

    async def test_an_equal_list_is_no_change(self, session: AsyncSession, album: Album) -> None:
        album.photos = list(album.photos)
        assert not session.is_modified(album)
        album.photos = ["a.txt", "b.txt", "c.txt"]  # type: ignore[list-item]
        assert not session.is_modified(album)

    async def test_merge(
        self, session: AsyncSession, make_session: MakeSession, album: Album
    ) -> None:
        detached = Album(id=1, photos=[*album.photos[:1], StorageFile.pending(b"d.txt")])
        await session.commit()
        async with make_session.begin() as other:
            merged = await other.merge(detached)
            merged.photos.reverse()

        async with make_session() as other:
            photos = (await other.get_one(Album, 1)).photos
        assert [await file.read() for file in photos] == [b"d.txt", b"a.txt"]
        assert len(await list_names()) == 2

    async def test_a_new_object_has_an_empty_list(
        self, session: AsyncSession, engine: AsyncEngine
    ) -> None:
        album = Album()
        assert album.photos == []
        assert isinstance(album.photos, AttachmentList)
        album.photos.append(StorageFile.pending(b"abc"))
        session.add_all([album, Album(scans=None)])
        await session.commit()

        scans = select(func.count()).where(Album.scans.is_(None))
        assert await session.scalar(scans) == 0
        counts = [len(album.photos) for album in await session.scalars(select(Album))]
        assert sorted(counts) == [0, 1]

    async def test_null_reads_as_an_empty_list(
        self, engine: AsyncEngine, make_session: MakeSession
    ) -> None:
        metadata = MetaData()

        class Nullable(DeclarativeBase):
            pass

        class Gallery(Nullable):
            __tablename__ = "attached_galleries"
            id: Mapped[int] = mapped_column(primary_key=True)
            photos: Mapped[list[StorageFile] | None] = mapped_column(AttachmentListType(storage))

        assert metadata is not Nullable.metadata
        await create_tables(engine, Nullable.metadata)
        async with make_session() as session:
            await session.execute(text("insert into attached_galleries (id) values (1)"))
            gallery = await session.get_one(Gallery, 1)
            assert gallery.photos == []
            gallery.photos.append(StorageFile.pending(b"abc"))
            await session.commit()
            await session.refresh(gallery)

        assert len(gallery.photos) == 1

    async def test_contents_are_stored_all_or_none(
        self, session: AsyncSession, album: Album
    ) -> None:
        album.photos += [StorageFile.pending(bytes(size)) for size in (1, 2, 1001, 3)]

        with pytest.raises(FileTooLargeError):
            await session.commit()

        await session.rollback()
        assert await list_names() == ["a.txt", "b.txt", "c.txt"]

    async def test_images(self, session: AsyncSession) -> None:
        album = Album(scans=[StorageFile.pending(make_png(), filename="a.png")])
        session.add(album)
        await session.commit()
        await session.refresh(album)

        (scan,) = album.scans
        assert type(scan) is StorageImage
        assert await scan.get_dimensions() == (32, 16)

    async def test_a_fact_of_a_file(self, session: AsyncSession, album: Album) -> None:
        for condition, count in (
            (Album.photos[0]["size"] == 5, 1),
            (Album.photos[0]["size"] > 5, 0),
            (Album.photos[3]["size"] > 0, 0),
            (Album.photos[2] == "c.txt", 1),
        ):
            query = select(Album).where(condition)
            assert len((await session.scalars(query)).all()) == count
        second = await session.scalar(select(Album.photos[1]))
        assert second == StorageFile(storage, "b.txt")
        assert second.info is not None

    @pytest.mark.parametrize("value", ["a.txt", 7, {"name": "a.txt"}, StorageFile(storage, "a")])
    async def test_what_is_no_list(self, value: Any) -> None:
        with pytest.raises(TypeError, match=r"Album\.photos holds a list of files"):
            Album(photos=value)

    async def test_none_is_no_file(self, album: Album) -> None:
        with pytest.raises(TypeError, match=r"Album\.photos takes files, not None"):
            album.photos.append(None)  # type: ignore[arg-type]

    async def test_bulk_statements(self, session: AsyncSession, album: Album) -> None:
        file = await save_upload(b"abc", storage, name="d.txt")
        await session.execute(insert(Album), [{"id": 7, "photos": [file], "scans": []}])
        await session.execute(update(Album).where(Album.id == 1).values(photos=[album.photos[0]]))
        await session.commit()

        assert await list_names() == ["a.txt", "d.txt"]
        await session.execute(delete(Album))
        await session.commit()
        assert await list_names() == []

    async def test_a_file_in_a_list_stays_while_another_row_names_it(
        self, session: AsyncSession, album: Album
    ) -> None:
        session.add_all([Document(file=album.photos[0]), Album(id=2, photos=[album.photos[1]])])
        await session.commit()
        await session.delete(album)
        await session.commit()

        assert await list_names() == ["a.txt", "b.txt"]

    async def test_pickling_is_refused(self, album: Album) -> None:
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(album.photos)


class TestSweepAndVerify:
    async def test_names_in_json_are_no_orphans(self, make_session: MakeSession) -> None:
        names = ["one.txt", "it's.txt", "日本.txt", '"quoted".txt']
        for name in (*names, "orphan.txt"):
            await storage.upload(b"abc", name)
        async with make_session.begin() as session:
            session.add(Document(file=names[0]))
            session.add(Album(photos=names[1:]))

        report = await sweep(make_session, storage, Base, older_than=timedelta(), dry_run=False)

        assert (report.files, report.deleted) == (5, 1)
        assert sorted(await list_names()) == sorted(names)

    async def test_what_differs_from_the_row(self, make_session: MakeSession) -> None:
        async with make_session.begin() as session:
            contents = [StorageFile.pending(content) for content in (b"one", b"two", b"three")]
            album = Album(id=1, photos=contents)
            session.add_all([album, Document(id=1, file=StorageFile.pending(b"four"))])
            await session.flush()
            longer, changed, missing = (file.name for file in album.photos)
        await storage.upload(b"longer", longer)
        await storage.upload(b"TWO", changed)
        await storage.delete(missing)

        defects = [defect async for defect in verify(make_session, storage, Base)]
        read = [defect async for defect in verify(make_session, storage, Base, read=True)]

        expected = [(longer, "size"), (changed, "checksum"), (missing, "missing")]
        assert [(defect.name, defect.fault) for defect in defects] == expected
        assert (defects[0].expected, defects[0].found) == (3, 6)
        assert [(defect.name, defect.fault) for defect in read] == expected
        assert {defect.primary_key for defect in read} == {(1,)}


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class Record(DataBase):
    __tablename__ = "attached_records"

    id: Mapped[int] = mapped_column(init=False, primary_key=True)
    file: Mapped[StorageFile | None] = mapped_column(AttachmentType(storage), default=None)
    files: Mapped[list[StorageFile]] = mapped_column(
        AttachmentListType(storage), default_factory=list
    )


async def test_dataclasses(engine: AsyncEngine, make_session: MakeSession) -> None:
    await create_tables(engine, DataBase.metadata)
    async with make_session() as session:
        records = [Record(), Record(files=[StorageFile.pending(b"abc")])]
        records[0].files.append(StorageFile.pending(b"def"))
        session.add_all(records)
        await session.commit()
        for record in records:
            await session.refresh(record)

    assert [await record.files[0].read() for record in records] == [b"def", b"abc"]
    assert records[0].file is None
