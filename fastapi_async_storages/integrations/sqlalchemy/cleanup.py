"""Deleting files that no row names, which must never fail what has succeeded already."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

from fastapi_async_storages.completion import run_together
from fastapi_async_storages.exceptions import InvalidNameError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.integrations.sqlalchemy.column_types import Cleanup
from fastapi_async_storages.integrations.sqlalchemy.names import FileNames
from fastapi_async_storages.storage import NAMES_AT_ONCE, Storage

__all__ = ["clean_up"]

TIME_LIMIT = 60
"""Seconds that the clean-up of one transaction may take.

Source: nginx waits as long for the next byte of an app's answer, if it is told nothing else
(ngx_http_proxy_module, ``proxy_read_timeout``).
"""

_logger = logging.getLogger("fastapi_async_storages")


async def clean_up(names: FileNames) -> None:
    """Do to files what their columns say. Failures are logged: a sweep finds what is left.

    Who has committed waits for this, and cannot be cancelled meanwhile. So it ends in time: what is
    not done after :data:`TIME_LIMIT` is left to the sweep too. A call of the operating system that
    hangs, for a disk that does, is waited for nevertheless: nobody can break it off, and if it went
    on behind the back of the app, it could delete a file that is stored under the name by then.

    Args:
        names: The files, which no row names any more.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(TIME_LIMIT):
            # Side by side: of those that hang, none keeps the others from what they can do.
            await run_together(
                _clean_up(storage, cleanup, group) for (storage, cleanup), group in names
            )


async def _clean_up(storage: Storage, cleanup: Cleanup, names: Collection[str]) -> None:
    safe = await _select_safe(storage, names)
    if callable(cleanup):
        await _call(storage, cleanup, safe)
    elif safe:
        await _delete(storage, safe)


async def _select_safe(storage: Storage, names: Collection[str]) -> Sequence[str]:
    ordered, safe = sorted(names), list[str]()
    for count, name in enumerate(ordered, 1):
        if _is_safe(storage, name):
            safe.append(name)
        if count % NAMES_AT_ONCE == 0:  # A bulk DELETE may let go of a million files.
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                _log_late(storage, ordered)
                raise
    return safe


async def _call(
    storage: Storage, cleanup: Callable[[StorageFile], Awaitable[None]], names: Sequence[str]
) -> None:
    for index, name in enumerate(names):
        file = StorageFile.from_stored(storage, name)
        try:
            await cleanup(file)
        except asyncio.CancelledError:
            _log_late(storage, names[index:])
            raise
        except Exception:  # It is the app's own code, and the transaction stands.
            _logger.warning("%r is left to the sweep: its clean-up failed.", file, exc_info=True)


async def _delete(storage: Storage, names: Sequence[str]) -> None:
    try:
        failures = await storage.delete_many(names)
    except asyncio.CancelledError:
        _log_late(storage, names)
        raise
    except Exception:  # The storage may be of the app too, and the transaction stands.
        _logger.warning(
            "%d files in %r are left to the sweep, such as %a.",
            len(names),
            storage,
            names[0],
            exc_info=True,
        )
        return
    for name, error in failures.items():
        _logger.warning("%a in %r is left to the sweep: %s", name, storage, error)


def _log_late(storage: Storage, names: Sequence[str]) -> None:
    _logger.warning(
        "Up to %d files in %r are left to the sweep, such as %a: their clean-up takes longer than"
        " %d seconds.",
        len(names),
        storage,
        names[0],
        TIME_LIMIT,
    )


def _is_safe(storage: Storage, name: str) -> bool:
    """Tell whether a name is in the form in which rows that share its file name it too.

    Another program may have written ``./a.txt``; whether a row names ``a.txt`` was not looked up.
    """
    try:
        is_safe = storage.get_name(name) == name
    except InvalidNameError:
        is_safe = False
    if not is_safe:
        _logger.warning("%a in %r is left alone: it is no name of ours.", name, storage)
    return is_safe
