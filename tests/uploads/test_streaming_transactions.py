"""A streamed file belongs to the request until a transaction takes it over."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_async_storages import (
    MemoryStorage,
    StorageFile,
    StreamedUpload,
    add_problem_handlers,
    storage_lifespan,
)
from fastapi_async_storages.integrations.sqlalchemy import FileType, track_files
from tests.asgi import open_client
from tests.integrations.sqlalchemy.databases import open_sqlite

pytestmark = pytest.mark.anyio

STORAGE = MemoryStorage()

Scope = Literal["function", "request"]


class Base(DeclarativeBase):
    pass


class Video(Base):
    __tablename__ = "videos"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(unique=True)
    file: Mapped[StorageFile] = mapped_column(FileType(STORAGE))


@pytest.fixture
async def make_session(tmp_path: Path) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    async with open_sqlite(tmp_path) as engine:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield track_files(async_sessionmaker(engine))
    async with STORAGE:
        await STORAGE.delete_many([info.name async for info in STORAGE.list()])


def make_app(make_session: async_sessionmaker[AsyncSession], scope: Scope) -> FastAPI:
    async def get_session() -> AsyncIterator[AsyncSession]:
        async with make_session() as session:
            yield session

    async def get_transaction() -> AsyncIterator[AsyncSession]:
        async with make_session.begin() as session:
            yield session

    app = FastAPI(lifespan=storage_lifespan(STORAGE))
    add_problem_handlers(app)

    @app.exception_handler(IntegrityError)
    async def answer(request: Request, error: Exception) -> Response:
        return Response(status_code=409)

    session = Annotated[AsyncSession, Depends(get_session, scope=scope)]
    transaction = Annotated[AsyncSession, Depends(get_transaction, scope=scope)]
    app.include_router(make_router(session, transaction))
    return app


def make_router(session_type: Any, transaction_type: Any) -> APIRouter:
    """Make routes that fail at each point, with the session before and behind the upload."""
    router = APIRouter()
    upload = StreamedUpload("file")

    @router.post("/unused")
    async def unused(session: session_type, file: Annotated[StorageFile, upload]) -> None:
        session.add(Video(title="a", file=file))
        raise HTTPException(418)

    @router.post("/flushed")
    async def flushed(file: Annotated[StorageFile, upload], session: session_type) -> None:
        session.add(Video(title="a", file=file))
        await session.flush()
        assert await file.exists()
        raise HTTPException(418)

    @router.post("/committed")
    async def committed(session: session_type, file: Annotated[StorageFile, upload]) -> None:
        session.add(Video(title="a", file=file))
        await session.commit()
        raise HTTPException(418)

    @router.post("/begun")
    async def begun(file: Annotated[StorageFile, upload], session: transaction_type) -> None:
        session.add(Video(title="a", file=file))

    @router.post("/begun-before")
    async def begun_before(session: transaction_type, file: Annotated[StorageFile, upload]) -> None:
        session.add(Video(title="a", file=file))

    return router


@pytest.mark.parametrize("scope", ["function", "request"])
@pytest.mark.parametrize(
    "path,status,kept",
    [
        ("/unused", 418, 0),
        ("/flushed", 418, 0),
        ("/committed", 418, 1),
        ("/begun", 200, 1),
        ("/begun-before", 200, 1),
    ],
)
async def test_a_file_is_kept_with_the_row_that_names_it(
    make_session: async_sessionmaker[AsyncSession], scope: Scope, path: str, status: int, kept: int
) -> None:
    async with open_client(make_app(make_session, scope)) as client:
        response = await client.post(path, files={"file": ("a.txt", b"x")})
        assert response.status_code == status
        async with make_session() as session:
            assert await session.scalar(select(func.count(Video.id))) == kept
            names = [video.file.name for video in await session.scalars(select(Video))]
        assert [info.name async for info in STORAGE.list()] == names


@pytest.mark.parametrize("path", ["/begun", "/begun-before"])
async def test_a_commit_that_fails_behind_the_endpoint_deletes_the_file(
    make_session: async_sessionmaker[AsyncSession], path: str
) -> None:
    async with open_client(make_app(make_session, "function")) as client:
        first = await client.post(path, files={"file": ("a.txt", b"x")})
        second = await client.post(path, files={"file": ("a.txt", b"y")})
        assert (first.status_code, second.status_code) == (200, 409)
        [info] = [info async for info in STORAGE.list()]
        async with STORAGE.open(info.name) as reader:
            assert await reader.read() == b"x"
