"""What the older library promises, kept by the package of its name."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import pytest
from PIL import Image
from sqlalchemy import Column, Integer, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from starlette.datastructures import UploadFile

import async_storages
import fastapi_async_storages
from async_storages import BaseStorage, S3Storage, StorageFile, StorageImage
from async_storages.integrations.sqlalchemy import FileType, ImageType
from async_storages.utils import secure_filename
from fastapi_async_storages.exceptions import InvalidImageError, InvalidNameError
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.anyio


def make_storage(server: S3Server, **options: Any) -> S3Storage:
    return S3Storage(
        server.bucket,
        server.endpoint_url.removeprefix("http://"),
        server.access_key,
        server.secret_key,
        use_ssl=False,
        **{"prefix": f"drop-in-{uuid4().hex}", **options},
    )


@pytest.fixture
async def storage(s3_server: S3Server) -> AsyncIterator[S3Storage]:
    async with make_storage(s3_server) as storage:
        yield storage


class FolderStorage(BaseStorage):
    """A storage as users of the older library wrote them: six verbs and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get_name(self, name: str) -> str:
        return name.replace("/", "_")

    async def get_size(self, name: str) -> int:
        path = self.root / self.get_name(name)
        return await asyncio.to_thread(lambda: path.stat().st_size if path.exists() else 0)

    async def get_path(self, name: str) -> str:
        return f"/media/{self.get_name(name)}"

    async def open(self, name: str) -> BytesIO:
        path = self.root / self.get_name(name)
        return BytesIO(await asyncio.to_thread(path.read_bytes))

    async def upload(self, file: BinaryIO, name: str) -> str:
        path = self.root / self.get_name(name)
        await asyncio.to_thread(path.write_bytes, file.read())
        return path.name

    async def delete(self, name: str) -> None:
        await asyncio.to_thread((self.root / self.get_name(name)).unlink, missing_ok=True)


def make_photo(orientation: int = 6) -> BytesIO:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = BytesIO()
    Image.new("RGB", (32, 16)).save(buffer, "JPEG", exif=exif)
    return buffer


@pytest.mark.parametrize(
    "module,names",
    [
        ("async_storages", ["BaseStorage", "S3Storage", "StorageFile", "StorageImage"]),
        ("async_storages.base", ["BaseStorage", "StorageFile", "StorageImage"]),
        ("async_storages.s3", ["S3Storage"]),
        ("async_storages.utils", ["secure_filename"]),
        ("async_storages.integrations.sqlalchemy", ["FileType", "ImageType"]),
    ],
)
def test_import_paths(module: str, names: list[str]) -> None:
    imported = importlib.import_module(module)

    assert all(getattr(imported, name) for name in names)
    assert set(names) <= set(imported.__all__)
    assert async_storages.__version__ == fastapi_async_storages.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        imported.nothing  # noqa: B018


def test_arguments_by_position() -> None:
    storage = S3Storage(
        "bucket", "localhost:9000/", "key", "secret", "eu-west-1", False, "private", "cdn.example"
    )

    assert (storage.bucket_name, storage.region_name) == ("bucket", "eu-west-1")
    assert (storage.endpoint_url, storage.use_ssl) == ("localhost:9000/", False)
    assert (storage.default_acl, storage.custom_domain) == ("private", "cdn.example")
    assert storage.querystring_auth is False
    assert "secret" not in str(vars(storage).values())


@pytest.mark.parametrize(
    "name,safe",
    [
        ("a.txt", "a.txt"),
        ("folder/My file (1).txt", "folder/My_file_1.txt"),
        ("../../etc/passwd", "etc/passwd"),
        ("/absolute//a.txt", "absolute/a.txt"),
        ("./a/./b", "a/b"),
        ("über/ß.txt", "ber/txt"),
        ("__a__/.hidden.", "a/hidden"),
        ("図/a.txt", "a.txt"),
        ("a\0\n\\b.txt", "a_b.txt"),
    ],
)
def test_get_name(name: str, safe: str) -> None:
    storage = S3Storage("bucket")

    assert storage.get_name(name) == safe
    assert storage.get_name(safe) == safe


@pytest.mark.parametrize("name", ["", ".", "..", "/", "図", "図/書"])
def test_get_name_of_nothing(name: str) -> None:
    with pytest.raises(InvalidNameError, match="nothing is left"):
        S3Storage("bucket").get_name(name)


@pytest.mark.parametrize(
    "filename,safe", [("My file.txt", "My_file.txt"), ("a/b", "a_b"), ("é..", "")]
)
def test_secure_filename(filename: str, safe: str) -> None:
    assert secure_filename(filename) == safe


async def test_the_life_of_a_file(storage: S3Storage) -> None:
    file = BytesIO(b"hello world")
    file.seek(0, 2)  # uploaded from the start all the same

    name = await storage.upload(file, "up/My file.txt")

    assert name == "up/My_file.txt"
    assert await storage.get_size("up/My file.txt") == await storage.get_size(name) == 11
    content = await storage.open("up/My file.txt")
    assert isinstance(content, BytesIO)
    assert content.read() == b"hello world"
    assert (await storage.get_info(name)).content_type == "text/plain"
    async with storage.open(name) as reader:  # the way of the new package
        assert await reader.read() == b"hello world"

    await storage.delete(name)
    await storage.delete(name)

    assert await storage.get_size(name) == 0
    with pytest.raises(FileNotFoundError, match=r"My_file\.txt"):
        await storage.open(name)


async def test_an_upload_file_is_read_from_its_start(storage: S3Storage) -> None:
    upload = UploadFile(BytesIO(b"hello world"), filename="a.txt")
    await upload.read(5)

    assert await storage.get_size(await storage.upload(upload, "a.txt")) == 11


async def test_names_of_other_programs(s3_server: S3Server) -> None:
    async with (
        make_storage(s3_server, prefix="drop-in-others") as storage,
        fastapi_async_storages.S3Storage(
            s3_server.bucket,
            endpoint_url=s3_server.endpoint_url,
            aws_access_key_id=s3_server.access_key,
            aws_secret_access_key=s3_server.secret_key,
            prefix="drop-in-others",
        ) as other,
    ):
        await storage.upload(b"ours", "jpg")
        await other.upload(b"theirs", "図.jpg")

        # A URL and a deletion mean the very name; uploads and reads mean its reduced form.
        assert (await storage.get_path("図.jpg")).endswith("/%E5%9B%B3.jpg")
        assert (await storage.open("図.jpg")).read() == b"ours"
        assert [info.name async for info in storage.list()] == ["jpg", "図.jpg"]
        await storage.delete("図.jpg")
        assert [info.name async for info in storage.list()] == ["jpg"]


async def test_urls(s3_server: S3Server) -> None:
    base = f"{s3_server.endpoint_url}/{s3_server.bucket}/"
    async with make_storage(s3_server) as plain:
        url = await plain.get_path("a.txt")
        assert url.startswith(base)
        assert url.endswith("/a.txt")
    async with make_storage(s3_server, querystring_auth=True) as signed:
        url = await signed.get_path("a.txt")
        assert url.startswith(base)
        assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    async with make_storage(s3_server, custom_domain="cdn.example") as custom:
        assert (await custom.get_path("a.txt")).startswith("http://cdn.example/")


async def test_handles(storage: S3Storage) -> None:
    file = StorageFile("up/a.txt", storage)

    assert await file.get_size() == 0
    assert await file.upload(BytesIO(b"hello")) == file.name == "up/a.txt"
    assert await file.get_size() == 5
    assert await file.get_path() == await storage.get_path("up/a.txt")
    assert await file.read() == b"hello"
    await file.upload(BytesIO(b"hello world"))
    assert await file.get_size() == (await file.get_info()).size == 11
    await file.delete()
    assert await file.get_size() == 0


@pytest.mark.parametrize("orientation", [1, 6])
async def test_dimensions_of_the_stored_pixels(storage: S3Storage, orientation: int) -> None:
    await storage.upload(make_photo(orientation), "photo.jpg")
    image = StorageImage(name="photo.jpg", storage=storage)

    assert await image.get_dimensions() == (32, 16)
    await storage.delete("photo.jpg")
    assert await image.get_dimensions() == (32, 16)


async def test_dimensions_that_are_given(storage: S3Storage) -> None:
    assert await StorageImage("missing.jpg", storage, 30, 20).get_dimensions() == (30, 20)
    with pytest.raises(FileNotFoundError):
        await StorageImage("missing.jpg", storage).get_dimensions()


class Base(DeclarativeBase):
    pass


older_columns = S3Storage("bucket", "localhost:9000", "an-id", "a-secret", use_ssl=False)


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[StorageFile | None] = mapped_column(FileType(older_columns))
    image: Mapped[StorageImage | None] = mapped_column(ImageType(storage=older_columns, length=99))


def test_columns() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        document = Document(file="My file.txt", image=UploadFile(BytesIO(), filename="a.png"))
        assert type(document.file) is StorageFile
        assert type(document.image) is StorageImage
        session.add(document)
        session.commit()

        assert document.file.name == "My file.txt"
        assert type(document.image) is StorageImage
        assert session.execute(text("select file, image from documents")).all() == [
            ("My file.txt", "a.png")
        ]
        for value in ("My file.txt", StorageFile("My file.txt", older_columns)):
            assert session.scalar(select(Document).where(Document.file == value)) is document
        document.image = StorageFile("b.png", older_columns)  # type: ignore[assignment]
        assert type(document.image) is StorageImage
        for bad in (b"content", StorageFile("a", S3Storage("other"))):
            with pytest.raises((TypeError, ValueError)):
                document.file = bad  # type: ignore[assignment]
        assert repr(Document.__table__.c.image.type) == "ImageType(length=99)"
    engine.dispose()


async def test_a_new_handle_in_an_older_column() -> None:
    new = fastapi_async_storages.StorageFile(older_columns, "a.png")
    image = Document(image=new).image

    assert type(image) is StorageImage
    assert image == new
    assert await image.get_path() == "http://localhost:9000/bucket/a.png"


def test_pending_content_is_not_its_filename() -> None:
    pending = StorageFile.pending(b"content", filename="a.txt")

    assert Document(file=pending).file is pending


async def test_a_storage_of_the_user(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    file = StorageFile("up/a.txt", storage)
    assert await file.upload(BytesIO(b"hello")) == "up_a.txt"
    assert (await file.get_size(), await file.get_path()) == (5, "/media/up_a.txt")
    await file.delete()
    assert await file.get_size() == 0

    await storage.upload(BytesIO(make_photo().getvalue()), "photo.jpg")
    await storage.upload(BytesIO(b"text"), "text.jpg")
    assert await StorageImage("photo.jpg", storage).get_dimensions() == (32, 16)
    with pytest.raises(InvalidImageError, match=r"text\.jpg"):
        await StorageImage("text.jpg", storage).get_dimensions()
    with pytest.raises(FileNotFoundError):
        await StorageImage("missing.jpg", storage).get_dimensions()


def test_a_storage_of_the_user_in_a_column(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)

    class Local(DeclarativeBase):
        pass

    class Row(Local):
        __tablename__ = "rows"
        id = Column(Integer, primary_key=True)
        file: Mapped[StorageFile] = mapped_column(FileType(storage))

    assert Row(file="up/a.txt").file == StorageFile("up/a.txt", storage)


def test_an_unfinished_storage() -> None:
    class Unfinished(BaseStorage):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Unfinished()  # type: ignore[abstract]
