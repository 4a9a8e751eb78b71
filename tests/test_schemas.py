"""Files in the JSON of an API: as fields of Pydantic models, and with their URLs."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_async_storages import (
    FileInfo,
    FileOut,
    LocalStorage,
    MemoryStorage,
    NamedFile,
    S3Storage,
    Storage,
    StorageFile,
    StorageImage,
    add_problem_handlers,
    create_files_router,
    file_out,
    files_out,
    public,
    save_upload,
    storage_lifespan,
)
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.integrations.sqlalchemy import FileType, ImageType
from tests.asgi import open_client
from tests.servers.s3 import S3Server
from tests.storages import make_storage

SECRET_KEY = "a secret key of more than 16 bytes"
storage = MemoryStorage(base_url="/files", secret_key=SECRET_KEY)

PICTURE = FileInfo(
    "photos/1.png",
    1234,
    content_type="image/png",
    filename="Überblick.png",
    checksum="sha256:" + "0" * 64,
    width=640,
    height=480,
)
PICTURE_JSON = {
    "name": "photos/1.png",
    "filename": "Überblick.png",
    "size": 1234,
    "content_type": "image/png",
    "width": 640,
    "height": 480,
}
UNKNOWN_JSON = {
    "name": "a.txt",
    "filename": None,
    "size": None,
    "content_type": None,
    "width": None,
    "height": None,
}


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[StorageFile] = mapped_column(FileType(storage))
    image: Mapped[StorageImage | None] = mapped_column(ImageType(storage))


class DocumentOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    file: StorageFile
    image: StorageImage | None


def make_document() -> Document:
    image = StorageImage(storage, "photos/1.png", PICTURE)
    return Document(id=1, file=StorageFile(storage, "a.txt"), image=image)


class TestFields:
    def test_a_row_becomes_json(self) -> None:
        shown = DocumentOut.model_validate(make_document())

        assert shown.model_dump(mode="json") == {
            "id": 1,
            "file": UNKNOWN_JSON,
            "image": PICTURE_JSON,
        }
        assert '"filename":"Überblick.png"' in shown.model_dump_json()
        assert DocumentOut.model_validate(Document(id=1, file="a.txt")).image is None

    def test_the_name_is_that_of_the_handle(self) -> None:
        moved = StorageFile(storage, "b.png", PICTURE)

        assert TypeAdapter(StorageFile).dump_python(moved, mode="json")["name"] == "b.png"

    def test_a_model_keeps_handles(self) -> None:
        document = make_document()

        dumped = DocumentOut.model_validate(document).model_dump()

        assert dumped == {"id": 1, "file": document.file, "image": document.image}
        assert Document(**dumped).file is document.file

    @pytest.mark.parametrize("mode", ["validation", "serialization"])
    def test_the_schema_is_that_of_the_json(self, mode: Any) -> None:
        schema = DocumentOut.model_json_schema(mode=mode)

        assert schema["properties"]["file"] == {"$ref": "#/$defs/StorageFile"}
        # Pydantic itself makes the schema of FileOut.
        by_pydantic = FileOut.model_json_schema(mode="serialization")
        assert by_pydantic["properties"].pop("url")["type"] == "string"
        for definition in ("StorageFile", "StorageImage"):
            assert schema["$defs"][definition] == {
                **by_pydantic,
                "title": definition,
                "description": "A stored file. What is not known about it is null.",
                "required": list(PICTURE_JSON),
            }

    @pytest.mark.parametrize("value", ["a.txt", UNKNOWN_JSON, None, 7])
    def test_data_is_refused_with_what_to_do(self, value: object) -> None:
        with pytest.raises(ValidationError, match=r"should be a StorageFile.*in a dependency"):
            DocumentOut.model_validate({"id": 1, "file": value, "image": None})

    def test_a_file_is_no_image(self) -> None:
        file = StorageFile(storage, "a.txt")

        with pytest.raises(ValidationError, match="should be a StorageImage"):
            DocumentOut.model_validate({"id": 1, "file": file, "image": file})

    def test_an_image_is_a_file(self) -> None:
        image = StorageImage(storage, "a.png")

        assert TypeAdapter(StorageFile).validate_python(image) is image


@pytest.mark.anyio
class TestAnswers:
    async def test_a_response_model(self) -> None:
        app = FastAPI()

        @app.get("/row", response_model=DocumentOut)
        async def show_row() -> Document:
            return make_document()

        @app.get("/files")
        async def show_files() -> list[StorageFile]:
            return [make_document().file]

        async with open_client(app) as client:
            assert (await client.get("/row")).json()["image"] == PICTURE_JSON
            assert (await client.get("/files")).json() == [UNKNOWN_JSON]
            schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
        assert schemas["StorageFile"]["properties"]["size"] == {
            "title": "Size",
            "description": "Size in bytes.",
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}],
        }
        assert schemas["DocumentOut"]["properties"]["file"] == {
            "$ref": "#/components/schemas/StorageFile"
        }

    async def test_no_response_model_shows_no_credential(self, tmp_path: Path) -> None:
        secret = "the-secret-of-the-storage"
        storages: list[Storage] = [
            S3Storage("bucket", aws_access_key_id=secret, aws_secret_access_key=secret),
            LocalStorage(tmp_path, base_url="/files", secret_key=secret),
            MemoryStorage(base_url="/files", secret_key=secret),
        ]
        app = FastAPI()

        @app.get("/", response_model=None)
        async def show() -> Any:
            return [make_document(), {"file": [StorageFile(each, "a.txt") for each in storages]}]

        async with open_client(app) as client:
            answer = await client.get("/")

        row, others = answer.json()
        assert (row["file"], row["image"]) == (UNKNOWN_JSON, PICTURE_JSON)
        assert others == {"file": [UNKNOWN_JSON] * 3}
        assert secret not in answer.text

    async def test_a_name_in_a_request_is_resolved_by_a_dependency(self) -> None:
        storage = MemoryStorage()
        app = FastAPI(lifespan=storage_lifespan(storage))
        add_problem_handlers(app)

        class DocumentIn(BaseModel):
            title: str
            file: str

        async def get_name(document: DocumentIn) -> str:
            return document.file

        @app.post("/documents")
        async def create(
            document: DocumentIn,
            file: Annotated[StorageFile, NamedFile(get_name, access=public)],
        ) -> tuple[str, StorageFile]:
            return document.title, file

        async with open_client(app) as client:
            await storage.upload(b"abc", "a.txt")
            made = await client.post("/documents", json={"title": "T", "file": "a.txt"})
            missing = await client.post("/documents", json={"title": "T", "file": "b.txt"})
            invalid = await client.post("/documents", json={"title": "T", "file": "../a"})

        facts = {"size": 3, "content_type": "text/plain"}
        assert made.json() == ["T", {**UNKNOWN_JSON, **facts}]
        assert (missing.status_code, invalid.status_code) == (404, 422)


@pytest.mark.anyio
class TestFileOut:
    async def test_facts_and_url(self) -> None:
        file = await save_upload(b"hello world", storage, filename="hello.txt")

        shown = await file_out(file, filename="other.txt", disposition="attachment")

        assert shown == FileOut(
            name=file.name,
            filename="hello.txt",
            size=11,
            content_type="text/plain",
            width=None,
            height=None,
            url=await file.get_path(filename="other.txt", disposition="attachment"),
        )

    async def test_none_stays_none(self) -> None:
        assert await file_out(Document(file="a.txt").image) is None

    async def test_the_storage_is_not_asked(self) -> None:
        shown = await file_out(StorageFile(storage, "missing.txt"))

        assert shown.size is None
        assert shown.url.startswith("/files/missing.txt?token=")

    async def test_expiry(self, s3_server: S3Server) -> None:
        with make_storage("s3", lambda: s3_server) as s3:
            file = StorageFile(s3, "a.txt")
            shown, (listed,) = await file_out(file, expires_in=77), await files_out([file])

        assert "X-Amz-Expires=77&" in shown.url
        assert "X-Amz-Expires=3600&" in listed.url

    async def test_the_url_is_that_of_the_router(self) -> None:
        storage = MemoryStorage()
        app = FastAPI(lifespan=storage_lifespan(storage))
        app.include_router(create_files_router(access=public), prefix="/media")

        @app.get("/")
        async def show(request: Request, response: Response) -> list[FileOut]:
            return [
                await file_out(StorageFile(storage, "a.txt"), request=request),
                *await files_out([StorageFile(storage, "b.txt")], request=request),
            ]

        async with open_client(app) as client:
            await storage.upload(b"A", "a.txt")
            first, second = (await client.get("/")).json()
            assert (await client.get(first["url"])).text == "A"

        assert first["url"] == "http://test/media/a.txt"
        assert second["url"] == "http://test/media/b.txt"

    async def test_many_are_described_at_a_time_and_in_order(self) -> None:
        waiting = 0
        all_wait = asyncio.Event()

        class Slow(MemoryStorage):
            async def get_path(self, name: str, **options: Any) -> str:
                nonlocal waiting
                waiting += 1
                if waiting == 3:
                    all_wait.set()
                await asyncio.wait_for(all_wait.wait(), 10)
                return f"/{name}"

        slow = Slow()

        shown = await files_out(StorageFile(slow, name) for name in "cab")

        assert [file.url for file in shown] == ["/c", "/a", "/b"]
        assert await files_out([]) == []

    async def test_an_error_is_raised_as_it_is(self) -> None:
        files = [StorageFile(storage, "a.txt"), StorageFile(MemoryStorage(), "b.txt")]

        with pytest.raises(ConfigurationError, match="base_url"):
            await files_out(files)
