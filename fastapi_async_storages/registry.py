"""Named storages that open and close together."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.storage import Storage

__all__ = ["DEFAULT", "Storages"]

DEFAULT = "default"
"""Name of the storage that is meant when none is named."""


class Storages:
    """The storages of an app, by name.

    ``async with storages:`` opens them in order and closes them in reverse, also when one of them
    fails to open or to close.

    Args:
        default: The storage that is meant when none is named.
        **named: Further storages.
    """

    def __init__(self, default: Storage, **named: Storage) -> None:
        self._storages: dict[str, Storage] = {DEFAULT: default, **named}

    @property
    def default(self) -> Storage:
        """The storage that is meant when none is named."""
        return self._storages[DEFAULT]

    def __getitem__(self, name: str) -> Storage:
        """Return a storage.

        Raises:
            ConfigurationError: When there is none of this name.
        """
        if name not in self._storages:
            raise ConfigurationError(
                f"There is no storage named {name!r}; there are: {', '.join(self._storages)}."
            )
        return self._storages[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a storage of this name."""
        return name in self._storages

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, the default storage's first."""
        return iter(self._storages)

    def __len__(self) -> int:
        """Return how many storages there are."""
        return len(self._storages)

    async def check(self) -> None:
        """Find out now whether all storages can work; see :meth:`Storage.check`.

        Raises:
            StorageError: From the first storage that cannot.
        """
        for storage in self._storages.values():
            await storage.check()

    async def drain(self, seconds: float) -> None:
        """Wait until nothing is under way in any storage; see :meth:`Storage.drain`.

        Args:
            seconds: How long to wait at most.
        """
        await asyncio.gather(*(storage.drain(seconds) for storage in self._storages.values()))

    async def __aenter__(self) -> Self:
        """Open all storages in the running event loop, or none."""
        async with AsyncExitStack() as opened:
            for storage in self._storages.values():
                await opened.enter_async_context(storage)
            opened.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all storages in reverse; one that fails to close does not keep the others open."""
        # The stack is made here, not kept from __aenter__: each storage knows in which event loop
        # it was opened, so one registry serves several loops, as its storages do.
        async with AsyncExitStack() as opened:
            for storage in self._storages.values():
                opened.push_async_exit(storage)
