"""Deleting files that no row names, which must never fail what has succeeded already."""

import logging
from collections.abc import Awaitable, Callable

from fastapi_async_storages.exceptions import InvalidNameError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.integrations.sqlalchemy.names import FileNames
from fastapi_async_storages.storage import Storage

__all__ = ["clean_up"]

_logger = logging.getLogger("fastapi_async_storages")


async def clean_up(names: FileNames) -> None:
    """Do to files what their columns say. Failures are logged: a sweep finds what is left.

    Args:
        names: The files, which no row names any more.
    """
    for (storage, cleanup), group in names:
        safe = sorted(name for name in group if _is_safe(storage, name))
        if callable(cleanup):
            for name in safe:
                await _call(cleanup, StorageFile.from_stored(storage, name))
        elif safe:
            await _delete(storage, safe)


async def _call(cleanup: Callable[[StorageFile], Awaitable[None]], file: StorageFile) -> None:
    try:
        await cleanup(file)
    except Exception:  # It is the app's own code, and the transaction stands.
        _logger.warning("%r is left to the sweep: its clean-up failed.", file, exc_info=True)


async def _delete(storage: Storage, names: list[str]) -> None:
    try:
        failures = await storage.delete_many(names)
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
