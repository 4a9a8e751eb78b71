"""TCP servers of a few lines, in the event loop of the test."""

import asyncio
import math
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

__all__ = ["BLOCK", "CERTIFICATE", "Relay", "listen", "reset", "run_fixed_server", "run_relay"]

Handler: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LIMIT = 1024**2
BLOCK = 64 * 1024
"""Most bytes that a relay passes on at a time."""

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""A certificate for localhost and 127.0.0.1 with its key, which is no secret: it is for tests."""


@asynccontextmanager
async def listen(handler: Handler, *, tls: bool = False, limit: int = LIMIT) -> AsyncIterator[str]:
    """Listen on a free port of 127.0.0.1, and yield its URL.

    At the end, handlers that are still running are cancelled and awaited.

    Args:
        handler: Serves one connection.
        tls: Whether clients speak TLS; they must trust ``CERTIFICATE``.
        limit: Bytes that wait in the reader of a connection until the handler takes them.
    """
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATE)
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            # The client may leave at any time. Errors and cancellations of a handler's task would
            # be logged by asyncio.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handler(reader, writer)
        finally:
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=limit, ssl=context)
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with an RST in place of a FIN, so that what is on its way is lost too."""
    # Source: Linux, socket(7): SO_LINGER, on and with 0 seconds.
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    writer.transport.abort()


@dataclass
class Relay:
    """A relay that counts, and that may be slow.

    Attributes:
        endpoint_url: Where it listens.
        bytes_per_second: How fast each direction of each connection is.
        connections: How many connections clients have made.
        bytes_down: How many bytes the clients were sent.
    """

    endpoint_url: str = ""
    bytes_per_second: float = math.inf
    connections: int = 0
    bytes_down: int = 0


@asynccontextmanager
async def run_relay(upstream_url: str, *, tls: bool = False) -> AsyncIterator[Relay]:
    """Pass connections on to a server, unchanged but for the TLS that may end here."""
    upstream = urlsplit(upstream_url)
    relay = Relay()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay.connections += 1
        up_reader, up_writer = await asyncio.open_connection(upstream.hostname, upstream.port)

        async def pass_up() -> None:
            while chunk := await reader.read(BLOCK):
                await asyncio.sleep(len(chunk) / relay.bytes_per_second)
                up_writer.write(chunk)
                await up_writer.drain()

        async def pass_down() -> None:
            while chunk := await up_reader.read(BLOCK):
                await asyncio.sleep(len(chunk) / relay.bytes_per_second)
                relay.bytes_down += len(chunk)
                writer.write(chunk)
                await writer.drain()

        directions = [asyncio.create_task(pass_up()), asyncio.create_task(pass_down())]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up_writer.transport.abort()  # First: a wait may be the last one.
            for task in directions:
                task.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async with listen(handle, tls=tls, limit=BLOCK) as relay.endpoint_url:
        yield relay


@asynccontextmanager
async def run_fixed_server(answer: bytes | None) -> AsyncIterator[str]:
    """Answer each connection with the same bytes once it has sent something; ``None`` is never."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await asyncio.Event().wait()
        else:
            writer.write(answer)
            await writer.drain()
            writer.write_eof()
            await reader.read()

    async with listen(handle) as url:
        yield url
