"""Files of a local storage that nobody sees until they are complete and moved to their place."""

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from fastapi_async_storages.backends._local_folders import PRIVATE_FOLDER, Folders
from fastapi_async_storages.checksums import to_checksum

__all__ = ["TemporaryFile", "remove_leftovers"]

_FOLDER = (PRIVATE_FOLDER, "tmp")


class TemporaryFile:
    """A file that nobody sees until it is moved to its place. All methods block.

    Args:
        folders: The folders of the storage.
        private: Whether only the owner may read the file, whatever the umask says.
        is_hashed: Whether :attr:`checksum` is wanted.
    """

    def __init__(self, folders: Folders, *, private: bool = False, is_hashed: bool = False) -> None:
        self._folders = folders
        self._mode = 0o600 if private else 0o666
        self._descriptor: int | None = None
        self._leaf = ""
        self._digest = hashlib.sha256() if is_hashed else None

    @property
    def is_open(self) -> bool:
        """Whether there is a file to discard."""
        return self._descriptor is not None

    @property
    def checksum(self) -> str:
        """The checksum of what was written."""
        if self._digest is None:
            raise ValueError("The file is not hashed.")
        return to_checksum(self._digest.hexdigest())

    def write(self, chunks: Sequence[bytes]) -> None:
        """Append bytes; the first call makes the file."""
        descriptor = self._open()
        view = memoryview(b"".join(chunks))
        if self._digest is not None:
            self._digest.update(view)
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
        with self._folders.open(_FOLDER) as folder:
            yield folder, self._leaf

    def discard(self) -> None:
        """Close the file, and remove it unless it was moved. Doing it twice does no harm."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        # What cannot be removed now is a leftover. The error to hear of is the one before.
        with suppress(OSError):
            os.close(descriptor)
        with suppress(OSError), self.located() as (folder, leaf):
            os.unlink(leaf, dir_fd=folder)

    def _open(self) -> int:
        if self._descriptor is None:
            with self._folders.open(_FOLDER, create=True) as folder:
                self._descriptor, self._leaf = _create_locked(folder, self._mode)
        return self._descriptor


def remove_leftovers(folders: Folders) -> None:
    """Remove what killed processes left of their uploads.

    A living process holds a lock on each file that it writes, which the system releases with the
    process. So no clock is needed to tell one from the other.
    """
    # On a file system that is read-only there is nothing to do, and reading works all the same.
    with suppress(OSError), folders.open(_FOLDER) as folder:
        with os.scandir(folder) as entries:
            leaves = [entry.name for entry in entries]
        for leaf in leaves:
            with suppress(OSError):
                _remove_if_abandoned(folder, leaf)


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
