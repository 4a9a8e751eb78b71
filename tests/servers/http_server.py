"""Real HTTP servers for the tests: an ASGI app on a free loopback port, in a thread or a process.

In a thread, the test and the app share objects (storages, events). In a process of its own, the app
can be measured and killed.
"""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import hypercorn.asyncio
import hypercorn.config
import uvicorn

__all__ = ["SERVERS", "ServerName", "free_port", "serve", "serve_in_process", "wait_for_port"]

ServerName: TypeAlias = Literal["uvicorn-h11", "uvicorn-httptools", "hypercorn"]

SERVERS: tuple[ServerName, ...] = ("uvicorn-h11", "uvicorn-httptools", "hypercorn")

ROOT = Path(__file__).resolve().parents[2]

START_SECONDS = 30
STOP_SECONDS = 20


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(port: int, is_alive: Callable[[], bool]) -> None:
    """Wait until a server accepts connections on a port of 127.0.0.1.

    Raises:
        RuntimeError: When the server ended, or does not accept within 30 seconds.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and is_alive():
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"No server accepts connections on 127.0.0.1:{port}.")


@contextmanager
def serve(app: Any, *, server: ServerName = "uvicorn-httptools", **options: Any) -> Iterator[str]:
    """Serve an ASGI app from a thread of this process.

    Args:
        app: The app; its lifespan runs.
        server: Which server, and with uvicorn which HTTP parser.
        **options: For ``uvicorn.Config``, or attributes of ``hypercorn.config.Config``.

    Yields:
        The base URL, without a slash at its end.
    """
    run = _serve_hypercorn if server == "hypercorn" else _serve_uvicorn
    with run(app, server, options) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _serve_uvicorn(app: Any, server: ServerName, options: Mapping[str, Any]) -> Iterator[int]:
    config = uvicorn.Config(
        app,
        http="h11" if server == "uvicorn-h11" else "httptools",
        lifespan="on",
        log_config=None,
        timeout_graceful_shutdown=5,
        **options,
    )
    uvicorn_server = uvicorn.Server(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while not uvicorn_server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("The app did not start under uvicorn.")
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            uvicorn_server.should_exit = True
            _join(thread)


@contextmanager
def _serve_hypercorn(app: Any, server: ServerName, options: Mapping[str, Any]) -> Iterator[int]:
    del server
    port = free_port()
    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.graceful_timeout = 5
    for key, value in options.items():
        setattr(config, key, value)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        with closing(loop):
            serving = hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait)
            loop.run_until_complete(serving)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for_port(port, thread.is_alive)
        yield port
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        _join(thread)


def _join(thread: threading.Thread) -> None:
    thread.join(STOP_SECONDS)
    if thread.is_alive():
        raise RuntimeError("The server did not stop.")


@contextmanager
def serve_in_process(
    app: str,
    *,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    cwd: Path | None = None,
) -> Iterator[tuple[str, int]]:
    """Serve an app by ``python -m uvicorn`` in a process of its own.

    Args:
        app: Where it is, as ``"module:attribute"``; ``"module:function"`` with ``--factory``.
        environment: Variables beside those of this process.
        arguments: Further arguments for uvicorn.
        cwd: Working directory.

    Yields:
        The base URL without a slash at its end, and the process id.
    """
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", app, "--host=127.0.0.1", f"--port={port}", *arguments],
        # Found wherever the process runs, also where the project is not installed.
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        cwd=cwd,
    )
    try:
        wait_for_port(port, lambda: process.poll() is None)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
