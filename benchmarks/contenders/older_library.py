"""fastapi-async-storages 0.1.4, the older library of the name, as its README uses it."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from uuid import uuid4

from fastapi import FastAPI, Response, UploadFile
from probe import Probe
from side_by_side import run_side_by_side
from sqlalchemy import Column, Integer
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import declarative_base
from starlette.responses import RedirectResponse

from async_storages import S3Storage
from async_storages.integrations.sqlalchemy import FileType

storage = S3Storage(
    bucket_name=os.environ["BENCH_BUCKET"],
    endpoint_url=os.environ["BENCH_ENDPOINT"].removeprefix("http://"),
    aws_access_key_id=os.environ["BENCH_ACCESS_KEY"],
    aws_secret_access_key=os.environ["BENCH_SECRET_KEY"],
    region_name="us-east-1",
    use_ssl=False,
    querystring_auth=True,
)
engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['BENCH_DIRECTORY']}/older.db")
make_session = async_sessionmaker(engine, expire_on_commit=False)
Base = declarative_base()


class Document(Base):  # type: ignore[misc, valid-type]
    __tablename__ = "documents"

    id = Column(Integer, primary_key=True)
    file = Column(FileType(storage=storage))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


service = FastAPI(lifespan=lifespan)


@service.post("/upload")
async def upload(file: UploadFile) -> dict[str, str]:
    return {"name": await storage.upload(file.file, f"uploads/{uuid4()}.bin")}


@service.get("/sign/{name:path}")
async def sign(name: str) -> Response:
    return RedirectResponse(await storage.get_path(name))


@service.get("/files/{name:path}")
async def read(name: str) -> Response:
    # `open` returns the whole file.
    return Response((await storage.open(name)).getvalue())


@service.post("/rows")
async def add_rows(count: int, size: int) -> dict[str, float]:
    content = os.urandom(size)
    started = time.perf_counter()
    names = [f"rows/{uuid4()}.bin" for _ in range(count)]
    for name in names:
        await storage.upload(BytesIO(content), name)
    async with make_session() as session:
        session.add_all(Document(file=name) for name in names)
        await session.commit()
    return {"seconds": time.perf_counter() - started}


@service.post("/operations/{verb}")
async def operate(verb: str, count: int, size: int, in_flight: int) -> dict[str, float]:
    content = os.urandom(size)

    async def upload_one(number: int) -> None:
        await storage.upload(BytesIO(content), f"objects/{number}")

    async def read_one(number: int) -> None:
        (await storage.open(f"objects/{number}")).read()

    async def get_size(number: int) -> None:
        await storage.get_size(f"objects/{number}")

    verbs = {"upload": upload_one, "read": read_one, "get_info": get_size}
    return {"seconds": await run_side_by_side(verbs[verb], count, in_flight)}


app = Probe(service)
