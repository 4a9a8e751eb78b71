"""The names of the files of a local storage, in order."""

import os
from collections.abc import Iterator

from fastapi_async_storages.backends._local_folders import PRIVATE_FOLDER, Folders
from fastapi_async_storages.exceptions import InvalidNameError
from fastapi_async_storages.keys import normalize_name

__all__ = ["walk"]


def walk(folders: Folders, prefix: str) -> Iterator[str]:
    """Iterate over the names of files by code points. Blocks for one folder at a time.

    Holds the entries of the folders from the prefix down to the current file in memory, and no
    folder open.

    Args:
        folders: The folders of the storage.
        prefix: What the names start with.
    """
    folder, slash, start = prefix.rpartition("/")
    stack = [_list_folder(folders, folder + slash, start)]
    while stack:
        path = next(stack[-1], None)
        if path is None:
            stack.pop()
        elif path.endswith("/"):
            stack.append(_list_folder(folders, path))
        else:
            yield path


def _list_folder(folders: Folders, prefix: str, start: str = "") -> Iterator[str]:
    segments = tuple(prefix.split("/")[:-1])
    try:
        with folders.open(segments) as folder, os.scandir(folder) as entries:
            # With the "/" of a folder in the comparison, the order of the entries of one folder is
            # that of the whole names: "a.txt" comes before "a/x", and "a/x" before "a0".
            names = sorted(
                entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry in entries
                if entry.name.startswith(start)
                and (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False))
            )
    except (FileNotFoundError, NotADirectoryError):
        return iter(())
    return (prefix + name for name in names if _can_be_asked_for(prefix + name))


def _can_be_asked_for(path: str) -> bool:
    """Tell whether ``get_name`` lets the name of what somebody put there through as it is."""
    if path == f"{PRIVATE_FOLDER}/":
        return False
    try:
        return normalize_name(path) == path.removesuffix("/")
    except InvalidNameError:
        return False
