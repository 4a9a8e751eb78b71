"""A stored file as an HTTP response, for a files router and for endpoints of your own.

    @app.get("/documents/{document_id}/file")
    async def read_file(document: DocumentDep) -> StorageFileResponse:
        return StorageFileResponse(document.file)

It is an ASGI object, as the responses of Starlette are, and streams from the storage when called.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio
from starlette.background import BackgroundTask
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from fastapi_async_storages.dispositions import Disposition
from fastapi_async_storages.exceptions import NotModifiedError, StorageError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.http.conditional import (
    ConditionalRequest,
    get_conditionally,
    open_conditionally,
)
from fastapi_async_storages.http.headers import FileHeaders
from fastapi_async_storages.http.offload import get_local_path
from fastapi_async_storages.http.problems import problem_response
from fastapi_async_storages.http.routes import app_handles
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.ranges import ContentRange

__all__ = ["StorageFileResponse"]

_WATCH_AFTER = 0.2
"""Seconds from which on a response ends early when its client leaves.

Source: ours. Most files are sent by then, and the task that waits for the client to leave takes a
quarter of all CPU that a small one costs (0.3 ms).
"""


class StorageFileResponse(Response):
    """A stored file, streamed from its storage: ``GET`` and ``HEAD``, conditions and one range.

    The storage is asked once, when the response is sent: a missing file is a 404 then, a storage
    that is down a 503, as ``application/problem+json`` or as the app's own handler for
    :class:`StorageError` says. A failure after the first byte cuts the connection, so that no
    client takes the part that it has for the whole. A client that leaves ends the reading, but for
    the first fifth of a second.

    Who may read the file is decided before a response is made.

    Args:
        file: Which file.
        presentation: How the file is presented; :class:`FileHeaders` has the safe defaults.
        disposition: Whether a browser shows the file or saves it.
        filename: Name under which a browser saves the file, instead of its own.
        headers: Further headers, or others than the file's own.
        background: What to do when all is sent.
    """

    def __init__(
        self,
        file: StorageFile,
        *,
        presentation: FileHeaders | None = None,
        disposition: Disposition | None = None,
        filename: str | None = None,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        self.file = file
        self.presentation = presentation or FileHeaders()
        self.disposition = disposition
        self.filename = filename
        self.status_code = 200
        self.background = background
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        started = False

        async def send_started(message: Message) -> None:
            nonlocal started
            started = True
            try:
                await send(message)
            except OSError as error:
                # Servers of ASGI 2.4 and later say so that the client left. Our own errors are
                # OSErrors too, so this has to be told apart here.
                raise ClientDisconnect from error

        try:
            await _run_until_disconnect(receive, partial(self._send, scope, send_started))
        except NotModifiedError as error:
            await self._make_not_modified(error)(scope, receive, send)
        except StorageError as error:
            if started or app_handles(error, scope):
                raise
            await problem_response(error, method=scope["method"])(scope, receive, send)
        if self.background is not None:
            await self.background()

    async def _send(self, scope: Scope, send: Send) -> None:
        request = ConditionalRequest.from_headers(Headers(scope=scope))
        storage, name = self.file.storage, self.file.name
        if scope["method"] == "HEAD":
            await send(self._start(await get_conditionally(storage, name, request)))
            await send({"type": "http.response.body"})
        elif (
            request.byte_range is None
            and _takes_path(scope)
            and (path := await get_local_path(self.file)) is not None
        ):
            await send(self._start(await get_conditionally(storage, name, request)))
            await send({"type": "http.response.pathsend", "path": str(path)})
        else:
            async with open_conditionally(storage, name, request) as reader:
                await send(self._start(reader.info, reader.content_range))
                async for chunk in reader:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body"})

    def _make_not_modified(self, error: NotModifiedError) -> Response:
        response = problem_response(error)
        # RFC 9110 section 15.4.5: what a 200 would say. Where S3 does not tell whether the file has
        # a Cache-Control of its own, silence keeps the one that the client has.
        if error.cache_control is not None:
            response.headers["cache-control"] = self.presentation.choose_cache_control(
                self.file.name, error.cache_control
            )
        return response

    def _start(self, info: FileInfo, content_range: ContentRange | None = None) -> Message:
        described = self.presentation.describe(
            info, content_range, disposition=self.disposition, filename=self.filename
        )
        own = {key for key, _ in self.raw_headers}
        headers = [(key.encode(), value.encode()) for key, value in described.items()]
        return {
            "type": "http.response.start",
            "status": 200 if content_range is None else 206,
            "headers": [*(pair for pair in headers if pair[0] not in own), *self.raw_headers],
        }


async def _run_until_disconnect(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, or stop it when the client leaves."""
    watchers: list[asyncio.Task[None]] = []
    with anyio.CancelScope() as scope:

        def watch() -> None:
            watchers.append(asyncio.ensure_future(_cancel_on_disconnect(receive, scope)))

        timer = asyncio.get_running_loop().call_later(_WATCH_AFTER, watch)
        try:
            await work()
        finally:
            timer.cancel()
            for watcher in watchers:
                watcher.cancel()
                with anyio.CancelScope(shield=True):
                    await asyncio.wait((watcher,))
    for watcher in watchers:
        if not watcher.cancelled():
            watcher.result()  # Raises what the server raised.


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except Exception:
        scope.cancel()  # The server is broken; what it raised is raised at the end.
        raise
    scope.cancel()


def _takes_path(scope: Scope) -> bool:
    """Tell whether the server sends a file by its path (the ASGI extension "Path Send")."""
    return "http.response.pathsend" in (scope.get("extensions") or {})
