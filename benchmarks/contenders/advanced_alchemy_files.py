"""advanced-alchemy 1.12: FileObject with its obstore backend, as its FastAPI example uses it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from advanced_alchemy._listeners import _active_file_operations
from advanced_alchemy.base import BigIntBase
from advanced_alchemy.config import AsyncSessionConfig, SQLAlchemyAsyncConfig
from advanced_alchemy.types import FileObject, StoredObject, storages
from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend
from fastapi import FastAPI, Response, UploadFile
from probe import Probe
from side_by_side import run_side_by_side
from sqlalchemy.orm import Mapped, mapped_column
from starlette.responses import RedirectResponse

storages.register_backend(
    ObstoreBackend(
        key="s3",
        fs=f"s3://{os.environ['BENCH_BUCKET']}/",
        aws_endpoint=os.environ["BENCH_ENDPOINT"],
        aws_access_key_id=os.environ["BENCH_ACCESS_KEY"],
        aws_secret_access_key=os.environ["BENCH_SECRET_KEY"],
        aws_region="us-east-1",
        aws_virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
)
alchemy = SQLAlchemyAsyncConfig(
    connection_string=f"sqlite+aiosqlite:///{os.environ['BENCH_DIRECTORY']}/advanced_alchemy.db",
    session_config=AsyncSessionConfig(expire_on_commit=False),
)


class Document(BigIntBase):
    __tablename__ = "documents"

    file: Mapped[FileObject] = mapped_column(StoredObject(backend="s3"))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with alchemy.get_engine().begin() as connection:
        await connection.run_sync(Document.metadata.create_all)
    yield
    await alchemy.get_engine().dispose()


service = FastAPI(lifespan=lifespan)


@service.post("/upload")
async def upload(file: UploadFile) -> dict[str, str]:
    stored = FileObject(
        backend="s3",
        filename=f"{uuid4()}.bin",
        content_type=file.content_type,
        content=await file.read(),
    )
    await stored.save_async()
    return {"name": stored.path}


@service.get("/sign/{name:path}")
async def sign(name: str) -> Response:
    return RedirectResponse(await FileObject(backend="s3", filename=name).sign_async())


@service.get("/files/{name:path}")
async def read(name: str) -> Response:
    return Response(await FileObject(backend="s3", filename=name).get_content_async())


@service.post("/rows")
async def add_rows(count: int, size: int) -> dict[str, float]:
    content = os.urandom(size)
    started = time.perf_counter()
    async with alchemy.get_session() as session:
        for _ in range(count):
            file = FileObject(backend="s3", filename=f"{uuid4()}.bin", content=content)
            session.add(Document(file=file))
        await session.commit()
    # The commit returns before the files are stored.
    while _active_file_operations:
        await asyncio.wait(list(_active_file_operations))
    return {"seconds": time.perf_counter() - started}


@service.post("/operations/{verb}")
async def operate(verb: str, count: int, size: int, in_flight: int) -> dict[str, float]:
    content = os.urandom(size)

    async def upload_one(number: int) -> None:
        await FileObject(backend="s3", filename=f"objects/{number}", content=content).save_async()

    async def read_one(number: int) -> None:
        await FileObject(backend="s3", filename=f"objects/{number}").get_content_async()

    verbs = {"upload": upload_one, "read": read_one}
    return {"seconds": await run_side_by_side(verbs[verb], count, in_flight)}


app = Probe(service)
