"""A name in a request: a handle for those who may use the file, and nothing to learn for others."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Header, HTTPException
from fastapi.openapi.models import OpenAPI
from pydantic import BaseModel

from fastapi_async_storages import (
    MemoryStorage,
    NamedFile,
    Storage,
    StorageFile,
    Storages,
    UploadRules,
    add_problem_handlers,
    create_uploads_router,
    public,
    storage_lifespan,
)
from tests.asgi import open_client
from tests.uploads.front_end import SECRET_KEY, FrontEnd, list_names, open_front_end

pytestmark = pytest.mark.anyio


class CoverIn(BaseModel):
    title: str
    file: str


async def get_name(cover: CoverIn) -> str:
    return cover.file


async def is_owner(file: StorageFile, x_user: Annotated[str, Header()]) -> bool:
    return file.name.startswith(f"{x_user}/")


def make_app(storages: Storage | Storages, **options: Any) -> FastAPI:
    app = FastAPI(lifespan=storage_lifespan(storages))
    add_problem_handlers(app)
    router = APIRouter()
    named = NamedFile(get_name, **{"access": is_owner, **options})

    @router.post("/covers")
    async def choose(cover: CoverIn, file: Annotated[StorageFile, named]) -> StorageFile:
        assert not file._fresh
        return file

    @router.post("/raises")
    async def fail(cover: CoverIn, file: Annotated[StorageFile, named]) -> None:
        raise HTTPException(418)

    app.include_router(router, prefix="/api")
    uploads = create_uploads_router(rules=UploadRules(), access=public, secret_key=SECRET_KEY)
    app.include_router(uploads, prefix="/uploads")
    return app


@pytest.fixture
async def front_end(storage: Storage) -> AsyncIterator[FrontEnd]:
    async with open_front_end(make_app(storage)) as front_end:
        front_end.app.headers["x-user"] = "ann"
        await storage.upload(b"abc", "ann/a.txt", metadata={"filename": "A.txt"})
        await storage.upload(b"abc", "bob/a.txt")
        yield front_end


async def choose(front_end: FrontEnd, name: object, path: str = "/api/covers") -> httpx.Response:
    return await front_end.app.post(path, json={"title": "T", "file": name})


async def test_the_handle_knows_the_file(front_end: FrontEnd) -> None:
    answer = await choose(front_end, "ann/a.txt")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "name": "ann/a.txt",
        "filename": "A.txt",
        "size": 3,
        "content_type": "text/plain",
        "width": None,
        "height": None,
    }


async def test_who_may_not_use_a_file_learns_nothing_of_it(front_end: FrontEnd) -> None:
    answers = [await choose(front_end, name) for name in ("bob/a.txt", "bob/b.txt", "ann/b.txt")]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize("name", ["../a.txt", "ann/../bob/a.txt", "ann/a\0.txt", "", "a" * 1025])
async def test_a_name_that_no_file_can_have(front_end: FrontEnd, name: str) -> None:
    answer = await choose(front_end, name)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_rule_sees_the_safe_form_of_a_name(front_end: FrontEnd) -> None:
    assert (await choose(front_end, "ann//./a.txt")).json()["name"] == "ann/a.txt"
    front_end.app.headers["x-user"] = "."
    assert (await choose(front_end, "./bob/a.txt")).status_code == 404


async def test_a_body_without_the_name(front_end: FrontEnd) -> None:
    assert (await front_end.app.post("/api/covers", json={"title": "T"})).status_code == 422
    assert (await choose(front_end, ["ann/a.txt"])).status_code == 422


async def test_an_upload_that_nobody_has_completed(storage: Storage) -> None:
    async with open_front_end(make_app(storage, access=public)) as front_end:
        plan = await front_end.plan(b"abc", "a.txt")
        assert (await front_end.send(plan, b"abc")).is_success
        [name] = await list_names(storage)
        for spelling in (name, name.replace("pending", "Pending"), plan["ticket"]):
            assert (await choose(front_end, spelling)).status_code == 404
        made = (await front_end.complete(plan)).json()
        assert (await choose(front_end, made["name"])).json() == made


async def test_no_rollback_deletes_what_was_there(front_end: FrontEnd, storage: Storage) -> None:
    assert (await choose(front_end, "ann/a.txt", "/api/raises")).status_code == 418
    assert await list_names(storage) == ["ann/a.txt", "bob/a.txt"]


async def test_of_another_storage() -> None:
    storages = Storages(MemoryStorage(), other=MemoryStorage())
    async with open_client(make_app(storages, access=public, storage="other")) as client:
        await storages["other"].upload(b"abc", "a.txt")
        await storages.default.upload(b"abc", "b.txt")
        statuses = [
            (await client.post("/api/covers", json={"title": "T", "file": name})).status_code
            for name in ("a.txt", "b.txt")
        ]
    assert statuses == [200, 404]


async def test_a_decision_is_required() -> None:
    with pytest.raises(TypeError, match="access"):
        NamedFile(get_name)  # type: ignore[call-arg]


async def test_the_schema_shows_the_body_of_the_endpoint_alone(front_end: FrontEnd) -> None:
    schema = (await front_end.app.get("/openapi.json")).json()
    OpenAPI.model_validate(schema)
    operation = schema["paths"]["/api/covers"]["post"]
    assert operation["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CoverIn"}}},
    }
    for status in ("404", "422"):
        assert "application/problem+json" in operation["responses"][status]["content"]
    assert "403" not in operation["responses"]
