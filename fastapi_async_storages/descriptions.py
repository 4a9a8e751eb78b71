"""What an API tells of a file: a few facts as JSON, and the schema of it for Pydantic and OpenAPI.

Pydantic comes with FastAPI, and is imported only when it asks, so that handles do without.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from fastapi_async_storages.info import FileInfo

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = ["Described"]


def _nullable(description: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "anyOf": [schema, {"type": "null"}]}


_FACTS: dict[str, dict[str, Any]] = {
    "name": {"description": "Name in the storage.", "type": "string"},
    "filename": _nullable("Name that its uploader gave it.", type="string"),
    "size": _nullable("Size in bytes.", type="integer", minimum=0),
    "content_type": _nullable("Media type.", type="string"),
    "width": _nullable("Width in pixels, of an image.", type="integer", minimum=0),
    "height": _nullable("Height in pixels, of an image.", type="integer", minimum=0),
}


class _Handle(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def info(self) -> FileInfo | None: ...


class Described:
    """A handle that Pydantic and FastAPI show as JSON: name, filename, size, type and dimensions.

    What is not known about the file is ``null``; there is no I/O.
    """

    def __iter__(self: _Handle) -> Iterator[tuple[str, str | int | None]]:
        """Iterate over the facts, so that ``dict(file)`` describes a file.

        FastAPI's ``jsonable_encoder`` makes a dict of objects that it does not know, such as those
        of a row that an endpoint returns without a response model. Of what has no such iterator it
        takes all attributes, and those of a handle lead to the credentials of its storage.
        """
        for fact in _FACTS:
            # Not the name in the record: that of a file that was moved is the old one.
            yield fact, self.name if fact == "name" else getattr(self.info, fact, None)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> "CoreSchema":
        """Let Pydantic take handles as they are, and never make one of data.

        A name in a request says neither which storage it is of, nor whether the file is there, nor
        whose it is. A dependency can find that out; a validator cannot await, and knows no request.
        """
        from pydantic_core import core_schema  # noqa: PLC0415 - see the module's docstring

        return core_schema.custom_error_schema(
            core_schema.is_instance_schema(cls),
            custom_error_type="stored_file",
            custom_error_message=(
                "Input should be a {handle}, which no request can hold: take the name of the file"
                " as a string, and make a handle of it in a dependency"
            ),
            custom_error_context={"handle": cls.__name__},
            # Makes one component of it in OpenAPI, however many fields are files. Two classes may
            # have the same name; what follows the colon is not shown.
            ref=f"{cls.__module__}.{cls.__qualname__}:{id(cls)}",
            serialization=core_schema.plain_serializer_function_ser_schema(
                dict,
                # What `model_dump()` returns may be on its way into a row, where handles belong.
                when_used="json",
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Return the schema of that JSON."""
        return {
            "title": cls.__name__,
            "description": "A stored file. What is not known about it is null.",
            "type": "object",
            "properties": {
                fact: {"title": fact.replace("_", " ").title(), **schema_of_fact}
                for fact, schema_of_fact in _FACTS.items()
            },
            "required": list(_FACTS),
        }
