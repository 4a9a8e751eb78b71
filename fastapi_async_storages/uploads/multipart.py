"""``multipart/form-data``, read part by part while it arrives (RFC 7578).

Nothing runs ahead: whoever takes the next chunk of a part reads the next chunk of the body for it.
So a slow taker slows the client down, and at most one chunk of the body is held here.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers

from fastapi_async_storages.exceptions import FormTooLargeError, MalformedBodyError
from fastapi_async_storages.uploads.bodies import IDLE_TIMEOUT

__all__ = ["FormLimits", "FormPart", "read_parts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormLimits:
    """How much a form may hold beside the content of its files.

    The headers of a part are limited by python-multipart: 8 of them, each 4,224 bytes.

    Attributes:
        max_files: Most parts with a file.
        max_fields: Most parts without one.
        max_part_size: Most bytes of one field.
        max_form_size: Most bytes of all but the files' content: fields, headers, boundaries.
        idle_timeout: Seconds in which a client must send something; ``None`` is for ever. How long
            a whole upload may take is for the proxy in front to say.

    Source: the defaults of the first three are those of ``starlette.requests.Request.form``. They
    allow a gigabyte of fields in memory, so ``max_form_size`` is that of Django's
    ``DATA_UPLOAD_MAX_MEMORY_SIZE``.
    """

    max_files: int = 1000
    max_fields: int = 1000
    max_part_size: int = 1024 * 1024
    max_form_size: int = 2_621_440
    idle_timeout: float | None = IDLE_TIMEOUT


class FormPart(NamedTuple):
    """One part of a form: a file when it has a file name, else a field.

    Attributes:
        name: Name of the form field.
        filename: The client's file name as it came; empty when a browser sent no file, ``None``
            when the part is a field.
        headers: All headers of the part.
        chunks: The content. What is not read when the next part is asked for is thrown away.
    """

    name: str
    filename: str | None
    headers: Headers
    chunks: AsyncGenerator[bytes, None]

    async def read(self) -> str:
        """Return the whole text of a field; how long it may be is limited."""
        async with aclosing(self.chunks) as chunks:
            return _decode(b"".join([chunk async for chunk in chunks]))


async def read_parts(
    content_type: str, body: AsyncIterator[bytes], limits: FormLimits | None = None
) -> AsyncGenerator[FormPart, None]:
    """Read a form part by part.

    Args:
        content_type: The request's ``Content-Type``, with the boundary.
        body: The body of the request in chunks of any size. It stays open, and what follows the
            last boundary is not read.
        limits: How much the form may hold; see :class:`FormLimits`.

    Yields:
        Each part as soon as its headers are complete.

    Raises:
        MalformedBodyError: When the body is no such form or ends before its last boundary; also
            while the content of a part is read.
        FormTooLargeError: When the form holds more than ``limits`` allow; then too.
    """
    reader = _Reader(content_type, body, limits or FormLimits())
    while part := await reader.next_part():
        async with aclosing(part.chunks):
            yield part


class _Reader:
    """Feeds the parser, and keeps what it reports until someone asks for it.

    What it reports is the head of a part, the chunks of its content, and an empty chunk at its end.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes], limits: FormLimits) -> None:
        self._body = body
        self._limits = limits
        self._reported: deque[FormPart | bytes] = deque()
        self._ended = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_name = self._header_value = b""
        self._is_file = False
        self._files = self._fields = 0
        self._field_size = self._form_size = 0
        self._parser = self._make_parser(content_type)

    async def next_part(self) -> FormPart | None:
        """Skip to the next part; ``None`` after the last one."""
        while (reported := await self._pull()) is not None:
            if isinstance(reported, FormPart):
                return reported
        return None

    async def _read_content(self) -> AsyncGenerator[bytes, None]:
        while isinstance(chunk := await self._pull(), bytes) and chunk:
            yield chunk

    async def _pull(self) -> FormPart | bytes | None:
        while not self._reported:
            if self._ended:
                return None
            self._feed(await anext(self._body, None))
        return self._reported.popleft()

    def _feed(self, chunk: bytes | None) -> None:
        if chunk is None:
            raise MalformedBodyError("The form ends before its last boundary.")
        self._form_size += len(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedBodyError(f"The body is not a valid form: {error}.") from error
        limit = self._limits.max_form_size
        if self._form_size > limit:
            raise FormTooLargeError(
                f"The form has more than {limit} bytes beside its files.", limit=limit
            )

    def _make_parser(self, content_type: str) -> MultipartParser:
        _, parameters = parse_options_header(content_type)
        if b"boundary" not in parameters:
            raise MalformedBodyError("The Content-Type of the form has no boundary.")
        try:
            return MultipartParser(
                parameters[b"boundary"],
                {
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise MalformedBodyError(f"The form's boundary is not valid: {error}.") from error

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers.append((self._header_name.lower(), self._header_value))
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        headers, self._headers = self._headers, []
        # As Starlette does, the last one counts when a part has several.
        _, options = parse_options_header(dict(headers).get(b"content-disposition"))
        if b"name" not in options:
            raise MalformedBodyError("A part of the form has no name in its Content-Disposition.")
        self._is_file = b"filename" in options
        self._field_size = 0
        self._count()
        self._reported.append(
            FormPart(
                name=_decode(options[b"name"]),
                filename=_decode(options[b"filename"]) if self._is_file else None,
                headers=Headers(raw=headers),
                chunks=self._read_content(),
            )
        )

    def _count(self) -> None:
        self._files += self._is_file
        self._fields += not self._is_file
        for count, limit, what in (
            (self._files, self._limits.max_files, "files"),
            (self._fields, self._limits.max_fields, "fields"),
        ):
            if count > limit:
                raise FormTooLargeError(f"The form has more than {limit} {what}.", limit=limit)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        size = end - start
        if self._is_file:
            self._form_size -= size
        else:
            self._field_size += size
            limit = self._limits.max_part_size
            if self._field_size > limit:
                raise FormTooLargeError(
                    f"A field of the form has more than {limit} bytes.", limit=limit
                )
        self._reported.append(data[start:end])  # All of a chunk is the chunk itself, not a copy.

    def _on_part_end(self) -> None:
        self._reported.append(b"")

    def _on_end(self) -> None:
        self._ended = True


def _decode(value: bytes) -> str:
    # UTF-8 is what browsers send (WHATWG HTML, "multipart/form-data encoding algorithm"), and a
    # part that is none still has to become some text. A charset parameter, which RFC 7578 section 8
    # does not have, is not asked: "punycode" takes minutes for a megabyte.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
