"""The folders of a local storage, walked so that no name leads out of its root.

Each folder is opened from the one above it (``openat`` with ``O_NOFOLLOW``), never by a path: what
was checked is what is used, also when somebody swaps a folder for a symbolic link meanwhile.
"""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fastapi_async_storages.exceptions import ConfigurationError

__all__ = ["PRIVATE_FOLDER", "Folders", "TemporaryFile", "split_name", "sync_folder"]

PRIVATE_FOLDER = ".fastapi-async-storages"
"""Folder below the root that holds what is no file of the storage: records, locks, uploads."""

_TEMPORARY = (PRIVATE_FOLDER, "tmp")

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY

_PUBLIC_MODE, _PRIVATE_MODE = 0o777, 0o700  # The umask takes its part of the first.


def split_name(name: str) -> tuple[list[str], str]:
    """Return the folders of a name, and its last segment."""
    *parents, leaf = name.split("/")
    return parents, leaf


class Folders:
    """The folders below one root. All methods block.

    Args:
        root: Absolute path of the root; it may be a symbolic link, nothing below it may.
        storage: How errors name the storage.
    """

    def __init__(self, root: str, *, storage: str) -> None:
        self.storage = storage
        self._root = root

    @contextmanager
    def open(self, segments: Sequence[str], *, create: bool = False) -> Iterator[int]:
        """Open a folder below the root.

        Args:
            segments: Its name, segment by segment; empty for the root.
            create: Whether to make what is missing, the root too. What was made is durable at the
                end of the block.

        Yields:
            A descriptor of the folder.

        Raises:
            FileNotFoundError: When the folder is missing.
            NotADirectoryError: When something else than a folder is in the way, such as a symlink.
            ConfigurationError: When the root is something else than a folder.
        """
        private = bool(segments) and segments[0] == PRIVATE_FOLDER
        mode = _PRIVATE_MODE if private else _PUBLIC_MODE
        changed: list[int] = []
        folder = self._open_root(create=create)
        try:
            for segment in segments:
                child, created = _open_child(folder, segment, mode if create else None)
                if created:
                    changed.append(folder)
                else:
                    os.close(folder)
                folder = child
            yield folder
            for parent in changed:
                sync_folder(parent)
        finally:
            for descriptor in (*changed, folder):
                os.close(descriptor)

    def prune(self, segments: Sequence[str]) -> None:
        """Remove a folder below the root, and those above it, as far as they are empty."""
        for length in range(len(segments), 0, -1):
            try:
                with self.open(segments[: length - 1]) as parent:
                    os.rmdir(segments[length - 1], dir_fd=parent)
            except OSError:
                return  # It has files, or a file is just being stored in it.

    def remove_leftovers(self) -> None:
        """Remove what killed processes left of their uploads.

        A living process holds a lock on each file that it writes, which the system releases with
        the process. So no clock is needed to tell one from the other.
        """
        # On a file system that is read-only there is nothing to do, and reading works all the same.
        with suppress(OSError), self.open(_TEMPORARY) as folder:
            with os.scandir(folder) as entries:
                leaves = [entry.name for entry in entries]
            for leaf in leaves:
                with suppress(OSError):
                    _remove_if_abandoned(folder, leaf)

    def _open_root(self, *, create: bool) -> int:
        try:
            try:
                return os.open(self._root, _OPEN_FOLDER)
            except FileNotFoundError:
                if not create:
                    raise
                Path(self._root).mkdir(parents=True, exist_ok=True)
                return os.open(self._root, _OPEN_FOLDER)
        except (NotADirectoryError, FileExistsError):
            raise ConfigurationError(
                f"The root of {self.storage} is not a folder.", storage=self.storage
            ) from None


class TemporaryFile:
    """A file that nobody sees until it is moved to its place. All methods block.

    Args:
        folders: The folders of the storage.
        private: Whether only the owner may read the file, whatever the umask says.
    """

    def __init__(self, folders: Folders, *, private: bool = False) -> None:
        self._folders = folders
        self._mode = 0o600 if private else 0o666
        self._descriptor: int | None = None
        self._leaf = ""

    def write(self, data: bytes) -> None:
        """Append bytes; the first call makes the file."""
        descriptor = self._open()
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self) -> os.stat_result:
        """Make the bytes durable, and return the file's status."""
        descriptor = self._open()
        os.fsync(descriptor)
        return os.fstat(descriptor)

    @contextmanager
    def located(self) -> Iterator[tuple[int, str]]:
        """Tell where the file is: a descriptor of its folder, and its name there."""
        with self._folders.open(_TEMPORARY) as folder:
            yield folder, self._leaf

    def discard(self) -> None:
        """Close the file, and remove it unless it was moved. Doing it twice does no harm."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        os.close(descriptor)
        with suppress(FileNotFoundError), self.located() as (folder, leaf):
            os.unlink(leaf, dir_fd=folder)

    def _open(self) -> int:
        if self._descriptor is None:
            with self._folders.open(_TEMPORARY, create=True) as folder:
                self._descriptor, self._leaf = _create_locked(folder, self._mode)
        return self._descriptor


def sync_folder(folder: int) -> None:
    """Make the names in an open folder durable, where the file system has something to do."""
    try:
        os.fsync(folder)
    except OSError as error:
        # Some network file systems say that a folder cannot be synced: theirs is durable at once.
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise


def _open_child(parent: int, segment: str, create_mode: int | None) -> tuple[int, bool]:
    """Open a folder from the one above it, and tell whether it was made now."""
    flags = _OPEN_FOLDER | os.O_NOFOLLOW
    created = False
    try:
        return os.open(segment, flags, dir_fd=parent), created
    except FileNotFoundError:
        if create_mode is None:
            raise
    with suppress(FileExistsError):  # Another upload was faster.
        os.mkdir(segment, create_mode, dir_fd=parent)
        created = True
    return os.open(segment, flags, dir_fd=parent), created


def _create_locked(folder: int, mode: int) -> tuple[int, str]:
    while True:
        leaf = secrets.token_hex(16)
        descriptor = os.open(leaf, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
        if _try_lock(descriptor) and os.fstat(descriptor).st_nlink:
            return descriptor, leaf
        # Another process took the file for a leftover before it was locked.
        os.close(descriptor)


def _remove_if_abandoned(folder: int, leaf: str) -> None:
    descriptor = os.open(leaf, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        if _try_lock(descriptor):
            os.unlink(leaf, dir_fd=folder)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        return False
    return True
