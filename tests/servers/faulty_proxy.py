"""A TCP proxy that stops or breaks in the middle of an answer: the network, on a bad day."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

__all__ = ["FaultyProxy"]

BLOCK = 16 * 1024


class FaultyProxy:
    """Forwards connections to an HTTP server on this machine, from a thread.

    Args:
        upstream_url: The server.

    Attributes:
        url: Where the proxy listens.
        fault: Nothing, or after ``limit`` bytes of answer: ``"stall"`` sends no more, ``"cut"``
            closes the connection.
        limit: Bytes.
        faulted: Set when a fault has happened.
        left: Set when the client has closed the connection of a stall.
    """

    def __init__(self, upstream_url: str) -> None:
        self.url = ""
        self.fault: Literal["stall", "cut"] | None = None
        self.limit = 0
        self.faulted = threading.Event()
        self.left = threading.Event()
        self._upstream = urlsplit(upstream_url)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        await self._stop.wait()
        server.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(
            self._upstream.hostname, self._upstream.port
        )
        asking = asyncio.ensure_future(_copy(reader, up_writer))
        try:
            if not await _copy(up_reader, writer, self._get_limit):
                self.faulted.set()
                if self.fault == "stall":
                    await asking  # Ends when the client leaves.
                    self.left.set()
        finally:
            asking.cancel()
            writer.close()
            up_writer.close()

    def _get_limit(self) -> int | None:
        return None if self.fault is None else self.limit


async def _copy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    get_limit: Callable[[], int | None] = lambda: None,
) -> bool:
    """Copy until the end, or until more bytes would come than allowed; tell which it was."""
    sent = 0
    with suppress(ConnectionError):
        while block := await reader.read(BLOCK):
            limit = get_limit()
            if limit is not None and sent + len(block) > limit:
                return False
            writer.write(block)
            await writer.drain()
            sent += len(block)
    return True
