"""ClamAV's daemon for the tests: the real one where it is installed, and a stand-in.

Both know one virus, the EICAR test file, and take streams of up to 1 MiB.
"""

import asyncio
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers.http_server import START_SECONDS, STOP_SECONDS, free_port
from tests.uploads.samples import EICAR

__all__ = ["STREAM_MAX_LENGTH", "Clamd", "find_clamd", "run_clamd", "run_stand_in"]

STREAM_MAX_LENGTH = 1024 * 1024

# A database of one signature, so that nothing need be downloaded: MD5, size and name.
# Source: ClamAV documentation, "File hash signatures".
SIGNATURES = "44d88612fea8a8f36de82e1278abb02f:68:Eicar-Test-Signature\n"

CONFIG = """
LocalSocket {path}
TCPSocket {port}
TCPAddr 127.0.0.1
DatabaseDirectory {directory}
Foreground yes
StreamMaxLength 1M
"""


@dataclass(frozen=True)
class Clamd:
    path: Path
    port: int


def find_clamd() -> str | None:
    """Return where the daemon is installed, if it is."""
    return shutil.which("clamd") or shutil.which("clamd", path="/usr/sbin:/usr/local/sbin")


@asynccontextmanager
async def run_clamd(program: str) -> AsyncIterator[Clamd]:
    with TemporaryDirectory(prefix="clamd-", dir="/tmp") as name:
        directory = Path(name)
        clamd = Clamd(directory / "clamd.sock", free_port())
        (directory / "eicar.hdb").write_text(SIGNATURES)
        config = directory / "clamd.conf"
        config.write_text(CONFIG.format(path=clamd.path, port=clamd.port, directory=directory))
        process = subprocess.Popen([program, "-c", config], stdout=subprocess.DEVNULL)
        try:
            await asyncio.to_thread(_wait, process, clamd.path)
            yield clamd
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, STOP_SECONDS)


def _wait(process: "subprocess.Popen[bytes]", path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with closing(socket.socket(socket.AF_UNIX)) as client:
            if client.connect_ex(str(path)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("clamd does not accept connections.")


@asynccontextmanager
async def run_stand_in() -> AsyncIterator[Clamd]:
    """Speak clamd's protocol as clamd 1.4 was seen to, in this event loop."""
    with TemporaryDirectory(prefix="clamd-", dir="/tmp") as directory:
        clamd = Clamd(Path(directory) / "clamd.sock", free_port())
        unix = await asyncio.start_unix_server(_serve, clamd.path)
        tcp = await asyncio.start_server(_serve, "127.0.0.1", clamd.port)
        async with unix, tcp:
            yield clamd


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        command = await reader.readuntil(b"\0")
        writer.write(await _scan(reader) if command == b"zINSTREAM\0" else b"UNKNOWN COMMAND\0")
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # The client has left.
    finally:
        writer.close()


async def _scan(reader: asyncio.StreamReader) -> bytes:
    content = b""
    while length := struct.unpack("!I", await reader.readexactly(4))[0]:
        if len(content) + length > STREAM_MAX_LENGTH:
            return b"INSTREAM size limit exceeded. ERROR\0"
        content += await reader.readexactly(length)
    if content == EICAR:
        return b"stream: Eicar-Test-Signature.UNOFFICIAL FOUND\0"
    return b"stream: OK\0"
