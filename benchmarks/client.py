"""A load client: HTTP/1.1 over plain sockets, so that the servers are what is measured."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

__all__ = ["Connection", "Load", "Request", "Response", "fetch_json", "run_load"]

BUFFER_SIZE = 512 * 1024

KEPT_BYTES = 64 * 1024
"""Bytes of a body that are kept; of the rest only the number."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is ready to be sent, as often as needed.

    Attributes:
        method: Such as ``GET``.
        path: With the query.
        headers: Beside ``Host`` and ``Content-Length``.
        body: In blocks, none of them copied.
    """

    method: str
    path: str
    headers: Sequence[tuple[str, str]] = ()
    body: Sequence[bytes | memoryview] = ()

    def encode_head(self) -> bytes:
        """Return all that comes before the body."""
        headers = [("host", "127.0.0.1"), *self.headers]
        if self.method == "POST":
            headers.append(("content-length", str(sum(map(len, self.body)))))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return f"{self.method} {self.path} HTTP/1.1\r\n{lines}\r\n".encode()


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its body as far as it was kept, and how many bytes it had."""

    status: int
    headers: dict[str, str]
    body: bytes
    size: int


class Connection(asyncio.BufferedProtocol):
    """One connection, for one request at a time.

    An answer without ``Content-Length`` ends with the connection, and its size is that on the wire.
    """

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(BUFFER_SIZE))
        self._writable = asyncio.Event()
        self._writable.set()
        self._answer: asyncio.Future[Response] | None = None
        self._start()

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to a port of this machine."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    async def send(self, request: Request) -> Response:
        """Send a request, and return its answer.

        Raises:
            RuntimeError: When the answer is an error.
        """
        self._start()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request.encode_head())
        for block in request.body:
            await self._writable.wait()
            self._transport.write(block)
        response = await self._answer
        if response.status >= 400:
            raise RuntimeError(f"{request.method} {request.path}: {response}")
        return response

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._writable.set()
        if self._answer is None or self._answer.done():
            return
        if self._length is None and self._status:
            self._finish()
        else:
            self._answer.set_exception(error or ConnectionError("The server closed early."))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._status:
            self._take(self._buffer[:nbytes])
        else:
            self._head += self._buffer[:nbytes]
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if end:
                self._parse_head(head.decode("latin-1"))
                self._take(memoryview(rest))
        if self._length is not None and self._size >= self._length:
            self._finish()

    def _start(self) -> None:
        self._head = bytearray()
        self._body = bytearray()
        self._headers: dict[str, str] = {}
        self._status = self._size = 0
        self._length: int | None = None

    def _parse_head(self, head: str) -> None:
        status, *lines = head.split("\r\n")
        self._status = int(status.split()[1])
        for line in lines:
            name, _, value = line.partition(":")
            self._headers[name.lower()] = value.strip()
        if "content-length" in self._headers:
            self._length = int(self._headers["content-length"])

    def _take(self, data: memoryview) -> None:
        self._size += len(data)
        if len(self._body) < KEPT_BYTES:
            self._body += data[:KEPT_BYTES]

    def _finish(self) -> None:
        if self._answer is not None and not self._answer.done():
            response = Response(self._status, self._headers, bytes(self._body), self._size)
            self._answer.set_result(response)


async def fetch_json(port: int, method: str, path: str) -> Any:
    """Send one request, and return the JSON that answers it."""
    connection = await Connection.open(port)
    try:
        return json.loads((await connection.send(Request(method, path))).body)
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Load:
    """What a load has seen.

    Attributes:
        latencies: Of each request in seconds, in ascending order.
        seconds: From the first request to the last answer.
        size: Bytes of all bodies that came.
    """

    latencies: Sequence[float]
    seconds: float
    size: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Return the latency that this share of the requests does not exceed."""
        return self.latencies[int(share * (len(self.latencies) - 1))]


async def run_load(
    port: int, make_request: Callable[[int], Request], *, clients: int, seconds: float
) -> Load:
    """Have clients send requests, each one the next when it has the answer, until time is over.

    Args:
        port: Of the server.
        make_request: Returns the request of a number, which counts from 0.
        clients: How many send at a time.
        seconds: After which no further request is begun; 0 is one request of each client.
    """
    latencies: list[float] = []
    connections = [await Connection.open(port) for _ in range(clients)]
    started = time.perf_counter()
    numbers = count()
    size = 0

    async def work(connection: Connection) -> None:
        nonlocal size
        while True:
            begun = time.perf_counter()
            response = await connection.send(make_request(next(numbers)))
            now = time.perf_counter()
            size += response.size
            latencies.append(now - begun)
            if now - started >= seconds:
                return

    async with asyncio.TaskGroup() as tasks:
        for connection in connections:
            tasks.create_task(work(connection))
    elapsed = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return Load(sorted(latencies), elapsed, size)
