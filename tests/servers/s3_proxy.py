"""A proxy in front of an S3 server that misbehaves on demand.

It passes requests on unchanged, so their signatures hold.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias
from urllib.parse import parse_qsl, urlsplit

from tests.servers.tcp import LIMIT, listen, reset

__all__ = ["Fault", "S3Proxy", "S3Request", "run_s3_proxy"]


class Fault(Enum):
    """What the proxy does instead of passing an answer back."""

    LOSE_ANSWER = "the server does the work, and the connection ends without an answer"
    CUT_ANSWER = "the connection ends in the middle of the answer's body"
    STALL_IN_ANSWER = "nothing more comes after the middle of the answer's body"
    STALL = "nothing is passed on, and nothing is answered"
    STOP_READING = "the head of the request is read, its body never"
    RESET_IN_REQUEST = "the connection is reset in the middle of the request"
    RESET_IN_ANSWER = "the server does the work, and the connection is reset within the answer"
    FLIP_BIT_IN_REQUEST = "one bit of the request's body changes on its way"
    FLIP_BIT_IN_ANSWER = "one bit of the answer's body changes on its way"


@dataclass(frozen=True)
class S3Request:
    """A request that came by."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def operation(self) -> str:
        """What the Amazon S3 API Reference calls it."""
        parameters = dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))
        operations = {
            "GET": {
                "list-type": "ListObjectsV2",
                "uploads": "ListMultipartUploads",
                "uploadId": "ListParts",
            },
            "PUT": {"partNumber": "UploadPart"},
            "POST": {
                "uploads": "CreateMultipartUpload",
                "uploadId": "CompleteMultipartUpload",
                "delete": "DeleteObjects",
            },
            "DELETE": {"uploadId": "AbortMultipartUpload"},
        }
        for parameter, operation in operations.get(self.method, {}).items():
            if parameter in parameters:
                return operation
        if "x-amz-copy-source" in self.headers:
            return "CopyObject"
        return f"{self.method.capitalize()}Object"


Plan: TypeAlias = Callable[[S3Request], Fault | tuple[int, str] | None]
"""Says what happens to a request: a fault, an answer with this status and S3 error code (``""`` for
one without a body), or nothing special."""


@dataclass
class S3Proxy:
    """A running proxy.

    Attributes:
        endpoint_url: Where it listens.
        plan: See :data:`Plan`.
        before_answer: Awaited between the server's answer and its passing on.
        requests: What came by, in order.
        statuses: Of the server's answers, in order.
        peak: How many were under way at the same time, at most.
        connections: How many connections clients have made.
    """

    endpoint_url: str
    plan: Plan = lambda _: None
    before_answer: Callable[[S3Request], Awaitable[None]] | None = None
    requests: list[S3Request] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    under_way: int = 0
    peak: int = 0
    connections: int = 0

    @property
    def answered(self) -> int:
        """How many requests have got the server's answer."""
        return len(self.statuses)


@asynccontextmanager
async def run_s3_proxy(upstream_url: str) -> AsyncIterator[S3Proxy]:
    """Run a proxy in front of a server."""
    upstream = urlsplit(upstream_url)
    proxy = S3Proxy("")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.connections += 1
        while await _pass_on(proxy, reader, writer, (upstream.hostname, upstream.port)):
            pass

    async with listen(handle) as proxy.endpoint_url:
        yield proxy


async def _pass_on(
    proxy: S3Proxy,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream: tuple[str | None, int | None],
) -> bool:
    """Handle one request; tell whether the connection can be used for another one."""
    head = await reader.readuntil(b"\r\n\r\n")
    request = _parse(head)
    proxy.requests.append(request)
    proxy.under_way += 1
    proxy.peak = max(proxy.peak, proxy.under_way)
    try:
        fault = proxy.plan(request)
        if fault is Fault.STOP_READING:
            await asyncio.Event().wait()
        length = int(request.headers.get("content-length", 0))
        if fault is Fault.RESET_IN_REQUEST:
            await reader.readexactly(length // 2)
            reset(writer)
            return False
        body = _spoil(await reader.readexactly(length), fault, Fault.FLIP_BIT_IN_REQUEST)
        if fault is Fault.STALL:
            await asyncio.Event().wait()
        if isinstance(fault, tuple):
            writer.write(_make_answer(request, *fault))
            await writer.drain()
            return True
        # A connection for each request: then the answer ends with the connection.
        answer = await _ask(upstream, head[:-2] + b"Connection: close\r\n\r\n" + body)
        proxy.statuses.append(int(answer[0].split()[1]))
        if proxy.before_answer is not None:
            await proxy.before_answer(request)
        if fault is not Fault.LOSE_ANSWER:
            await _send_back(writer, *answer, fault)
    finally:
        proxy.under_way -= 1
    return False


async def _send_back(
    writer: asyncio.StreamWriter, head: bytes, body: bytes, fault: Fault | None
) -> None:
    if fault in (Fault.CUT_ANSWER, Fault.STALL_IN_ANSWER):
        body = body[: len(body) // 2]
    body = _spoil(body, fault, Fault.FLIP_BIT_IN_ANSWER)
    answer = head + body
    if fault is Fault.RESET_IN_ANSWER:
        answer = answer[: len(answer) // 2]
    writer.write(answer)
    await writer.drain()
    if fault is Fault.RESET_IN_ANSWER:
        reset(writer)
        return
    if fault is Fault.STALL_IN_ANSWER:
        await asyncio.Event().wait()
    writer.write_eof()


async def _ask(upstream: tuple[str | None, int | None], request: bytes) -> tuple[bytes, bytes]:
    reader, writer = await asyncio.open_connection(*upstream, limit=LIMIT)
    try:
        writer.write(request)
        await writer.drain()
        return await reader.readuntil(b"\r\n\r\n"), await reader.read()
    finally:
        writer.transport.abort()


def _spoil(body: bytes, fault: object, flip: Fault) -> bytes:
    """Flip one bit of a body, if that is the fault."""
    if fault is not flip:
        return body
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def _make_answer(request: S3Request, status: int, code: str) -> bytes:
    has_body = code and request.method != "HEAD"
    body = f"<Error><Code>{code}</Code></Error>" if has_body else ""
    return f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def _parse(head: bytes) -> S3Request:
    line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {
        name.lower(): value
        for name, value in (re.split(": *", field, maxsplit=1) for field in fields)
    }
    return S3Request(method, target, headers)
