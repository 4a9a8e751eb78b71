"""What OpenAPI shows of a route that serves files: its real answers."""

from typing import Any

from fastapi_async_storages.http.problems import problem_responses

__all__ = ["describe_file_responses"]

_VALIDATORS = {
    "ETag": {"description": "Version of the file.", "schema": {"type": "string"}},
    "Last-Modified": {"description": "Time of its last change.", "schema": {"type": "string"}},
    "Cache-Control": {"description": "Who may keep it.", "schema": {"type": "string"}},
}
_FILE_HEADERS = {
    **_VALIDATORS,
    "Accept-Ranges": {"description": "Always `bytes`.", "schema": {"type": "string"}},
    "Content-Disposition": {
        "description": "Whether it is shown or saved, and its name.",
        "schema": {"type": "string"},
    },
}
_CONTENT_RANGE = {"description": "Which bytes these are.", "schema": {"type": "string"}}
_LOCATION = {"description": "Where the file is.", "schema": {"type": "string", "format": "uri"}}
# The media type is that of the file.
_BYTES = {"*/*": {"schema": {"type": "string", "format": "binary"}}}


def describe_file_responses(
    method: str, *, proxies: bool, redirect_status: int | None, denials: tuple[int, ...]
) -> dict[int | str, dict[str, Any]]:
    """Return ``responses=`` of a route that serves files.

    Args:
        method: ``"GET"`` or ``"HEAD"``.
        proxies: Whether the route may send the bytes itself.
        redirect_status: Status of its redirects, if it makes any.
        denials: Statuses for clients that may not have a file.
    """
    if method == "HEAD":
        responses = _describe_bodiless()
        statuses: tuple[int, ...] = (404, 412, *denials, 502, 503)
        problems = {
            status: {"description": problem["description"]}
            for status, problem in problem_responses(*statuses).items()
        }
        return {**responses, **problems}
    described: dict[int | str, dict[str, Any]] = {}
    statuses = (404, *denials, 502, 503)
    if proxies:
        described |= _describe_bodiless()
        described[200]["content"] = _BYTES
        described[206] = {
            "description": "The bytes of the range.",
            "headers": {**_FILE_HEADERS, "Content-Range": _CONTENT_RANGE},
            "content": _BYTES,
        }
        statuses = (404, 412, 416, *denials, 502, 503)
    if redirect_status is not None:
        described[redirect_status] = {
            "description": "The file is there, for a limited time.",
            "headers": {"Location": _LOCATION, "Cache-Control": _VALIDATORS["Cache-Control"]},
        }
    return {**described, **problem_responses(*statuses)}


def _describe_bodiless() -> dict[int | str, dict[str, Any]]:
    return {
        200: {"description": "The file.", "headers": _FILE_HEADERS},
        304: {"description": "The client has this version.", "headers": _VALIDATORS},
    }
