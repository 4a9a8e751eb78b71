"""An app with every route that the package makes, open to everybody, for made-up requests."""

from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel

from fastapi_async_storages import (
    ImageRules,
    MemoryStorage,
    StorageFile,
    StreamedForm,
    StreamedUpload,
    UploadRules,
    add_problem_handlers,
    create_files_router,
    public,
    storage_lifespan,
)
from fastapi_async_storages.http.problems import problem_responses
from fastapi_async_storages.routers.uploads import create_uploads_router
from fastapi_async_storages.uploads.streaming import UploadedForm

__all__ = ["make_app"]


class Fields(BaseModel):
    title: str
    count: int = 0


async def nobody(file: StorageFile) -> bool:
    return file.name == ""


def make_app() -> FastAPI:
    storage = MemoryStorage(base_url="/files", secret_key="a key that only this test knows of")
    rules = UploadRules(max_size="1KiB")
    app = FastAPI(lifespan=storage_lifespan(storage))
    add_problem_handlers(app)
    app.include_router(create_files_router(access=public), prefix="/files")
    app.include_router(
        create_uploads_router(access=public, rules=rules, form=True, delete=nobody),
        prefix="/uploads",
    )

    @app.post("/streamed", responses=problem_responses(400, 413, 415, 422, 503))
    async def stream(
        file: Annotated[StorageFile, StreamedUpload("file", rules=rules)],
    ) -> int:
        return await file.get_size()

    @app.post("/form", responses=problem_responses(400, 413, 415, 422, 503))
    async def take_form(
        form: Annotated[
            UploadedForm[Fields],
            StreamedForm(
                {"file": rules, "image": UploadRules(image=ImageRules())},
                optional=["image"],
                fields=Fields,
            ),
        ],
    ) -> list[str]:
        return list(form.files)

    return app
