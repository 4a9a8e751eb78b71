"""Errors of the storages as HTTP answers: one table, in the form of RFC 9457.

    app = FastAPI(lifespan=storage_lifespan(storages))
    add_problem_handlers(app)

An answer of the 4xx kind says what the client can change; one of the 5xx kind says nothing about
our inside, and the log has the rest. None names a bucket, an endpoint or a path of the server.
"""

import json
import logging
from collections.abc import Mapping
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketState

from fastapi_async_storages.exceptions import (
    AccessDeniedError,
    AlreadyExistsError,
    BackendError,
    BackendUnavailableError,
    ChecksumMismatchError,
    ConfigurationError,
    ExtensionNotAllowedError,
    FilenameRefusedError,
    FileTooLargeError,
    FileTooSmallError,
    FormTooLargeError,
    ImageAspectError,
    ImageTooLargeError,
    ImageTooSmallError,
    InvalidImageError,
    InvalidMetadataError,
    InvalidNameError,
    InvalidSignatureError,
    LinkExpiredError,
    MalformedBodyError,
    MalwareFoundError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    PolyglotError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StorageError,
    TypeMismatchError,
    TypeNotAllowedError,
    UnreadableImageError,
    UploadRefusedError,
    UploadStalledError,
)

__all__ = [
    "PROBLEM_MEDIA_TYPE",
    "RETRY_AFTER",
    "add_problem_handlers",
    "get_status",
    "problem_response",
    "problem_responses",
]

PROBLEM_MEDIA_TYPE = "application/problem+json"
"""Source: RFC 9457 section 6.1."""

RETRY_AFTER = 5
"""Seconds after which a client may try again, in ``Retry-After`` of a 503.

Source: RFC 9110 section 10.2.3. The number is ours: longer than a leader election or the restart of
a storage node takes, shorter than a person waits.
"""

_TYPE_PREFIX = "urn:problem-type:fastapi-async-storages:"

_logger = logging.getLogger("fastapi_async_storages")


class _Problem(NamedTuple):
    """A problem type (RFC 9457 section 3.1).

    Attributes:
        status: HTTP status code.
        slug: End of the type's URN; without one the status says it all (``about:blank``).
        title: What the type is about, the same every time.
        detail: What happened, when the error's own message is not meant for the client.
    """

    status: int
    slug: str | None = None
    title: str = ""
    detail: str | None = None


_PROBLEMS: Mapping[type[StorageError], _Problem] = {
    # 4xx without a detail here show the error's own message, which is about what the client sent.
    NotFoundError: _Problem(404, "not-found", "File not found", "There is no such file."),
    AlreadyExistsError: _Problem(
        409, "already-exists", "File exists already", "There is a file of this name already."
    ),
    InvalidNameError: _Problem(422, "invalid-name", "Invalid file name"),
    InvalidMetadataError: _Problem(422, "invalid-metadata", "Invalid file metadata"),
    PreconditionFailedError: _Problem(
        412, "precondition-failed", "File changed", "The file is not the version that was meant."
    ),
    RangeNotSatisfiableError: _Problem(
        416, "range-not-satisfiable", "No such range", "The file has no byte of the range."
    ),
    InvalidSignatureError: _Problem(
        403, "invalid-signature", "Invalid signature", "The link or ticket was not issued here."
    ),
    LinkExpiredError: _Problem(
        410, "link-expired", "Link expired", "The link or ticket has expired; ask for a new one."
    ),
    AccessDeniedError: _Problem(
        403, "access-denied", "Access denied", "You are not allowed to do this."
    ),
    UploadRefusedError: _Problem(422, "upload-refused", "Upload refused"),
    FileTooLargeError: _Problem(413, "file-too-large", "File too large"),
    FileTooSmallError: _Problem(422, "file-too-small", "File too small"),
    TypeNotAllowedError: _Problem(415, "type-not-allowed", "File type not allowed"),
    TypeMismatchError: _Problem(415, "type-mismatch", "File type not as claimed"),
    ChecksumMismatchError: _Problem(422, "checksum-mismatch", "File is not the one announced"),
    PolyglotError: _Problem(415, "polyglot", "File of two types at once"),
    FilenameRefusedError: _Problem(422, "filename-refused", "File name not allowed"),
    ExtensionNotAllowedError: _Problem(
        415, "extension-not-allowed", "File name extension not allowed"
    ),
    ImageTooLargeError: _Problem(422, "image-too-large", "Image has too many pixels"),
    ImageTooSmallError: _Problem(422, "image-too-small", "Image has too few pixels"),
    ImageAspectError: _Problem(422, "image-aspect", "Image has the wrong shape"),
    UnreadableImageError: _Problem(422, "unreadable-image", "Image cannot be read"),
    InvalidImageError: _Problem(
        422, "unreadable-image", "Image cannot be read", "The file is no image that can be read."
    ),
    MalwareFoundError: _Problem(422, "malware-found", "Malware found"),
    FormTooLargeError: _Problem(413, "form-too-large", "Form too large"),
    MalformedBodyError: _Problem(400, "malformed-body", "Request body cannot be read"),
    UploadStalledError: _Problem(408, "upload-stalled", "Nothing more was sent"),
    # The credentials that were refused are the app's, not the client's: no 403.
    PermissionDeniedError: _Problem(502, detail="The file storage refused the request."),
    BackendError: _Problem(502, detail="The file storage failed."),
    BackendUnavailableError: _Problem(
        503, detail="The file storage is not available now; try again later."
    ),
    NotModifiedError: _Problem(304),
    StorageError: _Problem(500, detail="The request could not be completed."),
}

_SCHEMA: Mapping[str, Any] = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "limit": {"description": "What is allowed, when an upload was refused."},
        "received": {"description": "What the upload had instead."},
    },
}

# FastAPI leaves its own 400 and 422 out of the schema, the second where a route declares one.
_UNREADABLE_SCHEMA: Mapping[str, Any] = {
    "title": "UnreadableBody",
    "type": "object",
    "required": ["detail"],
    "properties": {"detail": {"type": "string"}},
}

_VALIDATION_SCHEMA: Mapping[str, Any] = {
    "title": "ValidationProblem",
    "type": "object",
    "required": ["detail"],
    "properties": {"detail": {"type": "array", "items": {"type": "object"}}},
}

_TITLES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
"""Reason phrases of RFC 9110 section 15.5, where Python before 3.13 has older ones."""


def add_problem_handlers(app: Starlette) -> None:
    """Make an app answer every :class:`StorageError` as ``application/problem+json``.

    In a WebSocket endpoint the error closes the connection: code 1008 (policy) when the client can
    change something, else 1011 (RFC 6455 section 7.4.1).

    Args:
        app: A FastAPI or Starlette app. Mounted apps have handlers of their own.

    Raises:
        ConfigurationError: When the app has started: it has taken its handlers over by then.
    """
    if app.middleware_stack is not None:
        raise ConfigurationError(
            "The app has started, and takes no handlers any more: call add_problem_handlers(app)"
            " where the app is made, not in its lifespan or in a request."
        )
    app.add_exception_handler(StorageError, _handle_error)


def get_status(error: StorageError, *, method: str = "GET") -> int:
    """Return the HTTP status for an error.

    Args:
        error: Any error of the tree.
        method: Method of the request. A name that no file can have is 404 for one who reads, and
            422 for one who writes.
    """
    return _find_problem(error, method).status


def problem_response(error: StorageError, *, method: str = "GET") -> Response:
    """Return the answer to a request that ended with an error; 5xx are logged.

    Args:
        error: Any error of the tree.
        method: Method of the request; the answer to ``HEAD`` has no body.
    """
    problem = _find_problem(error, method)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.error("A request failed with %d: %s", problem.status, error, exc_info=error)
    headers = _make_headers(error, problem.status)
    if isinstance(error, NotModifiedError):
        return Response(status_code=problem.status, headers=headers)
    # No "Connection: close" for an upload that was cut off: uvicorn then throws away the rest of
    # the body, while a close would reset the connection before the client has read the answer.
    response = Response(
        json.dumps(_describe(error, problem), default=str),
        problem.status,
        headers,
        PROBLEM_MEDIA_TYPE,
    )
    if method == "HEAD":
        response.body = b""  # RFC 9110 section 9.3.2: the headers of a GET, Content-Length too.
    return response


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the entries of problems for ``responses=`` of a route, as OpenAPI shows them.

    Args:
        *statuses: HTTP status codes that the route may answer.
    """
    return {status: _describe_response(status) for status in statuses}


def _describe_response(status: int) -> dict[str, Any]:
    content = {PROBLEM_MEDIA_TYPE: {"schema": _SCHEMA}}
    if status == HTTPStatus.BAD_REQUEST:
        content["application/json"] = {"schema": _UNREADABLE_SCHEMA}
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        content["application/json"] = {"schema": _VALIDATION_SCHEMA}
    return {"description": _get_phrase(status), "content": content}


# Any: Starlette has a type for handlers of requests and one for those of WebSockets, none for both.
async def _handle_error(connection: Request | WebSocket, error: Exception) -> Any:
    if not isinstance(error, StorageError):
        raise error
    if isinstance(connection, Request):
        return problem_response(error, method=connection.method)
    problem = _find_problem(error, "GET")
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.error("A WebSocket failed: %s", error, exc_info=error)
    if connection.application_state is not WebSocketState.DISCONNECTED:
        code = 1011 if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else 1008
        await connection.close(code, problem.title or _get_phrase(problem.status))
    return None


def _find_problem(error: StorageError, method: str) -> _Problem:
    if isinstance(error, InvalidNameError) and method in ("GET", "HEAD"):
        return _PROBLEMS[NotFoundError]
    return next(_PROBLEMS[cls] for cls in type(error).__mro__ if cls in _PROBLEMS)


def _make_headers(error: StorageError, status: int) -> dict[str, str]:
    # RFC 9110 section 15.1 lets caches keep a 404 and a 410 unless told otherwise: a file that is
    # uploaded next would stay missing.
    headers = {"cache-control": "no-store"}
    if isinstance(error, NotModifiedError):
        headers = {"etag": error.etag} if error.etag else {}
        if error.last_modified:
            headers["last-modified"] = format_datetime(error.last_modified, usegmt=True)
    elif isinstance(error, RangeNotSatisfiableError) and error.size is not None:
        headers["content-range"] = f"bytes */{error.size}"
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = str(RETRY_AFTER)
    return headers


def _describe(error: StorageError, problem: _Problem) -> dict[str, Any]:
    detail = problem.detail or str(error)
    if error.storage:
        detail = detail.replace(error.storage, "the storage")
    described: dict[str, Any] = {
        "type": f"{_TYPE_PREFIX}{problem.slug}" if problem.slug else "about:blank",
        "title": problem.title or _get_phrase(problem.status),
        "status": problem.status,
        "detail": detail,
    }
    if isinstance(error, UploadRefusedError):
        values = {"limit": error.limit, "received": error.received}
        described |= {key: value for key, value in values.items() if value is not None}
    return described


def _get_phrase(status: int) -> str:
    return _TITLES.get(status) or HTTPStatus(status).phrase
