"""The files of a local storage: found, read, put in place, moved and deleted."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from fastapi_async_storages.backends._local_folders import Folders, split_name, sync_folder
from fastapi_async_storages.backends._local_listing import walk
from fastapi_async_storages.backends._local_open_file import OpenFile
from fastapi_async_storages.backends._local_records import DamagedRecordError, Record, Records
from fastapi_async_storages.backends._local_temporary import TemporaryFile
from fastapi_async_storages.exceptions import BackendUnavailableError, NotFoundError
from fastapi_async_storages.info import FileInfo

__all__ = ["Files"]

_ATTEMPTS = 100
"""Attempts at what another process can get in the way of, each of them a few microseconds long."""

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK

_NO_HARD_LINKS = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
)


class Files:
    """The files below one root. All methods block.

    Args:
        root: Absolute path of the root.
        storage: How errors name the storage.
    """

    def __init__(self, root: str, *, storage: str) -> None:
        self.folders = Folders(root, storage=storage)
        self._records = Records(self.folders)

    def open(self, name: str) -> OpenFile:
        """Open the current version of a file.

        Raises:
            FileNotFoundError: When there is none, or it is something else than a regular file.
        """
        parents, leaf = split_name(name)
        for _ in range(_ATTEMPTS):
            with self.folders.open(parents) as folder:
                # Looked at before, because opening a pipe or a device can have effects; and after,
                # because it may be another file by then.
                _check_regular(_stat(leaf, folder))
                descriptor = os.open(leaf, _OPEN_FILE, dir_fd=folder)
                try:
                    status = _check_regular(os.fstat(descriptor))
                    if record := self._records.find(name, status, partial(_stat, leaf, folder)):
                        file = OpenFile(descriptor, record, _to_info(name, record))
                        descriptor = -1
                        return file
                finally:
                    if descriptor >= 0:
                        os.close(descriptor)
        raise self._too_many_attempts(name)

    def get_info(self, name: str) -> FileInfo:
        """Return what is known about the current version of a file.

        Raises:
            FileNotFoundError: When there is none, or it is something else than a regular file.
        """
        parents, leaf = split_name(name)
        for _ in range(_ATTEMPTS):
            with self.folders.open(parents) as folder:
                status = _check_regular(_stat(leaf, folder))
                if record := self._records.find(name, status, partial(_stat, leaf, folder)):
                    return _to_info(name, record)
        raise self._too_many_attempts(name)

    def publish(
        self,
        temporary: TemporaryFile,
        name: str,
        *,
        last: Sequence[bytes],
        checksum: str | None,
        content_type: str,
        cache_control: str | None,
        metadata: Mapping[str, str],
        overwrite: bool,
    ) -> None:
        """Write the last bytes of a file and put it in place, durably.

        Args:
            temporary: Has the bytes before the last ones.
            name: Name in the storage.
            last: The last bytes.
            checksum: That of all bytes; ``None`` when ``temporary`` has computed it.
            content_type: Media type.
            cache_control: ``Cache-Control`` for the readers of the file.
            metadata: All keys and values; a checksum in it counts.
            overwrite: ``False`` takes the name only if it is free.

        Raises:
            FileExistsError: When the name is taken and ``overwrite`` is ``False``, or taken by
                something else than a regular file.
            NotADirectoryError: When a part of the name is taken by a file.
        """
        temporary.write(last)
        record = Record.of_new(
            temporary.sync(),
            content_type=content_type,
            cache_control=cache_control,
            metadata={"checksum": checksum or temporary.checksum, **metadata},
        )
        with self._records.locked(name), temporary.located() as source:
            self._place(source, name, record, overwrite=overwrite)
        temporary.discard()

    def move(
        self, source: str, target: str, *, overwrite: bool, check: Callable[[Record], None]
    ) -> None:
        """Give a file another name, with its record.

        Args:
            source: Which file.
            target: Its new name.
            overwrite: ``False`` moves only if the target's name is free.
            check: Raises when the file is another version than the caller wants.
        """
        parents, leaf = split_name(source)
        with self._records.locked(source, target):
            try:
                record = self._find_current(source)
            except FileExistsError:
                record = None
            if record is None:
                raise NotFoundError(
                    f"There is no file {source!a} in {self.folders.storage}.",
                    storage=self.folders.storage,
                    name=source,
                )
            check(record)
            with self.folders.open(parents) as folder:
                self._place((folder, leaf), target, record, overwrite=overwrite)
                with suppress(FileNotFoundError):  # A hard link leaves it there, a rename does not.
                    os.unlink(leaf, dir_fd=folder)
                sync_folder(folder)
            self._records.delete(source)
        self.folders.prune(parents)

    def delete(self, name: str) -> None:
        """Delete a file, its record, and the folders that it leaves empty."""
        parents, leaf = split_name(name)
        try:
            with self.folders.open(parents) as folder:
                _check_regular(_stat(leaf, folder))
                with self._records.locked(name):
                    os.unlink(leaf, dir_fd=folder)
                    self._records.delete(name)
        except (FileNotFoundError, NotADirectoryError):
            return
        self.folders.prune(parents)

    def walk(self, prefix: str) -> Iterator[FileInfo]:
        """Iterate over files in the order of their names.

        Args:
            prefix: What the names start with.
        """
        for name in walk(self.folders, prefix):
            with suppress(FileNotFoundError, NotADirectoryError):  # Deleted meanwhile.
                yield self.get_info(name)

    def _place(
        self, source: tuple[int, str], name: str, record: Record, *, overwrite: bool
    ) -> None:
        """Move a file to its place. The caller holds the lock of the name."""
        current = self._find_current(name)
        if current and not overwrite:
            raise FileExistsError(errno.EEXIST, "there is already a file of this name")
        self._records.write(name, [record, current] if current else [record])
        try:
            self._rename(source, name, overwrite=overwrite)
        except OSError:
            if current is None:
                self._records.delete(name)
            raise

    def _rename(self, source: tuple[int, str], name: str, *, overwrite: bool) -> None:
        parents, leaf = split_name(name)
        for _ in range(_ATTEMPTS):
            # Until the file is there, its folder may be removed by who deletes the last other one.
            with suppress(FileNotFoundError), self.folders.open(parents, create=True) as folder:
                _rename(source, (folder, leaf), overwrite=overwrite)
                sync_folder(folder)
                return
        raise self._too_many_attempts(name)

    def _too_many_attempts(self, name: str) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"{name!a} in {self.folders.storage}, or its folder, changes too fast.",
            storage=self.folders.storage,
            name=name,
        )

    def _find_current(self, name: str) -> Record | None:
        """Return the record of the version that has the name. The caller holds its lock.

        Raises:
            FileExistsError: When something else than a regular file has the name.
        """
        parents, leaf = split_name(name)
        try:
            with self.folders.open(parents) as folder:
                get_status = partial(_stat, leaf, folder)
                status = get_status()
                if not stat.S_ISREG(status.st_mode):
                    raise FileExistsError(errno.EEXIST, "there is something else than a file")
                try:
                    return self._records.find(name, status, get_status)
                except DamagedRecordError:
                    return Record.of_foreign(status, name, None)  # Storing it anew repairs it.
        except (FileNotFoundError, NotADirectoryError):
            return None


def _check_regular(status: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, "there is no such file")
    return status


def _stat(leaf: str, folder: int) -> os.stat_result:
    return os.stat(leaf, dir_fd=folder, follow_symlinks=False)


def _rename(source: tuple[int, str], target: tuple[int, str], *, overwrite: bool) -> None:
    (source_folder, source_leaf), (folder, leaf) = source, target
    if not overwrite:
        try:
            # Unlike a rename, a link fails when the name is taken, also by a foreign program.
            os.link(
                source_leaf,
                leaf,
                src_dir_fd=source_folder,
                dst_dir_fd=folder,
                follow_symlinks=False,
            )
            return
        except OSError as error:
            # Without hard links the lock must do: it keeps out all who use the storage.
            if error.errno not in _NO_HARD_LINKS:
                raise
    os.replace(source_leaf, leaf, src_dir_fd=source_folder, dst_dir_fd=folder)


def _to_info(name: str, record: Record) -> FileInfo:
    return FileInfo.from_stored(
        name,
        record.size,
        content_type=record.content_type,
        etag=record.etag,
        last_modified=datetime.fromtimestamp(record.modified / 1_000_000_000, UTC),
        cache_control=record.cache_control,
        metadata=record.metadata,
    )
