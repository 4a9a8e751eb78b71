"""What the operating system's errors mean to the user of a storage: one table."""

import errno
from collections.abc import Mapping

from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    InvalidNameError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
)

__all__ = ["translate"]

_ALWAYS: Mapping[int, tuple[type[StorageError], str]] = {
    errno.EACCES: (PermissionDeniedError, "the process has no permission"),
    errno.EPERM: (PermissionDeniedError, "the process has no permission"),
    errno.EROFS: (PermissionDeniedError, "the file system is mounted read-only"),
    errno.ENAMETOOLONG: (InvalidNameError, "the file system allows no name of this length"),
    errno.EILSEQ: (InvalidNameError, "the file system does not allow a character of the name"),
    errno.EINVAL: (InvalidNameError, "the file system does not allow this name"),
    errno.ENOSPC: (BackendUnavailableError, "the file system is full"),
    errno.EDQUOT: (BackendUnavailableError, "the disk quota is used up"),
    errno.EMFILE: (BackendUnavailableError, "the process has too many open files"),
    errno.ENFILE: (BackendUnavailableError, "the system has too many open files"),
    errno.ESTALE: (BackendUnavailableError, "the network file system lost the file"),
    errno.ETIMEDOUT: (BackendTimeoutError, "the network file system does not answer"),
    errno.EFBIG: (BackendError, "the file system allows no file of this size"),
    errno.ENOLCK: (BackendError, "the file system has no file locks (flock), which are needed"),
    errno.EOPNOTSUPP: (BackendError, "the file system has no file locks (flock), which are needed"),
    errno.EXDEV: (BackendError, "its folder is on another file system than the root"),
}

_READING: Mapping[int, tuple[type[StorageError], str]] = {
    errno.ENOENT: (NotFoundError, "there is no such file"),
    errno.ENOTDIR: (NotFoundError, "there is no such file"),
}

_WRITING: Mapping[int, tuple[type[StorageError], str]] = {
    errno.EEXIST: (AlreadyExistsError, "there is already a file or a folder of this name"),
    errno.EISDIR: (AlreadyExistsError, "there is already a folder of this name"),
    errno.ENOTDIR: (AlreadyExistsError, "a part of the name is taken by what is not a folder"),
    errno.ENOENT: (BackendError, "the root was deleted meanwhile"),
}


def translate(error: OSError, *, storage: str, name: str | None, writing: bool) -> StorageError:
    """Return what an error means.

    Args:
        error: What the operating system said.
        storage: How errors name the storage.
        name: Which file it was, if one was asked for.
        writing: Whether a file was to be stored.
    """
    table = {**_ALWAYS, **(_WRITING if writing else _READING)}
    meaning = table.get(error.errno or 0)
    # The text of an OSError may hold the path on this machine; strerror does not.
    kind, reason = meaning or (BackendError, f"the file system failed: {error.strerror or error}")
    task = "Cannot store" if writing else "Cannot read or delete"
    subject = f"{task} {name!a} in {storage}" if name is not None else f"{storage} does not work"
    return kind(f"{subject}: {reason}.", storage=storage, name=name)
