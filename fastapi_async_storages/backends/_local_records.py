"""What a local storage knows of a file beside its bytes, kept in one record file per name.

The bytes and what is known about them are two files, which no operating system replaces at once.
So a record file has two records while a file is replaced: the new version's and the current one's.
Each names the version that it belongs to, and a reader takes the one of the version that it opened.
That way nobody ever sees the bytes of one version with the record of another, and readers need no
lock.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Self
from uuid import uuid4

from fastapi_async_storages.backends._local_folders import (
    PRIVATE_FOLDER,
    Folders,
    sync_folder,
)
from fastapi_async_storages.backends._local_temporary import TemporaryFile
from fastapi_async_storages.media_types import guess_media_type
from fastapi_async_storages.storage import DEFAULT_CONTENT_TYPE

__all__ = ["DamagedRecordError", "Record", "Records"]

_LOCKS = (PRIVATE_FOLDER, "locks")
_ABOUT_THE_BYTES = frozenset({"checksum", "height", "width"})
_NANOSECONDS = 1_000_000_000


class DamagedRecordError(OSError):
    """A record file that no storage wrote."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known about one version of a file beside its bytes.

    Attributes:
        inode: Number of the version's file; no two files have the same at the same time.
        modified: Time of its last change in nanoseconds.
        size: Size in bytes.
        etag: Strong entity tag with its quotes.
        content_type: Media type.
        cache_control: ``Cache-Control`` that the file was stored with.
        metadata: All keys and values that were passed to ``upload``.
    """

    inode: int
    modified: int
    size: int
    etag: str
    content_type: str
    cache_control: str | None
    metadata: Mapping[str, str]

    @classmethod
    def of_new(
        cls,
        status: os.stat_result,
        *,
        content_type: str,
        cache_control: str | None,
        metadata: Mapping[str, str],
    ) -> Self:
        """Make the record of a version that was just written.

        Its entity tag is random: two versions of one size, written within one tick of the file
        system's clock, must differ (RFC 9110 section 8.8.1).
        """
        return cls(
            inode=status.st_ino,
            modified=status.st_mtime_ns,
            size=status.st_size,
            etag=f'"{uuid4().hex}"',
            content_type=content_type,
            cache_control=cache_control,
            metadata=metadata,
        )

    @classmethod
    def of_foreign(cls, status: os.stat_result, name: str, newest: Self | None) -> Self:
        """Make the record of a version that was not written by the storage.

        Args:
            status: Status of the file.
            name: Name in the storage.
            newest: The newest record of that name, if there is one.
        """
        metadata = dict(newest.metadata) if newest else {}
        if newest and not newest._may_be_of(status):
            # Somebody wrote other bytes under the name. What was known of the old ones is wrong.
            metadata = {k: v for k, v in metadata.items() if k not in _ABOUT_THE_BYTES}
        return cls(
            inode=status.st_ino,
            modified=status.st_mtime_ns,
            size=status.st_size,
            etag=f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"',
            content_type=newest.content_type if newest else _guess_content_type(name),
            cache_control=newest.cache_control if newest else None,
            metadata=metadata,
        )

    def is_of(self, status: os.stat_result) -> bool:
        """Tell whether this is the record of the version with this status."""
        return (self.inode, self.modified, self.size) == (
            status.st_ino,
            status.st_mtime_ns,
            status.st_size,
        )

    def _may_be_of(self, status: os.stat_result) -> bool:
        # A backup brings a file back under another number, and often in whole seconds.
        whole_second = self.modified // _NANOSECONDS == status.st_mtime_ns // _NANOSECONDS
        return whole_second and self.size == status.st_size


class Records:
    """The records of one storage. All methods block.

    Args:
        folders: The folders of the storage.
    """

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    @contextmanager
    def locked(self, *names: str) -> Iterator[None]:
        """Let nobody else change these files meanwhile, in this process or another.

        The lock is meant for a moment: it is taken and released in one call in one thread.
        """
        # Names that differ in case only are one file on some file systems. A few hundred locks are
        # enough for all names, and they are taken in one order, so that no two wait for each other.
        stripes = sorted({_hash(name.casefold())[:2] for name in names})
        with ExitStack() as stack, self._folders.open(_LOCKS, create=True) as folder:
            for stripe in stripes:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
                descriptor = os.open(stripe, flags, 0o600, dir_fd=folder)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # A child forked meanwhile has the descriptor too: closing ours would not unlock.
                stack.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)
            yield

    def find(
        self, name: str, status: os.stat_result, get_status: Callable[[], os.stat_result]
    ) -> Record | None:
        """Return the record of a version of a file.

        Args:
            name: Name in the storage.
            status: Status of the version.
            get_status: Returns the status of the version that has the name now.

        Returns:
            The record, or ``None`` when the version is not the current one any more and its record
            is gone.

        Raises:
            FileNotFoundError: When the file is gone.
            DamagedRecordError: When the record file is damaged.
        """
        records = self._read(name)
        for record in records:
            if record.is_of(status):
                return record
        # While a version has the name, its record is there before it and as long as it. So a
        # version that has the name still, after the records were read, was put there by hand.
        current = get_status()
        if (current.st_ino, current.st_mtime_ns) != (status.st_ino, status.st_mtime_ns):
            return None
        return Record.of_foreign(status, name, records[0] if records else None)

    def write(self, name: str, records: Sequence[Record]) -> None:
        """Replace the records of a name. The caller holds the lock of the name.

        Args:
            name: Name in the storage.
            records: The newest first.
        """
        content = {"name": name, "records": [asdict(record) for record in records]}
        segments, leaf = _locate(name)
        temporary = TemporaryFile(self._folders, private=True)
        try:
            temporary.write([json.dumps(content).encode()])
            temporary.sync()
            with (
                temporary.located() as (source, source_leaf),
                self._folders.open(segments, create=True) as folder,
            ):
                os.replace(source_leaf, leaf, src_dir_fd=source, dst_dir_fd=folder)
                sync_folder(folder)
        finally:
            temporary.discard()

    def delete(self, name: str) -> None:
        """Delete the records of a name, if there are any. The caller holds the lock of the name."""
        segments, leaf = _locate(name)
        with suppress(FileNotFoundError), self._folders.open(segments) as folder:
            os.unlink(leaf, dir_fd=folder)

    def _read(self, name: str) -> list[Record]:
        segments, leaf = _locate(name)
        try:
            with self._folders.open(segments) as folder:
                descriptor = os.open(leaf, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
        except FileNotFoundError:
            return []
        with os.fdopen(descriptor, "rb") as file:
            content = file.read()
        try:
            return [Record(**record) for record in json.loads(content)["records"]]
        except (ValueError, TypeError, KeyError):
            path = "/".join((*segments, leaf))
            raise DamagedRecordError(
                errno.EIO, f"its record {path} is damaged; delete it, or store the file again"
            ) from None


def _locate(name: str) -> tuple[tuple[str, ...], str]:
    # By a hash: a record's file name has no limit of its own then, and no folder gets too large.
    digest = _hash(name)
    return (PRIVATE_FOLDER, "records", digest[:2]), f"{digest}.json"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _guess_content_type(name: str) -> str:
    return guess_media_type(name) or DEFAULT_CONTENT_TYPE
