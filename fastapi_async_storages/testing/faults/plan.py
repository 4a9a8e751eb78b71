"""The faults that a plan can have."""

import threading
from abc import ABC, abstractmethod
from asyncio import wrap_future
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Future
from typing import ClassVar, Literal, TypeAlias, get_args

from fastapi_async_storages.exceptions import BackendUnavailableError, StorageError
from fastapi_async_storages.storage import Storage

__all__ = ["Corrupt", "Fail", "Fault", "LoseAnswer", "Nothing", "Pause", "Truncate", "Verb"]

BodyVerb: TypeAlias = Literal["open", "upload"]
WritingVerb: TypeAlias = Literal["copy", "delete", "delete_many", "move", "upload"]
Verb: TypeAlias = Literal[BodyVerb, WritingVerb, "check", "get_info", "get_path", "list"]
"""The verbs of :class:`Storage`. ``get_size`` and ``exists`` are ``get_info`` here, and each file
of a ``delete_many`` is a call of its own."""


class Fault(ABC):
    """What happens to some calls. Subclasses say what, in :meth:`happen`.

    Args:
        verb: To calls of which verb.
        name: To calls for which file; of ``copy`` and ``move`` the source, of ``list`` the prefix
            with its ``/``. For all when not given.
        times: To how many calls; ``None`` is all of them.
        at: After how many bytes of the body of an ``open`` or ``upload``, or at its end if it is
            shorter. When not given, before the storage is asked.

    Attributes:
        happened: How many calls have met the fault. While it is 0, a test has shown nothing.

    Raises:
        ValueError: When the fault cannot happen to the verb.
    """

    verbs: ClassVar[tuple[str, ...]] = get_args(Verb)

    def __init__(
        self, verb: Verb, *, name: str | None = None, times: int | None = 1, at: int | None = None
    ) -> None:
        verbs = self.verbs if at is None else get_args(BodyVerb)
        if verb not in verbs:
            raise ValueError(
                f"A {type(self).__name__} {'' if at is None else f'at byte {at} '}can happen to"
                f" {', '.join(verbs)}, not to {verb!r}."
            )
        self.verb = verb
        self.name = name
        self.times = times
        self.at = at
        self.happened = 0

    def __repr__(self) -> str:
        """Show what the fault is for."""
        place = "" if self.at is None else f", at={self.at}"
        return f"{type(self).__name__}({self.verb!r}, name={self.name!r}{place})"

    def meets(self, verb: Verb, name: str) -> bool:
        """Tell whether the fault is for a call, and not used up."""
        is_left = self.times is None or self.happened < self.times
        return is_left and verb == self.verb and self.name in (None, name)

    @abstractmethod
    async def happen(self, storage: Storage, name: str, chunk: bytes) -> bytes:
        """Happen to a call.

        Args:
            storage: The storage that was called.
            name: The file.
            chunk: Bytes of the body from the place of the fault on; empty at its end, and when the
                fault happens before it.

        Returns:
            Bytes to put in their place; none of them ends the body.
        """

    async def before(self, storage: Storage, name: str) -> None:
        """Let a call begin."""
        if self.at is None:
            await self.happen(storage, name, b"")

    async def within(
        self, storage: Storage, name: str, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """Let the body of a call pass."""
        position = 0
        has_happened = self.at is None
        async for chunk in body:
            cut = len(chunk) if self.at is None else max(self.at - position, 0)
            position += len(chunk)
            if head := chunk[:cut]:
                yield head
            if rest := chunk[cut:]:
                if not has_happened:
                    has_happened = True
                    rest = await self.happen(storage, name, rest)
                if not rest:
                    return
                yield rest
        if not has_happened:
            await self.happen(storage, name, b"")

    async def after(self, storage: Storage, name: str) -> None:  # noqa: B027 - most do nothing
        """Let a call end that has succeeded."""


class Fail(Fault):
    """The call raises an error: before the storage is asked, or in the middle of the body.

    Args:
        verb: See :class:`Fault`, as for the others.
        error: Class of the error.
        name: For which file.
        times: How often.
        at: After how many bytes.
    """

    def __init__(
        self,
        verb: Verb,
        error: type[StorageError] = BackendUnavailableError,
        *,
        name: str | None = None,
        times: int | None = 1,
        at: int | None = None,
    ) -> None:
        super().__init__(verb, name=name, times=times, at=at)
        self.error = error

    async def happen(self, storage: Storage, name: str, chunk: bytes) -> bytes:
        """Raise the error."""
        raise self.error(
            f"{name!a} in {storage!r}: {self!r} was planned.", storage=repr(storage), name=name
        )


class LoseAnswer(Fail):
    """The storage does what it was asked, and the call raises an error all the same.

    So it is when a connection breaks before the answer has come: the caller cannot tell whether
    the file is stored.

    Args:
        verb: See :class:`Fault`, as for the others; one that changes something.
        error: Class of the error.
        name: For which file.
        times: How often.
    """

    verbs = get_args(WritingVerb)

    def __init__(
        self,
        verb: WritingVerb,
        error: type[StorageError] = BackendUnavailableError,
        *,
        name: str | None = None,
        times: int | None = 1,
    ) -> None:
        super().__init__(verb, error, name=name, times=times)

    async def before(self, storage: Storage, name: str) -> None:
        """Let a call begin."""

    async def after(self, storage: Storage, name: str) -> None:
        """Raise the error."""
        await self.happen(storage, name, b"")


class Pause(Fault):
    """The call waits until it may go on: a storage that is slow, without a clock.

    ::

        pause = Pause("upload", at=1000)
        storage = FaultyStorage(MemoryStorage(), [pause])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(storage.upload(bytes(2000), "a"))
            await pause.reached()
            assert not await storage.exists("a")
            pause.resume()

    Arguments are those of :class:`Fault`. The storage and the test may be in different threads.
    """

    def __init__(
        self, verb: Verb, *, name: str | None = None, times: int | None = 1, at: int | None = None
    ) -> None:
        super().__init__(verb, name=name, times=times, at=at)
        self._reached = _Signal()
        self._resumed = _Signal()

    async def happen(self, storage: Storage, name: str, chunk: bytes) -> bytes:
        """Wait."""
        self._reached.set()
        await self._resumed.wait()
        return chunk

    async def reached(self) -> None:
        """Wait until the first call has come to the pause."""
        await self._reached.wait()

    def resume(self) -> None:
        """End the pause for all calls, also those that come to it later."""
        self._resumed.set()


class Truncate(Fault):
    """The body ends early and without an error: of a file that is read, or while it is stored.

    Args:
        verb: See :class:`Fault`, as for the others; one that has a body.
        at: How many bytes of it are left.
        name: For which file.
        times: How often.
    """

    verbs = get_args(BodyVerb)

    def __init__(
        self, verb: BodyVerb, *, at: int, name: str | None = None, times: int | None = 1
    ) -> None:
        super().__init__(verb, name=name, times=times, at=at)

    async def happen(self, storage: Storage, name: str, chunk: bytes) -> bytes:
        """End the body."""
        _check_body(self, chunk)
        return b""


class Corrupt(Fault):
    """One bit of the body is another one: of a file that is read, or while it is stored.

    Args:
        verb: See :class:`Fault`, as for the others; one that has a body.
        at: Which byte has the bit, from 0.
        name: For which file.
        times: How often.
    """

    verbs = get_args(BodyVerb)

    def __init__(
        self, verb: BodyVerb, *, at: int, name: str | None = None, times: int | None = 1
    ) -> None:
        super().__init__(verb, name=name, times=times, at=at)

    async def happen(self, storage: Storage, name: str, chunk: bytes) -> bytes:
        """Flip the bit."""
        _check_body(self, chunk)
        return bytes([chunk[0] ^ 1]) + chunk[1:]


class Nothing(Fault):
    """No fault: what a call meets that nothing was planned for."""

    async def happen(self, storage: Storage, name: str, chunk: bytes) -> bytes:
        """Do nothing."""
        return chunk


class _Signal:
    """An event for tasks of several event loops, in several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._waiting: list[Future[None]] = []

    def set(self) -> None:
        with self._lock:
            self._is_set = True
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    async def wait(self) -> None:
        future: Future[None] = Future()
        with self._lock:
            if self._is_set:
                return
            self._waiting.append(future)
        await wrap_future(future)


def _check_body(fault: Fault, chunk: bytes) -> None:
    if not chunk:
        raise ValueError(f"{fault!r} cannot happen: the body has no more bytes than that.")
