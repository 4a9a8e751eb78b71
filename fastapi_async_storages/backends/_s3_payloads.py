"""Bodies of uploads, with what the SDK lacks for large ones.

A signed request covers the SHA-256 of its body, and the SDK computes it in the event loop: about
10 ms for a part of 8 MiB, in which nothing else runs, and several parts follow each other. And its
timeouts do not run while a body is sent, so a server that stops reading would hold it for ever.
"""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.to_thread

__all__ = ["SMALL_BODY_SIZE", "HashedBody"]

SMALL_BODY_SIZE = 64 * 1024
"""Bodies of up to so many bytes are hashed in the loop, which takes less time than to go to a
thread, and fit in the buffers of a connection, so that sending them never waits for the server.

Source: ``set_write_buffer_limits`` of asyncio's transports, 64 KiB unless told otherwise.
"""


class HashedBody(io.BytesIO):
    """A body in memory that may know its SHA-256.

    Attributes:
        sha256: 64 hex digits, once computed.
        is_signed: Whether the signature of the request covers it.
    """

    sha256: str | None = None
    is_signed = False
    _on_read: Callable[[], None] | None = None

    @property
    def size(self) -> int:
        """How many bytes the body has."""
        return self.getbuffer().nbytes

    @property
    def is_small(self) -> bool:
        """Whether the body has at most :data:`SMALL_BODY_SIZE` bytes."""
        return self.size <= SMALL_BODY_SIZE

    def read(self, size: int | None = -1, /) -> bytes:
        """Read some bytes, as the SDK does when the server has taken those before."""
        if self._on_read is not None:
            self._on_read()
        return super().read(size)

    @asynccontextmanager
    async def timeout_on_stall(self, seconds: float | None) -> AsyncIterator[None]:
        """Bound the time between two reads, and from the last one to the end of the block.

        Args:
            seconds: How long; ``None`` is for ever.

        Raises:
            TimeoutError: When it took longer.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds) as timeout:
            if seconds is not None:
                self._on_read = lambda: timeout.reschedule(loop.time() + seconds)
            try:
                yield
            finally:
                self._on_read = None

    async def hash(self) -> None:
        """Compute the SHA-256, once; that of a large body in a thread."""
        if self.sha256 is None and self.is_small:
            self.sha256 = self._compute_sha256()
        elif self.sha256 is None:
            self.sha256 = await anyio.to_thread.run_sync(
                self._compute_sha256, abandon_on_cancel=True
            )

    def _compute_sha256(self) -> str:
        return hashlib.sha256(self.getbuffer()).hexdigest()
