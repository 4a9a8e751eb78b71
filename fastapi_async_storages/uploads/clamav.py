"""A scanner that asks ClamAV about each upload, over a socket of its daemon ``clamd``.

    rules = UploadRules(max_size="100MiB", scanners=[ClamdScanner("/run/clamav/clamd.ctl")])

The bytes go to clamd while they go to the storage, and clamd's answer comes before the storage
makes the file visible. Nothing is sent unless a rule names the scanner.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from os import PathLike, fspath
from typing import Any

from fastapi_async_storages.exceptions import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigurationError,
    MalwareFoundError,
    ScanLimitError,
)
from fastapi_async_storages.uploads.incoming import IncomingFile

__all__ = ["ClamdScanner"]

# Source for the protocol: clamd(8), "COMMANDS" and "INSTREAM".
_START = b"zINSTREAM\0"
_END = struct.pack("!I", 0)
_CHUNK_SIZE = 1024 * 1024  # Far below the 4 GiB that a length may be, so that no send takes long.
_MAX_REPLY = 4096


class ClamdScanner:
    """Refuses what ClamAV finds something in. For ``scanners=`` of :class:`UploadRules`.

    A scanner that is down refuses every upload (:class:`BackendUnavailableError`, HTTP 503): who
    asked for a scanner does not want files that nobody scanned. Beware of clamd's own limits. Above
    ``StreamMaxLength`` it refuses (:class:`ScanLimitError`, HTTP 413); but above ``MaxFileSize``
    and ``MaxScanSize`` it calls a file clean that it has not looked at to its end, unless
    clamd.conf says ``AlertExceedsMax yes``. Keep ``max_size`` of the rules below all three.

    Args:
        path: Path of clamd's Unix socket (``LocalSocket`` in clamd.conf).
        host: Host of its TCP socket (``TCPAddr``), instead of a path. The bytes go there in clear.
        port: Port of its TCP socket (``TCPSocket``).
        connect_timeout: Seconds that connecting may take.
        timeout: Seconds that any other answer may take. By default longer than clamd's own
            ``MaxScanTime`` of 120 seconds.

    Raises:
        ConfigurationError: When not exactly one of ``path`` and ``host`` is given.
    """

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        *,
        host: str | None = None,
        port: int = 3310,
        connect_timeout: float = 5,
        timeout: float = 150,
    ) -> None:
        if (path is None) == (host is None):
            raise ConfigurationError("ClamdScanner needs a path or a host, one of them.")
        self._path = None if path is None else fspath(path)
        self._host = host
        self._port = port
        self._connect_timeout = connect_timeout
        self._timeout = timeout

    def __repr__(self) -> str:
        """Show where clamd is."""
        return f"ClamdScanner({self._path or f'{self._host}:{self._port}'!r})"

    async def __call__(
        self, file: IncomingFile, chunks: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """Send each chunk to clamd and pass it on; ask for the verdict after the last.

        Args:
            file: The upload.
            chunks: Its bytes.

        Raises:
            MalwareFoundError: When clamd finds something.
            ScanLimitError: When the upload is larger than clamd takes.
            BackendUnavailableError: When clamd is down or gives no answer.
            BackendError: When it answers something else.
        """
        sent = 0
        with await self._connect() as connection:
            reply = await self._send(connection, _START)
            async for chunk in chunks:
                for start in range(0, len(chunk), _CHUNK_SIZE):
                    part = chunk[start : start + _CHUNK_SIZE]
                    reply = reply or await self._send(connection, _frame(part))
                sent += len(chunk)
                if reply is not None:
                    self._judge(file, reply, sent, is_complete=False)
                yield chunk
            reply = await self._send(connection, _END) or await self._receive(connection)
        self._judge(file, reply, sent, is_complete=True)

    async def _connect(self) -> socket.socket:
        try:
            async with asyncio.timeout(self._connect_timeout):
                if self._path is not None:
                    return await _open_socket(socket.AF_UNIX, self._path)
                return await _open_tcp_socket(self._host, self._port)
        except TimeoutError as error:
            raise BackendTimeoutError(f"{self!r} did not answer in time.") from error
        except OSError as error:
            raise BackendUnavailableError(f"{self!r} cannot be reached: {error}.") from error

    async def _send(self, connection: socket.socket, data: bytes) -> bytes | None:
        """Send data; return clamd's reply when it has hung up, which it does after saying why."""
        # Not by asyncio's streams: they drop what can still be read once a write has failed.
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.get_running_loop().sock_sendall(connection, data)
        except TimeoutError as error:
            raise BackendTimeoutError(f"{self!r} did not read in time.") from error
        except OSError:
            return await self._receive(connection)
        return None

    async def _receive(self, connection: socket.socket) -> bytes:
        reply = b""
        try:
            async with asyncio.timeout(self._timeout):
                while not reply.endswith(b"\0") and len(reply) < _MAX_REPLY:
                    received = await _receive_some(connection)
                    if not received:
                        break
                    reply += received
        except TimeoutError as error:
            raise BackendTimeoutError(f"{self!r} gave no verdict in time.") from error
        except OSError as error:
            raise BackendUnavailableError(f"{self!r} hung up: {error}.") from error
        return reply

    def _judge(self, file: IncomingFile, reply: bytes, sent: int, *, is_complete: bool) -> None:
        text = reply.rstrip(b"\0\n").decode(errors="replace")
        if text == "stream: OK" and is_complete:
            return
        if text.startswith("stream: ") and text.endswith(" FOUND"):
            found = text.removeprefix("stream: ").removesuffix(" FOUND")
            raise MalwareFoundError(f"{file.label} has malware: {found}.", received=found)
        if text.startswith("INSTREAM size limit exceeded"):
            raise ScanLimitError(
                f"{file.label} is larger than the virus scanner takes: {sent} bytes or more.",
                received=sent,
            )
        if not text:
            raise BackendUnavailableError(f"{self!r} hung up without a verdict.")
        raise BackendError(f"{self!r} answered {text!a}.")


async def _open_socket(family: int, address: str | tuple[Any, ...]) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


async def _open_tcp_socket(host: str | None, port: int) -> socket.socket:
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    errors = []
    for family, _, _, _, address in infos:
        try:
            return await _open_socket(family, address)
        except OSError as error:
            errors.append(error)
    raise errors[0]


async def _receive_some(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    try:
        return await loop.sock_recv(connection, _MAX_REPLY)
    except ConnectionResetError:
        # Linux reports once that clamd hung up on bytes of ours, before what clamd said to it.
        return await loop.sock_recv(connection, _MAX_REPLY)


def _frame(chunk: bytes) -> bytes:
    return struct.pack("!I", len(chunk)) + chunk
