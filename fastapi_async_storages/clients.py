"""One client for each event loop: opened once, shared by all its tasks, closed with it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

from fastapi_async_storages.completion import complete
from fastapi_async_storages.exceptions import StorageClosedError

__all__ = ["CLEAN_UP_SECONDS", "LoopClients"]

CLEAN_UP_SECONDS = 10
"""How long closing waits for the clean-up of work that it has ended.

Source: ours; longer than the retries of a slow backend take, shorter than the 30 seconds that
Kubernetes leaves an app (``terminationGracePeriodSeconds``).
"""

T = TypeVar("T")


class _OpenClient(NamedTuple, Generic[T]):
    client: T
    holder: AsyncGenerator[T, None]


class _Work(NamedTuple):
    """What must not lose its client half-way."""

    task: asyncio.Task[Any] | None
    limit: asyncio.Timeout
    done: asyncio.Future[None]


class _LoopState(Generic[T]):
    """What one event loop has of the client."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.work: set[_Work] = set()
        self.opened: _OpenClient[T] | None = None
        self.entered = 0
        self.closed = False


# Open clients stay referenced until they are closed. A storage that is dropped open is garbage
# together with its client, and the collector may drop the client before the generator closes it.
_IN_USE: dict[_LoopState[Any], asyncio.AbstractEventLoop] = {}


class LoopClients(Generic[T]):
    """The clients of one storage, one for each event loop that uses it.

    A client belongs to the loop in which it was opened (its sockets do), while a storage is often a
    module's global that serves one loop after the other: tests, ``asyncio.run`` called twice.

    The client is held by an async generator. When nobody closes the storage, the loop itself does:
    ``asyncio.run``, uvicorn and the test runners call ``loop.shutdown_asyncgens()``, which closes
    the generator, and with it the client.

    Args:
        open_client: Returns the context manager that opens and closes a client. It must not be an
            async generator (``@asynccontextmanager``): ``shutdown_asyncgens`` closes all of them at
            the same time, so the client would be closed twice, by both generators at once.
        storage: How errors name the storage.
    """

    # No __dict__, for the sake of __iter__.
    __slots__ = ("_open_client", "_states", "_storage")

    def __init__(
        self, open_client: Callable[[], AbstractAsyncContextManager[T]], storage: str
    ) -> None:
        self._open_client = open_client
        self._storage = storage
        self._states: dict[asyncio.AbstractEventLoop, _LoopState[T]] = {}

    def __iter__(self) -> NoReturn:
        """Refuse to be taken for data, and so for the storage that this belongs to.

        FastAPI's ``jsonable_encoder`` tries ``dict()`` and then ``vars()`` on what it does not
        know. An endpoint that returns its storage would answer with all attributes of it, the
        credentials too. Every storage has clients, so one refusal here holds for all backends.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            f"{self._storage} is no data that can be returned: return what it knows of a file, such"
            " as a StorageFile or 'await file_out(file)'."
        )

    async def get(self) -> T:
        """Return the client of the running loop, opened now if need be.

        Raises:
            StorageClosedError: When it was closed in this loop and not entered again.
        """
        state = self._get_state()
        if state.opened is not None:
            return state.opened.client
        async with state.lock:  # Many tasks may be the first one; one of them opens.
            return await self._ensure_open(state)

    async def enter(self) -> None:
        """Open the client of the running loop; the :meth:`exit` of the last one closes it."""
        state = self._get_state()
        async with state.lock:
            state.closed = False
            await self._ensure_open(state)
            state.entered += 1

    async def exit(self) -> None:
        """Undo one :meth:`enter`."""
        state = self._get_state()
        state.entered -= 1
        if state.entered <= 0:
            await self.close()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Do work within the block that closing must not leave half-done.

        Raises:
            StorageClosedError: When the storage is closed before the end of the block, after what
                is in it has cleaned up.
        """
        state = self._get_state()
        limit = asyncio.timeout(None)  # The one who closes sets it.
        done = asyncio.get_running_loop().create_future()
        work = _Work(asyncio.current_task(), limit, done)
        state.work.add(work)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._closed_error("was closed before the end of this call") from None
        finally:
            state.work.discard(work)
            done.set_result(None)

    async def drain(self, seconds: float) -> None:
        """Wait until no work is under way in the running loop; end what takes longer.

        Args:
            seconds: How long to wait at most.
        """
        await _drain(self._get_state(), seconds, asyncio.current_task())

    async def close(self) -> None:
        """End all work, and close the client of the running loop; twice does no harm."""
        state = self._get_state()
        state.closed, state.entered = True, 0
        if state.work:
            await complete(_drain(state, 0, asyncio.current_task()))
        async with state.lock:  # A task that is opening it right now comes to its end first.
            opened = state.opened
            if opened is not None and state.closed:
                await complete(_close(opened.holder))

    async def _ensure_open(self, state: _LoopState[T]) -> T:
        if state.closed:
            raise self._closed_error("was closed")
        if state.opened is None:
            holder = self._hold(state)
            state.opened = _OpenClient(await anext(holder), holder)
        return state.opened.client

    async def _hold(self, state: _LoopState[T]) -> AsyncGenerator[T, None]:
        async with self._open_client() as client:
            _IN_USE[state] = asyncio.get_running_loop()
            try:
                yield client
            finally:
                state.opened = None  # First, so that nobody is handed a client that is closing.
                _IN_USE.pop(state, None)

    def _closed_error(self, what: str) -> StorageClosedError:
        return StorageClosedError(
            f"{self._storage} {what}; open it again with 'async with storage:'.",
            storage=self._storage,
        )

    def _get_state(self) -> _LoopState[T]:
        loop = asyncio.get_running_loop()
        state = self._states.get(loop)
        if state is None:
            for other in [other for other in list(self._states) if other.is_closed()]:
                self._states.pop(other, None)  # A lock holds its loop, so no weak key would do.
            for lost, its_loop in list(_IN_USE.items()):
                if its_loop.is_closed():  # Without shutdown_asyncgens().
                    _IN_USE.pop(lost, None)
            state = self._states[loop] = _LoopState()
        return state


async def _close(holder: AsyncGenerator[T, None]) -> None:
    await holder.aclose()


async def _drain(state: _LoopState[Any], seconds: float, current: asyncio.Task[Any] | None) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    # Who closes a storage within its own work would wait for itself.
    while others := [work for work in state.work if work.task is not current]:
        left = deadline - loop.time()
        if left > 0:
            await asyncio.wait([work.done for work in others], timeout=left)
            continue
        for work in others:
            if not work.limit.expired():
                work.limit.reschedule(loop.time())
        await asyncio.wait([work.done for work in others], timeout=CLEAN_UP_SECONDS)
        return
