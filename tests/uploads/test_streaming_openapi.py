"""Streamed uploads are in the OpenAPI schema as they are: who knows only that can upload."""

from enum import Enum
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.models import OpenAPI
from fastapi.security import HTTPBearer
from httpx import AsyncClient
from pydantic import BaseModel

from fastapi_async_storages import MemoryStorage, StorageFile
from fastapi_async_storages.http.problems import add_problem_handlers
from fastapi_async_storages.lifespan import storage_lifespan
from fastapi_async_storages.openapi import describe_uploads
from fastapi_async_storages.streamed_forms import StreamedForm, StreamedUpload
from fastapi_async_storages.uploads.rules import ImageRules, UploadRules
from fastapi_async_storages.uploads.streaming import UploadedForm
from tests.asgi import open_client

pytestmark = pytest.mark.anyio

BINARY = {
    "type": "string",
    "format": "binary",
    "contentMediaType": "application/octet-stream",
}


class Kind(Enum):
    FILM = "film"
    CLIP = "clip"


class VideoIn(BaseModel):
    title: str
    kind: Kind
    tags: list[str] = []


VIDEO_RULES = UploadRules(max_size="2GiB", types=["video/mp4", "video/webm"])
VIDEO_FORM = StreamedForm(
    {
        "video": VIDEO_RULES,
        "poster": UploadRules(min_size="1KiB", image=ImageRules(), extensions=["png", "jpg"]),
    },
    optional=["poster"],
    fields=VideoIn,
)


def make_app() -> FastAPI:
    """Make an app whose routes are in routers in routers."""
    app = FastAPI(lifespan=storage_lifespan(MemoryStorage()))
    add_problem_handlers(app)
    inner, outer = APIRouter(prefix="/inner"), APIRouter()

    @inner.post("/{place}/videos")
    async def create(place: int, form: Annotated[UploadedForm[VideoIn], VIDEO_FORM]) -> str:
        return form.fields.title

    @inner.put("/file")
    async def put(
        file: Annotated[StorageFile, StreamedUpload("file", rules=VIDEO_RULES)],
    ) -> None: ...

    @inner.post("/file")
    async def post(file: Annotated[StorageFile, StreamedUpload("file")]) -> int:
        return await file.get_size()

    outer.include_router(inner, prefix="/v1")
    app.include_router(outer, prefix="/api")
    return app


async def get_schema(app: FastAPI) -> dict[str, Any]:
    async with open_client(app) as client:
        schema: dict[str, Any] = (await client.get("/openapi.json")).json()
    OpenAPI.model_validate(schema)
    return schema


def resolve(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        *_, name = part["$ref"].split("/")
        part = schema["components"]["schemas"][name]
    return part


async def test_a_form_is_shown_with_its_files_and_its_fields() -> None:
    schema = await get_schema(make_app())
    operation = schema["paths"]["/api/v1/inner/{place}/videos"]["post"]
    assert operation["requestBody"]["required"] is True
    [(media_type, content)] = operation["requestBody"]["content"].items()
    assert media_type == "multipart/form-data"
    assert content["encoding"] == {"video": {"contentType": "video/mp4, video/webm"}}
    assert content["schema"]["$ref"].endswith(f"/Body_{operation['operationId']}")
    body = resolve(schema, content["schema"])
    assert body["required"] == ["kind", "title", "video"]
    properties = body["properties"]
    allowed = "Allowed: video/mp4, video/webm; at most 2 GiB."
    assert properties["video"] == {**BINARY, "description": allowed}
    allowed = "Allowed: image/*; at least 1 KiB; named *.png, *.jpg."
    assert properties["poster"] == {**BINARY, "description": allowed}
    assert properties["title"]["type"] == "string"
    assert properties["tags"]["type"] == "array"
    assert resolve(schema, properties["kind"])["enum"] == ["film", "clip"]


async def test_a_file_is_shown_as_form_and_as_raw_body() -> None:
    path = (await get_schema(make_app()))["paths"]["/api/v1/inner/file"]
    content = path["post"]["requestBody"]["content"]
    assert list(content) == ["multipart/form-data", "application/octet-stream"]
    assert content["application/octet-stream"]["schema"] == {"type": "string", "format": "binary"}
    content = path["put"]["requestBody"]["content"]
    assert list(content) == ["video/mp4", "video/webm", "multipart/form-data"]
    for method in ("post", "put"):
        [parameter] = path[method]["parameters"]
        assert (parameter["name"], parameter["in"]) == ("Content-Disposition", "header")


async def test_refusals_are_shown_beside_the_routes_own_responses() -> None:
    app = make_app()

    @app.post("/own", responses={413: {"description": "Own words.", "model": VideoIn}})
    async def own(file: Annotated[StorageFile, StreamedUpload("file")]) -> None: ...

    schema = await get_schema(app)
    paths = schema["paths"]
    responses = paths["/api/v1/inner/{place}/videos"]["post"]["responses"]
    assert responses.keys() == {"200", "400", "408", "413", "415", "422"}
    for status in ("400", "408", "413", "415", "422"):
        assert "application/problem+json" in responses[status]["content"]
    # FastAPI's own validation errors are still there.
    validation_error = responses["422"]["content"]["application/json"]["schema"]
    assert resolve(schema, validation_error)["title"] == "HTTPValidationError"
    responses = paths["/own"]["post"]["responses"]
    assert responses["413"]["description"] == "Own words."
    assert responses["413"]["content"]["application/json"]["schema"]["$ref"].endswith("/VideoIn")


async def test_what_a_route_says_of_its_body_stays() -> None:
    app = make_app()
    own = {"content": {"text/csv": {"schema": {"type": "string"}}}}

    @app.put("/own", openapi_extra={"requestBody": own})
    async def put(file: Annotated[StorageFile, StreamedUpload("file")]) -> None: ...

    @app.put("/hidden", include_in_schema=False)
    async def hide(file: Annotated[StorageFile, StreamedUpload("file")]) -> None: ...

    schema = await get_schema(app)
    assert schema["paths"]["/own"]["put"]["requestBody"] == own
    assert "/hidden" not in schema["paths"]


def test_the_schema_can_be_had_without_starting_the_app() -> None:
    app = make_app()
    before = app.openapi()["paths"]["/api/v1/inner/file"]["put"]
    assert "requestBody" not in before
    describe_uploads(app)
    described = app.openapi()
    assert "requestBody" in described["paths"]["/api/v1/inner/file"]["put"]
    describe_uploads(app)
    assert app.openapi() == described

    @app.put("/late")
    async def put(file: Annotated[StorageFile, StreamedUpload("file")]) -> None: ...

    assert "requestBody" in app.openapi()["paths"]["/late"]["put"]


def test_a_schema_of_the_apps_own_is_extended_too() -> None:
    app = make_app()
    make = app.openapi
    app.openapi = lambda: {**make(), "x-own": True}  # type: ignore[method-assign]
    describe_uploads(app)
    assert app.openapi()["x-own"] is True
    assert "requestBody" in app.openapi()["paths"]["/api/v1/inner/file"]["put"]


async def test_mounted_apps_and_dependencies_of_dependencies_count() -> None:
    app, mounted = make_app(), FastAPI()

    async def get_name(file: Annotated[StorageFile, StreamedUpload("file")]) -> str:
        return file.name

    @mounted.put("/deep")
    async def put(name: Annotated[str, Depends(get_name)]) -> None: ...

    @mounted.put("/only", dependencies=[StreamedUpload("file")])
    async def put_only() -> None: ...

    app.mount("/sub", mounted)
    async with open_client(app) as client:
        paths = (await client.get("/sub/openapi.json")).json()["paths"]
    assert "requestBody" in paths["/deep"]["put"]
    assert "requestBody" in paths["/only"]["put"]


async def test_a_schema_of_the_same_name_is_another_one() -> None:
    app = make_app()

    class Kind(BaseModel):
        """Not the kind of a video."""

        size: int

    @app.get("/kind")
    async def get_kind() -> Kind: ...  # type: ignore[empty-body]

    schema = await get_schema(app)
    assert resolve(schema, {"$ref": "/Kind"})["properties"].keys() == {"size"}
    operation = schema["paths"]["/api/v1/inner/{place}/videos"]["post"]
    body = resolve(schema, operation["requestBody"]["content"]["multipart/form-data"]["schema"])
    assert resolve(schema, body["properties"]["kind"])["enum"] == ["film", "clip"]


@pytest.mark.parametrize("late", [True, False])
def test_an_upload_before_its_authentication_is_told_to_the_developer(
    late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app, scheme = FastAPI(), HTTPBearer()

    async def get_user(token: Annotated[str, Depends(scheme)]) -> str:
        return token

    if late:

        @app.put("/late")
        async def put(
            file: Annotated[StorageFile, StreamedUpload("file")],
            user: Annotated[str, Depends(get_user)],
        ) -> None: ...
    else:

        @app.put("/file", dependencies=[Depends(get_user)])
        async def put_file(
            file: Annotated[StorageFile, StreamedUpload("file")],
            user: Annotated[str, Depends(get_user)],
        ) -> None: ...

    describe_uploads(app)
    assert ["/late stores what" in message for message in caplog.messages] == [True] * late


def make_value(schema: dict[str, Any], part: dict[str, Any]) -> Any:
    """Make a value that a part of a schema allows, with a file where it is binary."""
    part = resolve(schema, part)
    if part.get("format") == "binary":
        return ("a.mp4", b"\0\0\0\x18ftypisom\0\0\2\0isommp42" + bytes(100))
    if part["type"] == "array":
        return (None, make_value(schema, part["items"])[1])
    return (None, part["enum"][0] if "enum" in part else "text")


async def upload_by_schema(client: AsyncClient, path: str, method: str) -> tuple[int, Any]:
    """Upload what the schema says, knowing nothing else of the app."""
    schema = (await client.get("/openapi.json")).json()
    content = schema["paths"][path][method]["requestBody"]["content"]["multipart/form-data"]
    body = resolve(schema, content["schema"])
    files = {name: make_value(schema, body["properties"][name]) for name in body["required"]}
    url = path.replace("{place}", "2")
    response = await client.request(method, url, files=files)
    return response.status_code, response.json()


async def test_a_client_that_knows_only_the_schema_can_upload() -> None:
    async with open_client(make_app()) as client:
        path = "/api/v1/inner/{place}/videos"
        assert await upload_by_schema(client, path, "post") == (200, "text")
        path = "/api/v1/inner/file"
        assert await upload_by_schema(client, path, "post") == (200, 124)
        assert await upload_by_schema(client, path, "put") == (200, None)
