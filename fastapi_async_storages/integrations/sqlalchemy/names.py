"""Names of files, with their storage and what is to happen to the file when no row names it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Self

from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.integrations.sqlalchemy.column_types import Cleanup
from fastapi_async_storages.storage import Storage

__all__ = ["FileNames"]


class FileNames:
    """A set of names of files, grouped by their storage and their clean-up.

    Names and not handles: a bulk DELETE may let go of a million files.

    Args:
        files: Handles on the first ones, which are to be deleted.
    """

    def __init__(self, files: Iterable[StorageFile] = ()) -> None:
        self._groups: dict[tuple[Storage, Cleanup], set[str]] = {}
        for file in files:
            self.add(file, "delete")

    def add(self, file: StorageFile, cleanup: Cleanup) -> None:
        """Add the name of a file, unless the file is to be kept.

        Args:
            file: A handle on it.
            cleanup: What is to happen to it.
        """
        if cleanup != "keep":
            self._groups.setdefault((file.storage, cleanup), set()).add(file.name)

    def update(self, other: "FileNames") -> None:
        """Add the names of another set."""
        for (storage, cleanup), names in other:
            self._groups.setdefault((storage, cleanup), set()).update(names)

    def without(self, find: Callable[[Storage, set[str]], set[str]]) -> Self:
        """Return the names that are left when some are taken away.

        Args:
            find: Takes a storage and names of files of it; returns those of them to take away.
        """
        left = type(self)()
        for (storage, cleanup), names in self:
            left._groups[storage, cleanup] = names - find(storage, names)
        return left

    def __iter__(self) -> Iterator[tuple[tuple[Storage, Cleanup], set[str]]]:
        """Iterate over the groups."""
        return iter(self._groups.items())

    def __contains__(self, file: StorageFile) -> bool:
        """Tell whether the file is in it, whatever is to happen to it."""
        return any(storage is file.storage and file.name in names for (storage, _), names in self)

    def __len__(self) -> int:
        """Return the number of names."""
        return sum(len(names) for _, names in self)
