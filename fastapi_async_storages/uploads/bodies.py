"""The body of a request, as it arrives, and what its headers say of it."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias
from urllib.parse import unquote

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from fastapi_async_storages.exceptions import (
    ConfigurationError,
    UploadInterruptedError,
    UploadStalledError,
)

__all__ = [
    "FORM_TYPE",
    "IDLE_TIMEOUT",
    "URLENCODED_TYPE",
    "Progress",
    "get_content_length",
    "get_filename",
    "get_media_type",
    "read_body",
]

FORM_TYPE = "multipart/form-data"
"""What a form with files is sent as. Source: RFC 7578 section 8."""

URLENCODED_TYPE = "application/x-www-form-urlencoded"
"""What a form is sent as that does not say so. Source: WHATWG HTML, attribute ``enctype``."""

IDLE_TIMEOUT = 60
"""Seconds in which a client must send something, unless told otherwise.

Source: the default of nginx's ``client_body_timeout``.
"""

Progress: TypeAlias = Callable[[int, int | None], Awaitable[None]]
"""Is told the bytes of the body so far, and all that will come, if the client announced them.

It is awaited with every chunk of the body, before the chunk goes on. What it raises ends the
upload.
"""

# RFC 8187 section 3.2.1: charset, language, and what is percent-encoded.
_EXTENDED_FILENAME = re.compile(r";\s*filename\*\s*=\s*utf-8'[^']*'([^\s;]+)", re.IGNORECASE)


async def read_body(
    request: Request,
    progress: Progress | None = None,
    idle_timeout: float | None = IDLE_TIMEOUT,
) -> AsyncGenerator[bytes, None]:
    """Read the body of a request chunk by chunk, no faster than the chunks are taken.

    Args:
        request: The request.
        progress: Is told how much has come; see :data:`Progress`.
        idle_timeout: Seconds in which the client must send something; ``None`` is for ever.

    Raises:
        UploadInterruptedError: When the client leaves before the end.
        UploadStalledError: When the client stays, and sends nothing.
        ConfigurationError: When something else has read the body before.
    """
    received, total = 0, get_content_length(request)
    async with aclosing(_receive(request, idle_timeout)) as chunks:
        async for chunk in chunks:
            received += len(chunk)
            if progress is not None:
                await progress(received, total)
            yield chunk


async def _receive(request: Request, idle_timeout: float | None) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(request.stream()) as chunks:
            # Only the client is waited for in here, not the storage that the bytes go to.
            while chunk := await _next_chunk(chunks, idle_timeout):
                yield chunk
    except ClientDisconnect as error:
        raise UploadInterruptedError("The client left before the end of its upload.") from error
    except RuntimeError as error:
        raise ConfigurationError(
            f"The body of {request.method} {request.url.path} was read before its StreamedForm or"
            " StreamedUpload could: by a second one, by a Form or File parameter, or by a"
            " middleware."
        ) from error


async def _next_chunk(chunks: AsyncGenerator[bytes, None], idle_timeout: float | None) -> bytes:
    """Return the next bytes; none at the end, where Starlette has an empty chunk too."""
    try:
        async with asyncio.timeout(idle_timeout):
            return await anext(chunks, b"")
    except TimeoutError as error:
        raise UploadStalledError(
            f"The client sent nothing for {idle_timeout:g} seconds, before the end of its upload."
        ) from error


def get_content_length(request: Request) -> int | None:
    """Return how many bytes the client announced, or ``None`` when it did not.

    Args:
        request: The request.
    """
    value = request.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else None


def get_media_type(request: Request) -> str | None:
    """Return the media type of the body, in lower case and without parameters.

    Args:
        request: The request.
    """
    media_type, _ = parse_options_header(request.headers.get("content-type"))
    return media_type.decode("latin-1") or None


def get_filename(request: Request) -> str | None:
    """Return the file name that a client sent with a raw body, as it came.

    Args:
        request: The request, with a ``Content-Disposition`` such as
            ``attachment; filename="a.txt"``. ``filename*`` (RFC 8187, in UTF-8) is for all that is
            not ASCII, and preferred (RFC 6266 section 4.3).
    """
    header = request.headers.get("content-disposition", "")
    if extended := _EXTENDED_FILENAME.search(header):
        return unquote(extended[1], errors="replace")
    _, options = parse_options_header(header)
    name = options.get(b"filename")
    return None if name is None else name.decode(errors="replace")
