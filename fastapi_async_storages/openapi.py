"""What OpenAPI shows of files: the body that a streaming dependency reads, and all refusals.

A dependency that reads the body itself adds none to the schema, and a ``File`` parameter, which
would, reads the body before. So the bodies are added to the schema when it is made.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from fastapi.security.base import SecurityBase
from starlette.routing import Mount

from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.http.problems import problem_responses
from fastapi_async_storages.http.refusals import Refusals
from fastapi_async_storages.storage import DEFAULT_CONTENT_TYPE
from fastapi_async_storages.uploads.bodies import FORM_TYPE
from fastapi_async_storages.uploads.forms import UploadForm
from fastapi_async_storages.uploads.rules import UploadRules
from fastapi_async_storages.uploads.sizes import format_size

__all__ = ["describe_uploads"]

_COMPONENT = "#/components/schemas/{model}"

# OpenAPI 3.0 and its tools know the format, 3.1 and FastAPI's own schemas the media type.
_FILE = {"type": "string", "format": "binary", "contentMediaType": DEFAULT_CONTENT_TYPE}

_FILENAME_HEADER = {
    "name": "Content-Disposition",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": 'File name of a raw body: `attachment; filename="..."`.',
}

_REFUSALS = (400, 408, 413, 415, 422)

_logger = logging.getLogger("fastapi_async_storages")


def describe_uploads(app: FastAPI) -> None:
    """Show the bodies of :func:`StreamedForm` and :func:`StreamedUpload` in an app's schema.

    And the problems by which these, :func:`NamedFile` and :meth:`UploadsRouter.completed` refuse.
    ``storage_lifespan`` does it when the app starts. A program that takes ``app.openapi()`` without
    starting the app calls it before. Routes may be added after it, included routers count, and so
    do apps mounted by then. What a route says itself, by ``openapi_extra`` or ``responses``, stays.

    Args:
        app: The app; calling it twice does no harm.

    Raises:
        ConfigurationError: When a route would read its body twice.
    """
    for context, form in _find_forms(app):  # What cannot work is told now, not by a request.
        if _asks_late(context.dependant, form):
            _logger.warning(
                "%s stores what is uploaded before it knows who sends it: let the dependency with"
                " the security scheme come first, in dependencies=[...] of the route or before the"
                " parameter of the upload.",
                context.path,
            )
    if not isinstance(app.openapi, _UploadSchema):
        # FastAPI's documented way to extend the schema ("Extending OpenAPI").
        app.openapi = _UploadSchema(app, app.openapi)  # type: ignore[method-assign]
    for context in iter_route_contexts(app.routes):
        mount = context.original_route
        if isinstance(mount, Mount) and isinstance(mount.app, FastAPI):
            describe_uploads(mount.app)


class _UploadSchema:
    """Makes the schema of an app as it would be made otherwise, and adds the uploads."""

    def __init__(self, app: FastAPI, make: Callable[[], dict[str, Any]]) -> None:
        self._app = app
        self._make = make

    def __call__(self) -> dict[str, Any]:
        schema = self._make()
        for context, form in _find_forms(self._app):
            for method, operation in _find_operations(schema, context):
                _describe_body(schema, operation, form, is_put=method == "put")
                _describe_refusals(operation, _REFUSALS)
        for context in _list_contexts(self._app):
            for refusals in _list_calls(context.dependant):
                if isinstance(refusals, Refusals):
                    for _, operation in _find_operations(schema, context):
                        _describe_refusals(operation, refusals.statuses)
        return schema


def _list_contexts(app: FastAPI) -> Iterator[RouteContext]:
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            yield context


def _find_forms(app: FastAPI) -> Iterator[tuple[RouteContext, UploadForm]]:
    for context in _list_contexts(app):
        forms = {call for call in _list_calls(context.dependant) if isinstance(call, UploadForm)}
        if len(forms) > 1 or (forms and context.body_field is not None):
            raise ConfigurationError(
                f"The endpoint of {context.path} would read its body twice: with a StreamedForm"
                " or a StreamedUpload it has no second one, and no Form, File or Body"
                " parameter. StreamedForm takes several files, and other fields."
            )
        for form in forms:
            yield context, form


def _find_operations(
    schema: dict[str, Any], context: RouteContext
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Find what the schema says of a route, by method; nothing when it is not shown."""
    item = schema.get("paths", {}).get(context.path_format, {})
    for method in item.keys() & {method.lower() for method in context.methods or ()}:
        if context.include_in_schema:
            yield method, item[method]


def _list_calls(dependant: Dependant) -> list[Any]:
    """List what FastAPI calls for a request, in its order."""
    inner = [_list_calls(dependency) for dependency in dependant.dependencies]
    return [*chain.from_iterable(inner), dependant.call]


def _asks_late(dependant: Dependant, form: UploadForm) -> bool:
    """Tell whether the first security scheme of a route comes behind its upload."""
    calls = _list_calls(dependant)
    schemes = [i for i, call in enumerate(calls) if isinstance(call, SecurityBase)]
    return bool(schemes) and schemes[0] > calls.index(form)


def _describe_body(
    schema: dict[str, Any], operation: dict[str, Any], form: UploadForm, *, is_put: bool
) -> None:
    if "requestBody" not in operation:
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        content = _describe_form(schemas, f"Body_{operation['operationId']}", form)
        if form.takes_raw_body:
            raw = _describe_raw_body(*form.files.values())
            # Swagger UI and generated clients take the first one unless told otherwise.
            content = {**raw, **content} if is_put else {**content, **raw}
            operation.setdefault("parameters", []).append(_FILENAME_HEADER)
        operation["requestBody"] = {"required": True, "content": content}


def _describe_refusals(operation: dict[str, Any], statuses: Sequence[int]) -> None:
    responses = operation.setdefault("responses", {})
    for status, response in problem_responses(*statuses).items():
        described = responses.setdefault(str(status), response)
        described["content"] = {**response["content"], **described.get("content", {})}


def _describe_form(schemas: dict[str, Any], name: str, form: UploadForm) -> dict[str, Any]:
    fields, definitions = form.fields.describe(_COMPONENT)
    if any(schemas.get(one, definition) != definition for one, definition in definitions.items()):
        # The app has another schema of that name.
        template = f"{name}_{{model}}"
        fields, definitions = form.fields.describe(_COMPONENT.replace("{model}", template))
        definitions = {
            template.format(model=one): definition for one, definition in definitions.items()
        }
    required = [*fields.get("required", ()), *(form.files.keys() - form.optional)]
    files = {one: {**_FILE, **_describe_limits(rules)} for one, rules in form.files.items()}
    body = {
        **fields,
        "title": name,
        "type": "object",
        "properties": {**fields.get("properties", {}), **files},
        **({"required": sorted(required)} if required else {}),
    }
    schemas |= {**definitions, name: body}
    # Not for a file that may be missing: Swagger UI would send an empty one in its place.
    encoding = {
        one: {"contentType": ", ".join(_get_types(rules))}
        for one, rules in form.files.items()
        if _get_types(rules) and one not in form.optional
    }
    reference = {"schema": {"$ref": _COMPONENT.format(model=name)}}
    return {FORM_TYPE: {**reference, **({"encoding": encoding} if encoding else {})}}


def _describe_raw_body(rules: UploadRules) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary", **_describe_limits(rules)}
    return {one: {"schema": schema} for one in _get_types(rules) or [DEFAULT_CONTENT_TYPE]}


def _get_types(rules: UploadRules) -> Sequence[str]:
    return rules.types or (["image/*"] if rules.image is not None else [])


def _describe_limits(rules: UploadRules) -> dict[str, str]:
    limits = [
        ", ".join(_get_types(rules)),
        f"at least {format_size(rules.min_size)}" if rules.min_size else "",
        f"at most {format_size(rules.max_size)}" if rules.max_size is not None else "",
        f"named {', '.join(f'*{one}' for one in rules.extensions)}" if rules.extensions else "",
    ]
    text = "; ".join(limit for limit in limits if limit)
    return {"description": f"Allowed: {text}."} if text else {}
