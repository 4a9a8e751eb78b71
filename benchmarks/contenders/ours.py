"""This package, with the storage that ``BENCH_STORAGE`` names, as its own documentation uses it."""

import gc
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import FastAPI, Response, UploadFile
from probe import Probe
from side_by_side import run_side_by_side
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.responses import RedirectResponse

from fastapi_async_storages import (
    LocalStorage,
    MemoryStorage,
    S3Storage,
    StorageDep,
    StorageFile,
    StreamedUpload,
    UploadRules,
    create_files_router,
    public,
    save_upload,
    storage_lifespan,
)
from fastapi_async_storages.integrations.sqlalchemy import FileType, sweep, track_files
from fastapi_async_storages.storage import Storage


def make_storage(kind: str) -> Storage:
    if kind == "memory":
        return MemoryStorage()
    if kind == "local":
        return LocalStorage(os.environ["BENCH_DIRECTORY"])
    # The default engine is not named, so that versions without a choice of engines run as well.
    engine = {} if kind == "aiobotocore" else {"engine": kind}
    return S3Storage(
        os.environ["BENCH_BUCKET"],
        endpoint_url=os.environ["BENCH_ENDPOINT"],
        aws_access_key_id=os.environ["BENCH_ACCESS_KEY"],
        aws_secret_access_key=os.environ["BENCH_SECRET_KEY"],
        region_name="us-east-1",
        **engine,  # type: ignore[arg-type]
    )


storage = make_storage(os.environ["BENCH_STORAGE"])
engine = create_async_engine(
    f"sqlite+aiosqlite:///{os.environ['BENCH_DIRECTORY']}/ours-{os.environ['BENCH_STORAGE']}.db"
)
make_session = track_files(async_sessionmaker(engine, expire_on_commit=False))
rules = UploadRules(max_size="5GiB")


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[StorageFile] = mapped_column(FileType(storage))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[object]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with storage_lifespan(storage)(app) as state:
        if "BENCH_FREEZE" in os.environ:
            gc.collect()
            gc.freeze()
        yield state
    await engine.dispose()


service = FastAPI(lifespan=lifespan)
service.include_router(create_files_router(access=public, mode="proxy"), prefix="/files")
service.include_router(create_files_router(access=public, mode="redirect"), prefix="/redirect")


@service.post("/upload")
async def save(file: UploadFile, storage: StorageDep) -> dict[str, str]:
    return {"name": (await save_upload(file, storage, rules=rules)).name}


@service.post("/stream")
async def stream(
    file: Annotated[StorageFile, StreamedUpload("file", rules=rules)],
) -> dict[str, str]:
    return {"name": file.name}


@service.get("/sign/{name:path}")
async def sign(name: str, storage: StorageDep) -> Response:
    return RedirectResponse(await storage.get_path(name))


@service.post("/rows")
async def add_rows(count: int, size: int) -> dict[str, float]:
    content = os.urandom(size)
    started = time.perf_counter()
    async with make_session() as session:
        session.add_all(Document(file=StorageFile.pending(content)) for _ in range(count))
        await session.commit()
    return {"seconds": time.perf_counter() - started}


@service.post("/operations/{verb}")
async def operate(
    verb: str, count: int, size: int, in_flight: int, storage: StorageDep
) -> dict[str, float]:
    content = os.urandom(size)

    async def upload(number: int) -> None:
        await storage.upload(content, f"objects/{number}", content_type="application/octet-stream")

    async def read(number: int) -> None:
        async with storage.open(f"objects/{number}") as reader:
            await reader.read()

    async def get_info(number: int) -> None:
        await storage.get_info(f"objects/{number}")

    verbs = {"upload": upload, "read": read, "get_info": get_info}
    return {"seconds": await run_side_by_side(verbs[verb], count, in_flight)}


@service.post("/names")
async def use_many_names(count: int, storage: StorageDep) -> dict[str, float]:
    names = [f"many/{number % 100}/{number}" for number in range(count)]

    async def upload(number: int) -> None:
        await storage.upload(b"x", names[number])

    started = time.perf_counter()
    await run_side_by_side(upload, count, 32)
    uploaded = time.perf_counter()
    listed = 0
    async for _ in storage.list("many"):
        listed += 1
    after_list = time.perf_counter()
    # No row names them, so that the sweep looks all of them up.
    report = await sweep(make_session, storage, Base, prefix="many", older_than=timedelta())
    swept = time.perf_counter()
    failed = await storage.delete_many(names)
    deleted = time.perf_counter()
    if failed or not listed == report.orphans == count:
        raise RuntimeError(f"{listed} listed, {report}, {len(failed)} not deleted")
    return {
        "upload": count / (uploaded - started),
        "list": count / (after_list - uploaded),
        "sweep": report.files / (swept - after_list),
        "delete_many": count / (deleted - swept),
    }


app = Probe(service)
