"""The routes in the OpenAPI schema are as they are: a generated client can upload."""

from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI
from pydantic import TypeAdapter

from fastapi_async_storages import MemoryStorage, Storage, UploadRules
from fastapi_async_storages.routers.upload_schemas import (
    BodyUpload,
    FormUpload,
    PartsUpload,
)
from tests.uploads.front_end import make_uploads_app, open_front_end, run_uploads
from tests.uploads.samples import PNG

pytestmark = pytest.mark.anyio

PROBLEM = "application/problem+json"


async def get_schema(**options: Any) -> dict[str, Any]:
    app = make_uploads_app(MemoryStorage(), **options)
    async with open_front_end(app) as front_end:
        schema: dict[str, Any] = (await front_end.app.get("/openapi.json")).json()
    OpenAPI.model_validate(schema)
    return schema


def list_operations(schema: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in schema["paths"].items()
        for method, operation in item.items()
    }


async def test_there_are_the_routes_that_were_asked_for() -> None:
    direct = {
        ("POST", "/uploads/direct"),
        ("PUT", "/uploads/direct"),
        ("POST", "/uploads/direct/complete"),
        ("POST", "/uploads/direct/abort"),
    }
    assert list_operations(await get_schema()).keys() == direct
    more = await get_schema(form=True, delete=lambda: True)
    assert list_operations(more).keys() == {
        *direct,
        ("POST", "/uploads/"),
        ("DELETE", "/uploads/{name}"),
    }


async def test_each_way_to_send_a_file_has_a_model() -> None:
    schema = await get_schema()
    operation = list_operations(schema)["POST", "/uploads/direct"]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    models = {one["$ref"].rpartition("/")[2] for one in answer["anyOf"]}
    assert models == {"FormUpload", "BodyUpload", "PartsUpload"}
    components = schema["components"]["schemas"]
    for name, own in (
        ("FormUpload", "fields"),
        ("BodyUpload", "headers"),
        ("PartsUpload", "parts"),
    ):
        required = set(components[name]["required"])
        assert {"ticket", "expires_at", "complete_url", "abort_url", own} <= required
    body = components["AnnouncedFile"]
    assert set(body["required"]) == {"filename", "size"}
    assert body["properties"].keys() == {"filename", "size", "content_type", "checksum"}


async def test_each_refusal_is_there_as_a_problem() -> None:
    operations = list_operations(await get_schema(form=True, delete=lambda: True))
    expected = {
        ("POST", "/uploads/direct"): "200 400 403 408 413 415 422 502 503",
        ("PUT", "/uploads/direct"): "204 400 403 408 410 413 415 422 502 503",
        ("POST", "/uploads/direct/complete"): "201 400 403 404 408 410 412 413 415 422 502 503",
        ("POST", "/uploads/direct/abort"): "204 400 403 408 410 413 422 502 503",
        ("POST", "/uploads/"): "201 400 403 408 413 415 422 502 503",
        ("DELETE", "/uploads/{name}"): "204 403 404 422 502 503",
    }
    for key, operation in operations.items():
        assert " ".join(sorted(operation["responses"])) == expected[key], key
        for status, response in operation["responses"].items():
            if status >= "4":
                assert PROBLEM in response["content"], (key, status)


async def test_the_bodies_are_bytes_where_they_are_bytes() -> None:
    rules = UploadRules(types=["image/*"], max_size="10MiB")
    operations = list_operations(await get_schema(form=True, rules=rules))
    put = operations["PUT", "/uploads/direct"]
    assert put["requestBody"]["content"]["application/octet-stream"]["schema"] == {
        "type": "string",
        "format": "binary",
    }
    assert [one["name"] for one in put["parameters"]] == ["token"]
    form = operations["POST", "/uploads/"]["requestBody"]["content"]
    assert set(form) == {"multipart/form-data", "image/*"}


@pytest.mark.parametrize("threshold", [0, "1GiB"])
async def test_the_answers_are_what_the_schema_says(storage: Storage, threshold: int | str) -> None:
    plans = TypeAdapter[Any](FormUpload | BodyUpload | PartsUpload)
    async with run_uploads(storage, multipart_threshold=threshold) as front_end:
        plan = await front_end.plan(PNG, "a.png", content_type="image/png")
        parsed = plans.validate_python(plan, strict=False)
        assert parsed.model_dump(mode="json") == plan
        await front_end.send(plan, PNG)
        stored = (await front_end.complete(plan)).json()
    schema = await get_schema()
    component = schema["components"]["schemas"]["StorageFile"]
    assert stored.keys() == component["properties"].keys() == set(component["required"])
