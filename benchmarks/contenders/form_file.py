"""The shortest reading of a file from a form while it arrives: no checks, no limits."""

from collections.abc import AsyncIterator

from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request


async def read_form_file(request: Request) -> AsyncIterator[bytes]:
    """Yield the content of the only part of a form, as it arrives."""
    _, options = parse_options_header(request.headers["content-type"])
    chunks: list[bytes] = []

    def keep(data: bytes, start: int, end: int) -> None:
        chunks.append(data[start:end])

    parser = MultipartParser(options[b"boundary"], {"on_part_data": keep})
    async for chunk in request.stream():
        parser.write(chunk)
        for data in chunks:
            yield data
        chunks.clear()


async def read_form_parts(request: Request, size: int) -> AsyncIterator[bytes]:
    """Yield the same in parts of ``size`` bytes; the last one may be smaller, or empty."""
    part = bytearray()
    async for chunk in read_form_file(request):
        part += chunk
        if len(part) >= size:
            yield bytes(part[:size])
            del part[:size]
    yield bytes(part)
