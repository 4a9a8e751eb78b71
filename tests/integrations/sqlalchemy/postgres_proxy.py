"""A PostgreSQL that cannot be reached any more at the moment of a COMMIT."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from tests.servers.tcp import listen

__all__ = ["CommitProxy", "run_commit_proxy"]

Fault: TypeAlias = Literal["lose", "lose answer", "hang"]


class CommitProxy:
    """Passes everything on, until it meets a COMMIT and is told to do something else.

    Attributes:
        url: SQLAlchemy URL of the database behind the proxy.
        fault: What happens to the next COMMIT: it is lost with the connection; or it is passed on
            and its answer is lost with the connection; or it is passed on and no answer comes.
        met: Set when it has happened.
    """

    def __init__(self) -> None:
        self.url = ""
        self.fault: Fault | None = None
        self.met = asyncio.Event()


class _Connection:
    def __init__(self, proxy: CommitProxy, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._writer = writer
        self._is_silent = False
        self._answered = asyncio.Event()

    async def pass_up(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(64 * 1024):
            fault = None
            if b"COMMIT;" in chunk and self._proxy.fault is not None:
                fault, self._proxy.fault = self._proxy.fault, None
                self._is_silent = True
            if fault != "lose":
                upstream.write(chunk)
                await upstream.drain()
            if fault == "lose answer":
                await self._answered.wait()
            if fault is not None:
                self._proxy.met.set()
            if fault in ("lose", "lose answer"):
                return

    async def pass_down(self, upstream: asyncio.StreamReader) -> None:
        while chunk := await upstream.read(64 * 1024):
            if self._is_silent:
                self._answered.set()
            else:
                self._writer.write(chunk)
                await self._writer.drain()


@asynccontextmanager
async def run_commit_proxy(database_url: str) -> AsyncIterator[CommitProxy]:
    """Run a proxy in front of a database.

    Args:
        database_url: SQLAlchemy URL of the database.
    """
    upstream = urlsplit(database_url)
    proxy = CommitProxy()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(proxy, writer)
        up_reader, up_writer = await asyncio.open_connection(upstream.hostname, upstream.port)
        directions = [
            asyncio.create_task(connection.pass_up(reader, up_writer)),
            asyncio.create_task(connection.pass_down(up_reader)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in directions:
                task.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            up_writer.transport.abort()

    async with listen(handle) as url:
        proxy.url = database_url.replace(f":{upstream.port}/", f":{urlsplit(url).port}/")
        yield proxy
