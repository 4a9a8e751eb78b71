"""An app for a server process of its own, whose clients are slow on purpose."""

import os
from typing import Annotated

from fastapi import FastAPI

from fastapi_async_storages import (
    StorageFile,
    StreamedUpload,
    add_problem_handlers,
    create_files_router,
    public,
    storage_from_url,
    storage_lifespan,
)
from fastapi_async_storages.uploads.multipart import FormLimits

__all__ = ["make_app"]


def make_app() -> FastAPI:
    app = FastAPI(lifespan=storage_lifespan(storage_from_url(os.environ["STORAGE_URL"])))
    add_problem_handlers(app)
    app.include_router(create_files_router(access=public), prefix="/files")
    limits = FormLimits(idle_timeout=float(os.environ.get("IDLE_TIMEOUT", "60")))

    @app.post("/files")
    async def create(
        file: Annotated[StorageFile, StreamedUpload("file", limits=limits)],
    ) -> str:
        return file.name

    return app
