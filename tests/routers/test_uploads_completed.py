"""A ticket in the body of another endpoint: its file comes verified, and lives with the row."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Header, HTTPException
from fastapi.openapi.models import OpenAPI
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_async_storages import (
    MemoryStorage,
    Storage,
    StorageFile,
    UploadRules,
    add_problem_handlers,
    create_uploads_router,
    public,
    storage_lifespan,
)
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.integrations.sqlalchemy import FileType, track_files
from fastapi_async_storages.routers.uploads import UploadsRouter
from fastapi_async_storages.uploads.tickets import TicketOffice
from tests.asgi import open_client
from tests.integrations.sqlalchemy.databases import make_sqlite_engine
from tests.servers.http_server import serve
from tests.uploads.front_end import (
    SECRET_KEY,
    FrontEnd,
    assert_nothing_is_left,
    list_names,
    open_front_end,
)
from tests.uploads.samples import PNG

pytestmark = pytest.mark.anyio

Plan = dict[str, Any]


class DocumentIn(BaseModel):
    title: str
    ticket: str | None = None


async def get_ticket(document: DocumentIn) -> str | None:
    return document.ticket


async def get_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


def make_uploads(**options: Any) -> UploadsRouter:
    options = {"access": public, "user": get_user, "rules": UploadRules(), **options}
    return create_uploads_router(secret_key=SECRET_KEY, prefix="docs", **options)


def make_models(storage: Storage) -> tuple[Any, Any]:
    class Base(DeclarativeBase):
        pass

    class Document(Base):
        __tablename__ = "documents"

        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(unique=True)
        file: Mapped[StorageFile | None] = mapped_column(FileType(storage))

    return Base.metadata, Document


def make_router(uploads: UploadsRouter, document_type: Any, get_session: Any) -> APIRouter:
    """Make the endpoints of an app: one that keeps the file, and two that fail."""
    router = APIRouter()
    completed = uploads.completed(get_ticket)
    session_type = Annotated[AsyncSession, Depends(get_session)]

    @router.post("/documents", status_code=201)
    async def create(
        document: DocumentIn, file: Annotated[StorageFile | None, completed], session: session_type
    ) -> StorageFile | None:
        session.add(document_type(title=document.title, file=file))
        await session.commit()
        return file

    @router.post("/raises")
    async def fail(document: DocumentIn, file: Annotated[StorageFile, completed]) -> None:
        assert await file.read() == PNG
        raise HTTPException(418)

    @router.post("/flushes")
    async def flush(
        document: DocumentIn, file: Annotated[StorageFile, completed], session: session_type
    ) -> None:
        session.add(document_type(title=document.title, file=file))
        await session.flush()
        raise HTTPException(418)

    return router


@dataclass
class App:
    """A running app, as its front end and its database see it."""

    front_end: FrontEnd
    engine: AsyncEngine
    document_type: Any

    async def create(self, plan: Plan, path: str = "/api/documents", **body: Any) -> httpx.Response:
        json = {"title": "A", "ticket": plan["ticket"], **body}
        return await self.front_end.app.post(path, json=json)

    async def read_rows(self) -> list[str | None]:
        async with AsyncSession(self.engine) as session:
            rows = await session.scalars(select(self.document_type))
            return [row.file and row.file.name for row in rows]


@asynccontextmanager
async def run_app(storage: Storage, directory: Path, **options: Any) -> AsyncIterator[App]:
    metadata, document_type = make_models(storage)
    engine = make_sqlite_engine(directory / "rows.db")
    make_session = track_files(async_sessionmaker(engine))

    async def get_session() -> AsyncIterator[AsyncSession]:
        async with make_session() as session:
            yield session

    app = FastAPI(lifespan=storage_lifespan(storage))
    add_problem_handlers(app)
    uploads = make_uploads(**options)
    app.include_router(make_router(uploads, document_type, get_session), prefix="/api")
    app.include_router(uploads, prefix="/uploads")
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        async with open_front_end(app) as front_end:
            front_end.app.headers["x-user"] = "ann"
            yield App(front_end, engine, document_type)
    finally:
        await engine.dispose()


@pytest.fixture
async def app(storage: Storage, tmp_path: Path) -> AsyncIterator[App]:
    async with run_app(storage, tmp_path) as app:
        yield app


async def send_one(front_end: FrontEnd, content: bytes = PNG) -> Plan:
    plan = await front_end.plan(content, "a.png", content_type="image/png")
    assert (await front_end.send(plan, content)).is_success
    return plan


def make_office(path: str = "/uploads/direct") -> TicketOffice:
    return TicketOffice(SECRET_KEY, place=f"default\n{path}", user="ann")


async def test_the_file_is_committed_with_its_row(app: App, storage: Storage) -> None:
    made = await app.create(await send_one(app.front_end))
    assert made.status_code == 201, made.text
    facts = made.json()
    assert (facts["size"], facts["content_type"], facts["filename"]) == (
        len(PNG),
        "image/png",
        "a.png",
    )
    assert facts["name"].startswith("docs/")
    assert await app.read_rows() == await list_names(storage) == [facts["name"]]


async def test_without_a_ticket_there_is_no_file(app: App, storage: Storage) -> None:
    made = await app.front_end.app.post("/api/documents", json={"title": "A"})
    assert (made.status_code, made.json()) == (201, None)
    assert await app.read_rows() == [None]


@pytest.mark.parametrize("path", ["/api/raises", "/api/flushes"])
async def test_an_endpoint_that_raises_leaves_no_file(
    app: App, storage: Storage, path: str
) -> None:
    answer = await app.create(await send_one(app.front_end), path)
    assert answer.status_code == 418
    assert await app.read_rows() == []
    await assert_nothing_is_left(storage)


async def test_a_wrong_body_costs_no_upload(app: App, storage: Storage) -> None:
    plan = await send_one(app.front_end)
    wrong = await app.create(plan, title=7)
    assert wrong.status_code == 422
    # Once for the endpoint, once for the ticket.
    assert [error["loc"] for error in wrong.json()["detail"]] == [["body", "title"]] * 2
    assert (await app.create(plan)).status_code == 201


async def test_what_fails_behind_the_answer_deletes_nothing(storage: Storage) -> None:
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(uploads := make_uploads(), prefix="/uploads")

    async def fail() -> None:
        raise RuntimeError("after the answer")

    @app.post("/documents")
    async def create(
        document: DocumentIn,
        file: Annotated[StorageFile, uploads.completed(get_ticket)],
        background: BackgroundTasks,
    ) -> None:
        background.add_task(fail)

    async with open_front_end(app) as front_end:
        with pytest.raises(RuntimeError, match="after the answer"):
            await complete_at(front_end, "/documents")
        [name] = await list_names(storage)
        assert name.startswith("docs/")


# Refused tickets


async def assert_refused(app: App, storage: Storage, plan: Plan, status: int = 403) -> None:
    """Check that a ticket gives nothing, and takes nothing from the upload that waits."""
    before = await list_names(storage)
    answer = await app.create(plan)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await app.read_rows() == []
    assert await list_names(storage) == before


@pytest.mark.parametrize("forged", ["", "x", "x.y", "\0", "日本", "docs/a.png"])
async def test_a_forged_ticket(app: App, storage: Storage, forged: str) -> None:
    plan = await send_one(app.front_end)
    await assert_refused(app, storage, {"ticket": forged})
    changed = plan["ticket"][:20] + ("A" if plan["ticket"][20] != "A" else "Q")
    await assert_refused(app, storage, {"ticket": changed + plan["ticket"][21:]})


async def test_the_name_of_a_file_is_no_ticket(app: App, storage: Storage) -> None:
    name = (await app.front_end.upload(PNG)).json()["name"]
    await assert_refused(app, storage, {"ticket": name})


async def test_an_expired_ticket(app: App, storage: Storage) -> None:
    plan = await send_one(app.front_end)
    ticket = make_office().verify(plan["ticket"])
    expired = make_office().sign(replace(ticket, expires_at=int(time.time()) - 1))
    await assert_refused(app, storage, {"ticket": expired}, status=410)


async def test_a_ticket_of_somebody_else(app: App, storage: Storage) -> None:
    plan = await send_one(app.front_end)
    app.front_end.app.headers["x-user"] = "bob"
    await assert_refused(app, storage, plan)
    app.front_end.app.headers["x-user"] = "ann"
    assert (await app.create(plan)).status_code == 201


async def test_a_ticket_of_another_router(app: App, storage: Storage) -> None:
    plan = await send_one(app.front_end)
    ticket = make_office().verify(plan["ticket"])
    other = make_office("/lenient/direct").sign(ticket)
    await assert_refused(app, storage, {"ticket": other})


async def test_the_token_of_a_url_is_no_ticket(app: App, storage: Storage) -> None:
    plan = await send_one(app.front_end)
    token = make_office().sign_url(make_office().verify(plan["ticket"]))
    await assert_refused(app, storage, {"ticket": token})


@pytest.mark.parametrize("first", ["/api/documents", "/uploads/direct/complete"])
async def test_a_used_ticket(app: App, storage: Storage, first: str) -> None:
    plan = await send_one(app.front_end)
    assert (await app.create(plan, first)).status_code == 201
    names, rows = await list_names(storage), await app.read_rows()
    assert (await app.create(plan, title="B")).status_code == 404
    assert (await app.front_end.complete(plan)).status_code == 404
    assert (await list_names(storage), await app.read_rows()) == (names, rows)


async def test_a_ticket_for_which_nothing_came(app: App, storage: Storage) -> None:
    plan = await app.front_end.plan(PNG)
    await assert_refused(app, storage, plan, status=404)


async def test_the_rules_are_those_of_the_router(storage: Storage, tmp_path: Path) -> None:
    rules = UploadRules(types=["image/*"])
    async with run_app(storage, tmp_path, rules=rules) as app:
        answer = await app.create(await send_one(app.front_end, b"<html>no image</html>"))
        assert answer.status_code == 415
        assert await app.read_rows() == []
        await assert_nothing_is_left(storage)


async def test_who_may_upload_is_asked_again(storage: Storage, tmp_path: Path) -> None:
    async def is_ann(x_user: Annotated[str, Header()]) -> bool:
        return x_user == "ann"

    async with run_app(storage, tmp_path, access=is_ann, user=None) as app:
        plan = await send_one(app.front_end)
        app.front_end.app.headers["x-user"] = "bob"
        await assert_refused(app, storage, plan)


async def test_the_endpoint_is_called_and_not_on_stored(tmp_path: Path) -> None:
    stored: list[str] = []

    async def on_stored(file: StorageFile) -> None:
        stored.append(file.name)

    async with run_app(MemoryStorage(), tmp_path, on_stored=on_stored) as app:
        assert (await app.create(await send_one(app.front_end))).status_code == 201
        assert stored == []
        await app.front_end.upload(PNG)
        assert len(stored) == 1


# Where the router is


def make_small_app(storage: Storage, *prefixes: str, path: str = "/documents") -> FastAPI:
    """Make an app with one endpoint that takes tickets, and the router at some prefixes."""
    app = FastAPI(lifespan=storage_lifespan(storage))
    add_problem_handlers(app)
    uploads = make_uploads()

    @app.post(path)
    async def create(
        document: DocumentIn, file: Annotated[StorageFile, uploads.completed(get_ticket)]
    ) -> StorageFile:
        return file

    for prefix in prefixes:
        outer = APIRouter()
        outer.include_router(uploads, prefix="/uploads")
        app.include_router(outer, prefix=prefix)
    return app


async def complete_at(front_end: FrontEnd, path: str) -> httpx.Response:
    plan = await send_one(front_end)
    body = {"title": "A", "ticket": plan["ticket"]}
    return await front_end.app.post(path, json=body)


async def test_in_a_router_in_a_router_in_a_mounted_app(storage: Storage) -> None:
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.mount("/inner", make_small_app(storage, "/v1"))
    async with open_front_end(app, "/inner/v1/uploads") as front_end:
        assert (await complete_at(front_end, "/inner/documents")).status_code == 200


async def test_a_path_parameter_ties_a_ticket_to_its_value(storage: Storage) -> None:
    app = make_small_app(storage, "/teams/{team}", path="/teams/{team}/documents")
    async with open_front_end(app, "/teams/a b/uploads") as front_end:
        assert (await complete_at(front_end, "/teams/a b/documents")).status_code == 200
        assert (await complete_at(front_end, "/teams/c/documents")).status_code == 403


async def test_behind_a_proxy() -> None:
    with serve(make_small_app(MemoryStorage(), ""), root_path="/api/v1") as url:
        async with httpx.AsyncClient(base_url=url) as client:
            front_end = FrontEnd(client, client)
            plan = await front_end.plan(PNG, "a.png", content_type="image/png")
            plan["url"] = plan["url"].replace("/api/v1", "")  # What the proxy does.
            assert (await front_end.send(plan, PNG)).status_code == 204
            body = {"title": "A", "ticket": plan["ticket"]}
            assert (await client.post("/documents", json=body)).status_code == 200


@pytest.mark.parametrize(
    "make_app,message",
    [
        (lambda: make_small_app(MemoryStorage()), "at no path"),
        (lambda: make_small_app(MemoryStorage(), "/a", "/b"), "'/a/uploads/direct', '/b/up"),
        (lambda: make_small_app(MemoryStorage(), "/{team}"), "no path parameter 'team'"),
    ],
)
async def test_a_router_that_cannot_be_found(make_app: Callable[[], FastAPI], message: str) -> None:
    app = make_app()
    app.exception_handlers.clear()
    async with open_client(app) as client:
        with pytest.raises(ConfigurationError, match=message):
            await client.post("/documents", json={"title": "A", "ticket": "x"})


# OpenAPI


async def test_the_schema_shows_the_body_of_the_endpoint_alone(app: App) -> None:
    schema = (await app.front_end.app.get("/openapi.json")).json()
    OpenAPI.model_validate(schema)
    operation = schema["paths"]["/api/documents"]["post"]
    assert operation["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/DocumentIn"}}},
    }
    assert {one["name"] for one in operation["parameters"]} == {"x-user"}
    for status in ("403", "404", "410", "412", "413", "415", "422"):
        assert "application/problem+json" in operation["responses"][status]["content"]
    assert "application/json" in operation["responses"]["422"]["content"]
