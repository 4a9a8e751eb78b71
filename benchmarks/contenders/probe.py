"""What a contender's process costs, measured inside of it: each app wraps itself in a ``Probe``.

It stands alone: the environments of the contenders have no other module in common.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

TICK = 0.01
"""Seconds between two looks at the event loop."""


class Probe:
    """An ASGI app around another: ``POST /_reset`` starts to measure, ``GET /_stats`` tells.

    Args:
        app: The app of the contender.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._ticker: asyncio.Task[None] | None = None
        self._lags: list[float] = []
        self._cpu = 0.0
        self._idle = self._written = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the probe's own paths, and hand everything else on."""
        answers = {"/_reset": self.reset, "/_stats": self.measure, "/_about": describe}
        if scope["type"] != "http" or scope["path"] not in answers:
            await self._app(scope, receive, send)
            return
        body = json.dumps(answers[scope["path"]]()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def reset(self) -> None:
        """Start to measure."""
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # Makes VmHWM start anew (man proc_pid).
        self._idle = _read_number("status", "VmRSS")
        self._written = _read_number("io", "write_bytes")
        self._lags = []
        if self._ticker is not None:
            self._ticker.cancel()
        self._ticker = asyncio.get_running_loop().create_task(self._tick())
        self._cpu = time.process_time()

    def measure(self) -> dict[str, float]:
        """Return what has been used since ``reset``.

        Returns:
            ``cpu`` in seconds, of all threads; ``rss``, the peak over what was used idle, in bytes;
            ``written``, bytes that went to files on a disk; ``lag_max`` and ``lag_p99``, how late
            the event loop came back to a task that sleeps 10 ms at a time, in seconds.
        """
        cpu = time.process_time() - self._cpu
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        lags = sorted(self._lags) or [0.0]
        return {
            "cpu": cpu,
            "rss": _read_number("status", "VmHWM") - self._idle,
            "written": _read_number("io", "write_bytes") - self._written,
            "lag_max": lags[-1],
            "lag_p99": lags[int(0.99 * (len(lags) - 1))],
        }

    async def _tick(self) -> None:
        due = time.perf_counter() + TICK
        while True:
            # A loop that is blocked does not come here either; so the time that counts is when it
            # should have come.
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            self._lags.append(now - due)
            due = now + TICK


def describe() -> dict[str, Any]:
    """Return the versions of what runs here."""
    packages = {
        found.metadata["Name"].lower().replace("_", "-"): found.version for found in distributions()
    }
    return {"python": sys.version.split()[0], "packages": packages}


def _read_number(file: str, name: str) -> int:
    """Return a number from a file of ``/proc/self``; ``kB`` as bytes."""
    for line in Path(f"/proc/self/{file}").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            number, _, unit = value.strip().partition(" ")
            return int(number) * (1024 if unit == "kB" else 1)
    raise LookupError(name)
