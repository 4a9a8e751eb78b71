"""The fields of a streamed form are read as FastAPI reads those of its own forms."""

from enum import Enum
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Form
from httpx import ASGITransport, AsyncClient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, Json, field_validator

from fastapi_async_storages import MemoryStorage
from fastapi_async_storages.dependencies import get_storage
from fastapi_async_storages.streamed_forms import StreamedForm
from fastapi_async_storages.uploads.form_fields import FormFields
from fastapi_async_storages.uploads.streaming import UploadedForm

pytestmark = pytest.mark.anyio


class Kind(Enum):
    CAT = "cat"
    DOG = "dog"


class Pet(BaseModel):
    """Fields of many kinds."""

    name: str
    age: int = 1
    kind: Kind | None = None
    good: bool = True
    tags: list[str] = []
    sizes: set[int] | None = None
    nick: Annotated[str, Field(alias="nickName")] = "none"
    notes: Json[dict[str, int]] | None = None

    @field_validator("name")
    @classmethod
    def refuse_rex(cls, value: str) -> str:
        if value == "rex":
            raise ValueError("there is one already")
        return value


class StrictPet(Pet):
    model_config = ConfigDict(extra="forbid")


class OpenPet(Pet):
    model_config = ConfigDict(extra="allow")


MODELS: list[type[Pet]] = [Pet, StrictPet, OpenPet]


def make_app() -> FastAPI:
    app, storage = FastAPI(), MemoryStorage()
    app.dependency_overrides[get_storage] = lambda: storage
    for model in MODELS:
        add_routes(app, model)
    return app


def add_routes(app: FastAPI, model: type[Pet]) -> None:
    @app.post(f"/fastapi/{model.__name__}")
    async def spooled(
        fields: Annotated[model, Form()],  # type: ignore[valid-type]
    ) -> Any:
        return fields

    @app.post(f"/ours/{model.__name__}")
    async def streamed(
        form: Annotated[UploadedForm[Pet], StreamedForm({"photo": None}, fields=model)],
    ) -> Any:
        return form.fields


APP = make_app()

ITEMS = st.lists(
    st.tuples(
        st.sampled_from(
            ["name", "age", "kind", "good", "tags", "sizes", "nickName", "nick", "notes", "other"]
        ),
        st.sampled_from(["", "1", "cat", "yes", '{"a": 1}', "rex", " ", "ä"]),
    ),
    min_size=1,
    max_size=8,
)


@given(model=st.sampled_from(MODELS), items=ITEMS)
@example(Pet, [("name", "x"), ("tags", ""), ("tags", "b"), ("sizes", "1"), ("sizes", "1")])
@example(StrictPet, [("name", "x"), ("other", "1"), ("other", "2")])
@example(OpenPet, [("name", "x"), ("other", "1"), ("nick", "2")])
@settings(deadline=None)
async def test_fields_mean_what_they_mean_in_fastapi(
    model: type[Pet], items: list[tuple[str, str]]
) -> None:
    answers = []
    async with AsyncClient(transport=ASGITransport(APP), base_url="http://test") as client:
        for path, photo in (("fastapi", []), ("ours", [("photo", ("a.txt", b"x"))])):
            # httpx sends a file without a name as a field.
            parts: Any = [*((name, (None, text)) for name, text in items), *photo]
            response = await client.post(f"/{path}/{model.__name__}", files=parts)
            answers.append((response.status_code, response.json()))
    assert answers[0] == answers[1]


class Node(BaseModel):
    name: str
    tags: list[str] = []
    parent: "Json[Node] | None" = None


def test_a_model_may_refer_to_itself() -> None:
    node = FormFields(Node).parse([("tags", "a"), ("name", "x"), ("parent", '{"name": "y"}')])
    assert isinstance(node, Node)
    assert node.tags == ["a"]
    assert node.parent
    assert node.parent.name == "y"
