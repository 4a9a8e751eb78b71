"""An app for server processes of its own: ``uvicorn tests.reliability.served_app:make_app``.

The environment says on which storage it is, as ``storage_from_url`` wants it.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, UploadFile

from fastapi_async_storages import (
    StorageDep,
    StorageFile,
    StorageFileResponse,
    StreamedUpload,
    add_problem_handlers,
    save_upload,
    storage_from_url,
    storage_lifespan,
)

__all__ = ["make_app"]


def make_app() -> FastAPI:
    storage = storage_from_url(os.environ["STORAGE_URL"])
    grace = float(os.environ.get("GRACE", "10"))
    app = FastAPI(lifespan=storage_lifespan(storage, check=True, grace=grace))
    add_problem_handlers(app)
    tasks: set[asyncio.Task[str]] = set()

    @app.get("/process")
    async def show_process() -> int:
        return os.getpid()

    @app.post("/saved")
    async def save(file: UploadFile, storage: StorageDep) -> str:
        return (await save_upload(file, storage)).name

    @app.post("/streamed")
    async def stream(file: Annotated[StorageFile, StreamedUpload("file")]) -> str:
        return file.name

    @app.post("/fetched")
    async def fetch(port: int, storage: StorageDep) -> None:
        """Store what a server sends, in a task that no request waits for."""
        task = asyncio.create_task(storage.upload(read_connection(port), "fetched"))
        tasks.add(task)

    @app.get("/files/{name:path}")
    async def read(name: str, storage: StorageDep) -> StorageFileResponse:
        return StorageFileResponse(StorageFile(storage, name))

    return app


async def read_connection(port: int) -> AsyncIterator[bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while chunk := await reader.read(64 * 1024):
            yield chunk
    finally:
        writer.close()
