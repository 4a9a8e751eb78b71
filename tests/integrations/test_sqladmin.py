"""A real SQLAdmin over HTTP: files are uploaded, kept, replaced and cleared in its forms."""

import gc
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from PIL import Image
from sqladmin import Admin, ModelView
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_async_storages import MemoryStorage, StorageFile, StorageImage, UploadRules
from fastapi_async_storages.integrations.sqladmin import FileModelConverter
from fastapi_async_storages.integrations.sqlalchemy import (
    AttachmentListType,
    AttachmentType,
    FileType,
    ImageType,
    track_files,
)
from tests.asgi import open_client

pytestmark = [
    pytest.mark.anyio,
    # SQLAdmin leaves the files of a form to the garbage collector.
    pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning"),
]

Parts: TypeAlias = dict[str, tuple[str, bytes, str]]

storage = MemoryStorage()


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "administered_documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    file: Mapped[StorageFile] = mapped_column(FileType(storage, rules=UploadRules(max_size=1000)))
    image: Mapped[StorageImage | None] = mapped_column(ImageType(storage))
    scan: Mapped[StorageFile | None] = mapped_column(AttachmentType(storage))
    pages: Mapped[list[StorageFile]] = mapped_column(AttachmentListType(storage))


class DocumentAdmin(ModelView, model=Document):
    form_converter = FileModelConverter  # type: ignore[mutable-override]
    column_list = "__all__"  # type: ignore[mutable-override]
    save_as = True


NOTHING = ("", b"", "application/octet-stream")
"""The part that browsers send for a file input where nothing was chosen."""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'app.db'}")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield engine
    await engine.dispose()
    storage._files.clear()


@pytest.fixture
def make_session(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine, expire_on_commit=False)


@pytest.fixture
async def client(engine: AsyncEngine) -> AsyncIterator[AsyncClient]:
    app = FastAPI()
    admin = Admin(app, session_maker=track_files(async_sessionmaker(engine)))
    admin.add_view(DocumentAdmin)
    async with open_client(app) as client:
        yield client
    gc.collect()  # Here, where the warning about unclosed files is ignored.


def make_png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (32, 16), "red").save(buffer, "PNG")
    return buffer.getvalue()


async def send(client: AsyncClient, path: str, files: Parts, **fields: str) -> Response:
    """Send a form as a browser does: with a part for every file input.

    httpx would leave out the file name of a part where nothing was chosen.
    """
    body = b""
    for name, value in fields.items():
        body += f'--limit\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        body += value.encode() + b"\r\n"
    for name in ("file", "image", "scan"):
        filename, content, content_type = files.get(name, NOTHING)
        body += (
            f'--limit\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
            f"Content-Type: {content_type}\r\n\r\n"
        ).encode()
        body += content + b"\r\n"
    return await client.post(
        f"/admin/document/{path}",
        content=body + b"--limit--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=limit"},
    )


async def create(client: AsyncClient, **files: tuple[str, bytes, str]) -> Response:
    return await send(client, "create", {"file": ("a.txt", b"abc", "text/plain")} | files)


async def list_names() -> list[str]:
    return [info.name async for info in storage.list()]


async def get_document(make_session: async_sessionmaker[AsyncSession], key: int = 1) -> Document:
    async with make_session() as session:
        return await session.get_one(Document, key)


def get_inputs(page: str) -> dict[str, str]:
    """Return the file inputs and check boxes of a page, by their names."""
    inputs = re.findall(r"<input[^>]*>", page)
    return {re.findall(r'name="([^"]*)"', tag)[0]: tag for tag in inputs if "name=" in tag}


def get_error(answer: Response) -> str:
    assert answer.status_code == 400
    return unescape(answer.text)


class TestCreate:
    async def test_the_form(self, client: AsyncClient) -> None:
        inputs = get_inputs((await client.get("/admin/document/create")).text)

        for name in ("file", "image", "scan"):
            assert 'type="file"' in inputs[name]
        assert "required" in inputs["file"]
        assert "required" not in inputs["image"]
        assert "pages" not in inputs

    async def test_files_are_stored(
        self, client: AsyncClient, make_session: async_sessionmaker[AsyncSession]
    ) -> None:
        answer = await create(
            client,
            image=("red.png", make_png(), "image/png"),
            scan=("scan.txt", b"scanned", "text/plain"),
        )

        assert answer.status_code == 302
        document = await get_document(make_session)
        assert await document.file.read() == b"abc"
        assert document.image is not None
        assert await document.image.get_dimensions() == (32, 16)
        assert document.scan is not None
        assert document.scan.info is not None
        assert document.scan.info.filename == "scan.txt"
        assert document.pages == []

    async def test_only_what_is_required(
        self, client: AsyncClient, make_session: async_sessionmaker[AsyncSession]
    ) -> None:
        assert (await create(client)).status_code == 302

        document = await get_document(make_session)
        assert (document.image, document.scan) == (None, None)
        assert await list_names() == [document.file.name]

    async def test_a_file_that_is_required(self, client: AsyncClient) -> None:
        answer = await create(client, file=NOTHING)

        assert "This field is required." in get_error(answer)

    async def test_a_file_that_breaks_a_rule(self, client: AsyncClient) -> None:
        answer = await create(
            client,
            file=("big.txt", bytes(1001), "text/plain"),
            image=("red.png", make_png(), "image/png"),
        )

        assert "is too large: 1001 bytes" in get_error(answer)
        assert "UploadFile object" not in answer.text
        assert await list_names() == []

    async def test_an_image_that_is_none(self, client: AsyncClient) -> None:
        answer = await create(client, image=("a.png", b"no image", "image/png"))

        assert "image" in get_error(answer)
        assert await list_names() == []

    async def test_an_empty_file(
        self, client: AsyncClient, make_session: async_sessionmaker[AsyncSession]
    ) -> None:
        assert (await create(client, file=("empty.txt", b"", "text/plain"))).status_code == 302

        assert await (await get_document(make_session)).file.read() == b""

    async def test_sessions_that_are_not_tracked(self, engine: AsyncEngine) -> None:
        app = FastAPI()
        Admin(app, engine).add_view(DocumentAdmin)
        async with open_client(app) as client:
            answer = await create(client)

        gc.collect()
        assert "track_files()" in get_error(answer)


class TestEdit:
    @pytest.fixture
    async def before(
        self, client: AsyncClient, make_session: async_sessionmaker[AsyncSession]
    ) -> Document:
        answer = await create(
            client,
            image=("red.png", make_png(), "image/png"),
            scan=("scan.txt", b"scanned", "text/plain"),
        )
        assert answer.status_code == 302
        return await get_document(make_session)

    async def test_the_form_shows_the_current_files(
        self, client: AsyncClient, before: Document
    ) -> None:
        page = (await client.get("/admin/document/edit/1")).text

        for file in (before.file, before.image, before.scan):
            assert f"Currently: {file}" in page
        inputs = get_inputs(page)
        assert "required" not in inputs["file"]
        assert "file_checkbox" not in inputs
        assert {"image_checkbox", "scan_checkbox"} <= inputs.keys()

    async def test_files_are_kept(
        self,
        client: AsyncClient,
        before: Document,
        make_session: async_sessionmaker[AsyncSession],
    ) -> None:
        infos = [info async for info in storage.list()]

        answer = await send(client, "edit/1", {}, title="New title")

        assert answer.status_code == 302
        after = await get_document(make_session)
        assert after.title == "New title"
        assert (after.file, after.image, after.scan) == (before.file, before.image, before.scan)
        assert after.scan is not None
        assert before.scan is not None
        assert after.scan.info == before.scan.info
        assert [info async for info in storage.list()] == infos

    async def test_files_are_replaced(
        self,
        client: AsyncClient,
        before: Document,
        make_session: async_sessionmaker[AsyncSession],
    ) -> None:
        files = {
            "file": ("b.txt", b"new", "text/plain"),
            "scan": ("new.txt", b"new scan", "text/plain"),
        }

        answer = await send(client, "edit/1", files)

        assert answer.status_code == 302
        after = await get_document(make_session)
        assert after.scan is not None
        assert (await after.file.read(), await after.scan.read()) == (b"new", b"new scan")
        assert after.image == before.image
        names = {str(file) for file in (after.file, after.image, after.scan)}
        assert set(await list_names()) == names

    async def test_files_are_cleared(
        self,
        client: AsyncClient,
        before: Document,
        make_session: async_sessionmaker[AsyncSession],
    ) -> None:
        answer = await send(client, "edit/1", {}, image_checkbox="on", scan_checkbox="on")

        assert answer.status_code == 302
        after = await get_document(make_session)
        assert (after.file, after.image, after.scan) == (before.file, None, None)
        assert await list_names() == [before.file.name]

    async def test_a_required_file_is_not_cleared(
        self, client: AsyncClient, before: Document
    ) -> None:
        answer = await send(client, "edit/1", {}, file_checkbox="on")

        assert "This field is required." in get_error(answer)
        assert before.file.name in await list_names()

    async def test_a_replacement_that_breaks_a_rule(
        self,
        client: AsyncClient,
        before: Document,
        make_session: async_sessionmaker[AsyncSession],
    ) -> None:
        names = await list_names()

        answer = await send(client, "edit/1", {"file": ("b.txt", bytes(1001), "text/plain")})

        assert "is too large: 1001 bytes" in get_error(answer)
        assert (await get_document(make_session)).file == before.file
        assert await list_names() == names

    async def test_a_file_named_like_another_one_is_an_upload(
        self,
        client: AsyncClient,
        before: Document,
        make_session: async_sessionmaker[AsyncSession],
    ) -> None:
        """A client cannot make the row take over a file by its name."""
        await storage.upload(b"secret", "secret.txt")

        await send(client, "edit/1", {"file": ("secret.txt", b"mine", "text/plain")})

        after = await get_document(make_session)
        assert await after.file.read() == b"mine"
        assert before.file.name not in await list_names()

    async def test_a_copy_of_the_row_shares_its_files(
        self,
        client: AsyncClient,
        before: Document,
        make_session: async_sessionmaker[AsyncSession],
    ) -> None:
        answer = await send(client, "edit/1", {}, save="Save as new")
        assert answer.status_code == 302
        copied = await get_document(make_session, 2)
        assert (copied.file, copied.image, copied.scan) == (
            before.file,
            before.image,
            before.scan,
        )
        assert copied.scan is not None
        assert copied.scan.info is not None
        assert copied.scan.info.size == len(b"scanned")

        await client.delete("/admin/document/delete", params={"pks": "1"})
        assert len(await list_names()) == 3
        await client.delete("/admin/document/delete", params={"pks": "2"})
        assert await list_names() == []


async def test_lists_and_details_show_names(
    client: AsyncClient, make_session: async_sessionmaker[AsyncSession]
) -> None:
    await create(client)
    name = (await get_document(make_session)).file.name

    for path in ("list", "details/1"):
        assert name in (await client.get(f"/admin/document/{path}")).text


def test_missing_sqladmin() -> None:
    code = (
        "import sys; sys.modules['sqladmin'] = None\n"
        "try:\n"
        "    import fastapi_async_storages.integrations.sqladmin\n"
        "except ImportError as error:\n"
        "    print(type(error).__name__, error)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.startswith("MissingDependencyError ")
    assert "pip install sqladmin" in done.stdout
