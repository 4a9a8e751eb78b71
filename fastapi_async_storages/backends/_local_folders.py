"""The folders of a local storage, walked so that no name leads out of its root.

Each folder is opened from the one above it (``openat`` with ``O_NOFOLLOW``), never by a path: what
was checked is what is used, also when somebody swaps a folder for a symbolic link meanwhile.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastapi_async_storages.exceptions import ConfigurationError

__all__ = [
    "MAX_SEGMENT_BYTES",
    "PRIVATE_FOLDER",
    "Folders",
    "find_problem",
    "split_name",
    "sync_folder",
]

PRIVATE_FOLDER = ".fastapi-async-storages"
"""Folder below the root that holds what is no file of the storage: records, locks, uploads."""

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY

_PUBLIC_MODE, _PRIVATE_MODE = 0o777, 0o700  # The umask takes its part of the first.


MAX_SEGMENT_BYTES = 255
"""Longest part of a name between two ``/``, in UTF-8 bytes.

Source: ``NAME_MAX`` of Linux (``limits.h``); the file systems of macOS allow 255 characters.
"""


def find_problem(name: str) -> str | None:
    """Return why a safe name cannot be one below a root, or ``None`` when it can."""
    segments = name.split("/")
    # Some file systems take names for the same that differ in case.
    if segments[0].casefold() == PRIVATE_FOLDER:
        return f"'{PRIVATE_FOLDER}' belongs to the storage"
    longest = max(len(segment.encode()) for segment in segments)
    if longest > MAX_SEGMENT_BYTES:
        return (
            f"a part between two '/' has {longest} bytes in UTF-8, at most {MAX_SEGMENT_BYTES}"
            " are allowed"
        )
    return None


def split_name(name: str) -> tuple[tuple[str, ...], str]:
    """Return the folders of a name, and its last segment."""
    *parents, leaf = name.split("/")
    return tuple(parents), leaf


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
    def open(self, segments: tuple[str, ...], *, create: bool = False) -> Iterator[int]:
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
            ConfigurationError: When the root, or the storage's own hidden folder, is no folder.
        """
        opened = [self._open_root(create=create)]  # The folder, and those above it that changed.
        try:
            self._walk(opened, segments, create=create)
            yield opened[-1]
            for parent in opened[:-1]:
                sync_folder(parent)
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def prune(self, segments: tuple[str, ...]) -> None:
        """Remove a folder below the root, and those above it, as far as they are empty."""
        for length in range(len(segments), 0, -1):
            try:
                with self.open(segments[: length - 1]) as parent:
                    os.rmdir(segments[length - 1], dir_fd=parent)
            except OSError:
                return  # It has files, or a file is just being stored in it.

    def _walk(self, opened: list[int], segments: tuple[str, ...], *, create: bool) -> None:
        private = segments[:1] == (PRIVATE_FOLDER,)
        mode = (_PRIVATE_MODE if private else _PUBLIC_MODE) if create else None
        for segment in segments:
            try:
                child, created = _open_child(opened[-1], segment, mode)
            except NotADirectoryError:
                if not private:
                    raise
                raise ConfigurationError(
                    f"'{'/'.join(segments)}' below the root of {self.storage} is not a folder.",
                    storage=self.storage,
                ) from None
            if not created:
                os.close(opened.pop())
            opened.append(child)

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
    created = False
    try:
        return _open_folder(parent, segment), created
    except FileNotFoundError:
        if create_mode is None:
            raise
    with suppress(FileExistsError):  # Another upload was faster.
        os.mkdir(segment, create_mode, dir_fd=parent)
        created = True
    return _open_folder(parent, segment), created


def _open_folder(parent: int, segment: str) -> int:
    try:
        return os.open(segment, _OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        # What a symbolic link gives: Linux says ENOTDIR at once, macOS ELOOP, FreeBSD EMLINK.
        if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
            raise
    raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", segment)
