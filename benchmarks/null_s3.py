"""A null S3: it takes uploads and throws them away, and serves zeros of the size that they had.

A real server is slower than the apps in front of it, so that a large file says little about them.
This one shows what the app alone costs. It knows what the contenders send: objects in one request
or in parts, ranges, conditions; it does not look at signatures.

    python -m benchmarks.null_s3 PORT
"""

import asyncio
import itertools
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop

BLOCK = memoryview(bytes(1024 * 1024))

_KEPT = re.compile(r"content-type|cache-control|content-disposition|x-amz-meta-.*")


@dataclass(frozen=True)
class Stored:
    """What is left of an object."""

    size: int
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        return f'"{self.size:032x}"'


@dataclass
class Bucket:
    """What all connections share."""

    objects: dict[str, Stored] = field(default_factory=dict)
    parts: dict[str, dict[int, int]] = field(default_factory=dict)
    headers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    requests: int = 0
    sent: int = 0

    def take_stats(self) -> str:
        """Return, as JSON, what was asked and sent since the last time."""
        stats = json.dumps({"requests": self.requests, "sent": self.sent})
        self.requests = self.sent = 0
        return stats


class Connection(asyncio.Protocol):
    """One connection of a client; it sends one request at a time."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._parser = httptools.HttpRequestParser(self)
        self._headers: dict[str, str] = {}
        self._url = b""
        self._received = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._sending: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._sending is not None:
            self._sending.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def on_message_begin(self) -> None:
        self._headers, self._url, self._received = {}, b"", 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect") == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._received += len(data)

    def on_message_complete(self) -> None:
        url = urlsplit(self._url.decode("latin-1"))
        query = {key: values[0] for key, values in parse_qs(url.query, True).items()}
        method = self._parser.get_method().decode()
        if url.path == "/_stats":
            self._answer(200, self._bucket.take_stats())
            return
        self._bucket.requests += 1
        match method:
            case "PUT":
                self._put(url.path, query)
            case "POST":
                self._post(url.path, query)
            case "DELETE":
                self._bucket.objects.pop(url.path, None)
                self._bucket.parts.pop(query.get("uploadId", ""), None)
                self._answer(204)
            case "GET" | "HEAD" if url.path.count("/") == 1:  # Of the bucket, listed or not.
                self._answer(
                    200, "<ListBucketResult></ListBucketResult>" if method == "GET" else ""
                )
            case _:
                self._get(url.path, has_body=method == "GET")

    def _put(self, path: str, query: Mapping[str, str]) -> None:
        # Some SDKs send the body in signed chunks, which are larger than what they hold.
        size = int(self._headers.get("x-amz-decoded-content-length", self._received))
        if "uploadId" in query:
            self._bucket.parts[query["uploadId"]][int(query["partNumber"])] = size
            self._answer(200, etag=f'"{size:032x}"')
        elif self._headers.get("if-none-match") == "*" and path in self._bucket.objects:
            self._answer(412, "<Error><Code>PreconditionFailed</Code></Error>")
        else:
            stored = Stored(size, self._get_kept_headers())
            self._bucket.objects[path] = stored
            self._answer(200, etag=stored.etag)

    def _post(self, path: str, query: Mapping[str, str]) -> None:
        if "uploads" in query:
            upload_id = str(next(self._bucket.ids))
            self._bucket.parts[upload_id] = {}
            self._bucket.headers[upload_id] = self._get_kept_headers()
            self._answer_xml("InitiateMultipartUploadResult", f"<UploadId>{upload_id}</UploadId>")
        else:
            size = sum(self._bucket.parts.pop(query["uploadId"]).values())
            stored = Stored(size, self._bucket.headers.pop(query["uploadId"]))
            self._bucket.objects[path] = stored
            self._answer_xml("CompleteMultipartUploadResult", f"<ETag>{stored.etag}</ETag>")

    def _get(self, path: str, *, has_body: bool) -> None:
        stored = self._bucket.objects.get(path)
        if stored is None:
            self._answer(404, "<Error><Code>NoSuchKey</Code></Error>" if has_body else "")
            return
        first, last, status, headers = 0, stored.size - 1, 200, dict(stored.headers)
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self._headers.get("range", "")):
            first, status = int(found[1]), 206
            last = min(last, int(found[2] or last))
            headers["content-range"] = f"bytes {first}-{last}/{stored.size}"
        size = last - first + 1
        self._start(status, size, {**headers, "etag": stored.etag, "accept-ranges": "bytes"})
        if has_body:
            self._sending = asyncio.get_running_loop().create_task(self._send(size))

    async def _send(self, size: int) -> None:
        self._bucket.sent += size
        while size > 0:
            await self._writable.wait()
            block = BLOCK[: min(size, len(BLOCK))]
            self._transport.write(block)
            size -= len(block)

    def _get_kept_headers(self) -> dict[str, str]:
        return {key: value for key, value in self._headers.items() if _KEPT.fullmatch(key)}

    def _answer_xml(self, element: str, content: str) -> None:
        namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
        self._answer(
            200,
            f'<{element} xmlns="{namespace}"><Bucket>b</Bucket><Key>k</Key>{content}</{element}>',
        )

    def _answer(self, status: int, body: str = "", **headers: str) -> None:
        self._start(status, len(body), headers)
        self._transport.write(body.encode())

    def _start(self, status: int, size: int, headers: Mapping[str, str]) -> None:
        lines = [
            f"HTTP/1.1 {status} -",
            f"content-length: {size}",
            "last-modified: Thu, 01 Jan 2026 00:00:00 GMT",
            *(f"{key}: {value}" for key, value in headers.items()),
        ]
        self._transport.write("\r\n".join([*lines, "\r\n"]).encode("latin-1"))


async def serve(port: int) -> None:
    bucket = Bucket()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(bucket), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
