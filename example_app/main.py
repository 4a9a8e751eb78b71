"""The app: ``uvicorn example_app.main:app``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from example_app.database import open_database
from example_app.routes import api, pages, uploads
from example_app.storages import storages
from fastapi_async_storages import (
    add_problem_handlers,
    create_files_router,
    signed_urls,
    storage_lifespan,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    """Open the storages and the database; a wrong key or a missing bucket stops the start."""
    async with storage_lifespan(storages, check=True)(app) as state, open_database():
        yield state


app = FastAPI(title="Gallery", lifespan=lifespan)
add_problem_handlers(app)
app.include_router(pages.router)
app.include_router(api.router)
app.include_router(uploads.router)
app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
# Local files are served here; an S3 storage's links lead straight to its server.
app.include_router(create_files_router(access=signed_urls), prefix="/files")
