"""The fields of a form beside its files, read into a Pydantic model."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

__all__ = ["FormFields", "body_error"]


class FormFields:
    """Which fields a form has.

    What belongs to which field is read from the JSON schema of the model, so that a form is read
    as OpenAPI shows it: by aliases, and with all values of a field that is a list.

    Attributes:
        names: Names that the fields have in the form.

    Args:
        model: The model, if there are fields at all.
    """

    def __init__(self, model: type[BaseModel] | None) -> None:
        self._model = model
        schema, self._definitions = self.describe()
        properties = schema.get("properties", {})
        self.names = frozenset(properties)
        self._lists = {name for name in properties if self._is_list(properties[name])}

    def describe(self, ref_template: str = "{model}") -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the JSON schema of the fields, and those that it refers to by their names.

        Args:
            ref_template: How a schema is referred to, with ``{model}`` for its name.
        """
        if self._model is None:
            return {}, {}
        schema = self._model.model_json_schema(ref_template=ref_template)
        definitions = schema.pop("$defs", {})
        if "$ref" in schema:  # A model that refers to itself.
            schema = definitions[self._model.__name__]
        return schema, definitions

    def parse(
        self, items: Iterable[tuple[str, str]], errors: Iterable[Mapping[str, Any]] = ()
    ) -> BaseModel | None:
        """Make the model of what a form has.

        Args:
            items: Names and texts, in the order of the form.
            errors: What is wrong beside the fields; see :func:`body_error`.

        Returns:
            The model, or ``None`` when the form has no fields.

        Raises:
            RequestValidationError: When there are errors, in FastAPI's own form.
        """
        values = self._group(items)
        found, parsed = list(errors), None
        if self._model is not None:
            try:
                parsed = self._model.model_validate(values)
            except ValidationError as error:
                found += [
                    {**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)
                ]
        if found:
            raise RequestValidationError(found, body=values)
        return parsed

    def _group(self, items: Iterable[tuple[str, str]]) -> dict[str, Any]:
        texts: dict[str, list[str]] = {}
        for name, text in items:
            texts.setdefault(name, []).append(text)
        values: dict[str, Any] = {}
        for name, all_of_one in texts.items():
            if name in self._lists:
                values[name] = all_of_one
            elif name not in self.names:
                values[name] = all_of_one if len(all_of_one) > 1 else all_of_one[0]
            elif all_of_one[-1]:
                # As in FastAPI's own forms, an input that was left empty has its default.
                values[name] = all_of_one[-1]
        return values

    def _is_list(self, schema: Mapping[str, Any]) -> bool:
        schema = self._definitions.get(schema.get("$ref", ""), schema)
        choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
        return schema.get("type") == "array" or any(map(self._is_list, choices))


def body_error(kind: str, name: str, message: str) -> dict[str, Any]:
    """Return one error of a request as FastAPI and Pydantic tell them.

    Args:
        kind: Type of the error, such as ``"missing"``.
        name: Name of the part of the form.
        message: What is wrong with it.
    """
    return {"type": kind, "loc": ("body", name), "msg": message, "input": None}
