"""Routes that take a little JSON beside routes that take files."""

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from fastapi_async_storages.exceptions import FormTooLargeError
from fastapi_async_storages.http.routes import ProblemRoute, answer_problems
from fastapi_async_storages.uploads.bodies import get_content_length, read_body

__all__ = ["MAX_JSON_SIZE", "JsonRoute"]

MAX_JSON_SIZE = 64 * 1024
"""Most bytes of a JSON body. A ticket with the longest file name and type has 3 KB."""


class JsonRoute(ProblemRoute):
    """A route whose JSON body is limited.

    FastAPI reads JSON whole, and before it asks any dependency who sends it. Who lets videos
    through the proxy in front, would let them into memory here.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, called with a request whose body is read already."""
        handle = super().get_route_handler()

        async def handle_small(request: Request) -> Response:
            body = await _read_json(request)
            return await handle(Request(request.scope, _replay(body, request.receive)))

        return answer_problems(handle_small)


async def _read_json(request: Request) -> bytes:
    announced, body = get_content_length(request) or 0, bytearray()
    async with aclosing(read_body(request)) as chunks:
        while max(announced, len(body)) <= MAX_JSON_SIZE:
            chunk = await anext(chunks, None)
            if chunk is None:
                return bytes(body)
            body += chunk
    raise FormTooLargeError(
        f"The body has more than {MAX_JSON_SIZE} bytes of JSON.", limit=MAX_JSON_SIZE
    )


def _replay(
    body: bytes, receive: Callable[[], Awaitable[Message]]
) -> Callable[[], Awaitable[Message]]:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
