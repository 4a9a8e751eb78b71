"""A storage that fails on demand, for tests of what your code does then.

    storage = FaultyStorage(MemoryStorage(), [Fail("delete", times=2), LoseAnswer("upload")])

A plan is a list of faults, each for calls of one verb of :class:`Storage`. A call meets the first
fault of the list that is for it and not used up; without one it works as ever.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

from fastapi_async_storages.dispositions import Disposition
from fastapi_async_storages.exceptions import StorageError
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.readers import FileReader
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.streams import ByteStream
from fastapi_async_storages.testing.faults.plan import (
    Corrupt,
    Fail,
    Fault,
    LoseAnswer,
    Nothing,
    Pause,
    Truncate,
    Verb,
)

__all__ = ["Corrupt", "Fail", "Fault", "FaultyStorage", "LoseAnswer", "Pause", "Truncate", "Verb"]


class FaultyStorage(Storage):
    """A storage with faults by plan; all else is that of the storage within.

    It opens and closes together with that one, and has its ``repr``. Not for ``X-Accel-Redirect``
    and the like, which would go past it.

    Args:
        inner: Any storage.
        plan: What happens to which calls.

    Attributes:
        inner: The storage within, without faults: for tests to look into.
        plan: The faults. A test may change the list at any time.
    """

    def __init__(self, inner: Storage, plan: Iterable[Fault] = ()) -> None:
        self.inner = inner
        self.plan = list(plan)
        super().__init__()
        self._clients = inner._clients

    def __repr__(self) -> str:
        """Name the inner storage, as all errors but the planned ones do anyway."""
        return repr(self.inner)

    @property
    def presigns(self) -> bool:
        """Whether URLs are those of the backend itself, as those of the inner storage."""
        return self.inner.presigns

    @property
    def links(self) -> Any:
        """What makes and verifies the links of the inner storage, if anything does."""
        return getattr(self.inner, "links", None)

    def get_name(self, name: str) -> str:
        """Return the safe form of a name, as the inner storage holds it."""
        return self.inner.get_name(name)

    async def _upload(
        self,
        name: str,
        stream: ByteStream,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        cache_control: str | None,
        overwrite: bool,
    ) -> None:
        async with (
            self._meeting("upload", name) as fault,
            aclosing(fault.within(self, name, aiter(stream))) as body,
        ):
            # The size is not passed on: fewer bytes may come.
            await self.inner._upload(
                name,
                ByteStream(body),
                content_type=content_type,
                metadata=metadata,
                cache_control=cache_control,
                overwrite=overwrite,
            )

    @asynccontextmanager
    async def _open(
        self, name: str, byte_range: ByteRange | None, preconditions: Preconditions
    ) -> AsyncIterator[FileReader]:
        async with (
            self._meeting("open", name) as fault,
            self.inner._open(name, byte_range, preconditions) as reader,
            aclosing(fault.within(self, name, aiter(reader))) as body,
        ):
            yield FileReader(
                reader.info, body, content_range=reader.content_range, storage=repr(self)
            )

    async def _get_info(self, name: str) -> FileInfo:
        async with self._meeting("get_info", name):
            return await self.inner._get_info(name)

    async def _list(self, prefix: str) -> AsyncIterator[FileInfo]:
        async with self._meeting("list", prefix):
            async for info in self.inner._list(prefix):
                yield info

    async def _copy(
        self, source: str, target: str, *, overwrite: bool, if_match: str | None
    ) -> None:
        async with self._meeting("copy", source):
            await self.inner._copy(source, target, overwrite=overwrite, if_match=if_match)

    async def _move(
        self, source: str, target: str, *, overwrite: bool, if_match: str | None
    ) -> None:
        async with self._meeting("move", source):
            await self.inner._move(source, target, overwrite=overwrite, if_match=if_match)

    async def _delete(self, name: str) -> None:
        async with self._meeting("delete", name):
            await self.inner._delete(name)

    async def _delete_many(self, names: Sequence[str]) -> dict[str, StorageError]:
        failed: dict[str, StorageError] = {}
        faults = {name: self._take("delete_many", name) for name in names}
        for name, fault in faults.items():
            with _kept_in(failed, name):
                await fault.before(self, name)
        failed |= await self.inner._delete_many([name for name in faults if name not in failed])
        for name in faults.keys() - failed.keys():
            with _kept_in(failed, name):
                await faults[name].after(self, name)
        return failed

    async def _get_path(
        self, name: str, *, expires_in: int, filename: str | None, disposition: Disposition | None
    ) -> str:
        async with self._meeting("get_path", name):
            return await self.inner._get_path(
                name, expires_in=expires_in, filename=filename, disposition=disposition
            )

    async def _check(self) -> None:
        async with self._meeting("check", ""):
            await self.inner._check()

    @asynccontextmanager
    async def _meeting(self, verb: Verb, name: str) -> AsyncIterator[Fault]:
        fault = self._take(verb, name)
        await fault.before(self, name)
        yield fault
        await fault.after(self, name)

    def _take(self, verb: Verb, name: str) -> Fault:
        fault = next((fault for fault in self.plan if fault.meets(verb, name)), Nothing(verb))
        fault.happened += 1
        return fault


@contextmanager
def _kept_in(errors: dict[str, StorageError], name: str) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        errors[name] = error
