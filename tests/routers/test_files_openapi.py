"""What OpenAPI shows of a files router, and that it is true."""

from typing import Any

import pytest
from fastapi import FastAPI

from fastapi_async_storages import MemoryStorage, create_files_router, public, signed_urls
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client


async def by_rule() -> bool:
    return True


def describe(method: str = "get", **options: Any) -> dict[str, Any]:
    app = FastAPI()
    app.include_router(create_files_router(**options), prefix="/files")
    operation: dict[str, Any] = app.openapi()["paths"]["/files/{name}"][method]
    return operation


@pytest.mark.parametrize(
    "options, statuses",
    [
        ({"access": public, "mode": "proxy"}, {200, 206, 304, 404, 412, 416, 422, 502, 503}),
        ({"access": public, "mode": "redirect"}, {307, 404, 422, 502, 503}),
        (
            {"access": public, "mode": "redirect", "redirect_status": 302},
            {302, 404, 422, 502, 503},
        ),
        (
            {"access": signed_urls},
            {200, 206, 304, 307, 403, 404, 410, 412, 416, 422, 502, 503},
        ),
        (
            {"access": by_rule, "mode": "proxy"},
            {200, 206, 304, 403, 404, 412, 416, 422, 502, 503},
        ),
        (
            {"access": signed_urls, "mode": "proxy", "denial": "missing"},
            {200, 206, 304, 404, 412, 416, 422, 502, 503},
        ),
    ],
)
def test_a_get_has_its_real_answers(options: dict[str, Any], statuses: set[int]) -> None:
    responses = describe(**options)["responses"]

    assert {int(status) for status in responses} == statuses
    for status, response in responses.items():
        if status in ("200", "206"):
            binary = {"type": "string", "format": "binary"}
            assert response["content"] == {"*/*": {"schema": binary}}
        elif int(status) >= 400 and status != "422":
            assert list(response["content"]) == ["application/problem+json"]
        elif status != "422":
            assert "content" not in response


def test_a_head_has_no_content() -> None:
    responses = describe("head", access=public)["responses"]

    assert {int(status) for status in responses} == {200, 304, 404, 412, 422, 502, 503}
    assert all("content" not in responses[status] for status in ("200", "404", "304"))


def test_a_token_is_a_parameter_where_links_are_signed() -> None:
    def parameters(**options: Any) -> set[str]:
        return {parameter["name"] for parameter in describe(**options)["parameters"]}

    assert parameters(access=public) == {"name", "download", "filename"}
    assert parameters(access=signed_urls) == {"name", "download", "filename", "token"}


def test_operations_of_several_routers_have_ids_of_their_own() -> None:
    app = FastAPI()
    app.include_router(create_files_router(access=public), prefix="/files")
    app.include_router(create_files_router(access=public, storage="avatars"), prefix="/avatars")

    operations = [each for path in app.openapi()["paths"].values() for each in path.values()]

    assert len({operation["operationId"] for operation in operations}) == len(operations) == 4


@pytest.mark.anyio
async def test_the_answers_are_those_that_are_shown() -> None:
    storage = MemoryStorage(base_url="/files", secret_key="a key of more than sixteen bytes")
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=signed_urls), prefix="/files")
    shown = app.openapi()["paths"]["/files/{name}"]["get"]["responses"]
    requests: list[tuple[str, dict[str, str]]] = [
        ("", {}),
        ("", {"Range": "bytes=0-1"}),
        ("", {"Range": "bytes=9-"}),
        ("", {"If-None-Match": "*"}),
        ("", {"If-Match": '"other"'}),
        ("x", {}),
        ("&download=perhaps", {}),
    ]
    async with open_client(app) as client:
        await storage.upload(b"text", "file.txt")
        link = await storage.get_path("file.txt")
        for ending, headers in requests:
            answer = await client.get(link + ending, headers=headers)
            response = shown[str(answer.status_code)]
            present = {name.lower() for name in response.get("headers", {})}
            assert present <= set(answer.headers)
            content = list(response.get("content", {}))
            if content not in ([], ["*/*"]):
                assert answer.headers["content-type"] in content
