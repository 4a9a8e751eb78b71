"""Content that is to become a stored file."""

import inspect
import os
from pathlib import Path
from typing import Any

from fastapi_async_storages.exceptions import NotStoredError
from fastapi_async_storages.streams import UploadSource

__all__ = ["PendingFile"]


class PendingFile:
    """Content on its way into a column: the flush of a tracked session stores it.

    From then on the attribute holds a handle on the stored file. Until then there is no file, and
    asking for anything that a file has raises :class:`NotStoredError`.

    Args:
        content: What is to be stored; see :data:`UploadSource`.
        filename: The client's file name, where ``content`` has none or another one is meant. That
            of a path is its last part.

    Attributes:
        start: Where a file that can seek stood when it was assigned, in bytes: the content begins
            there, also for a second flush after one that failed half-way.
        was_read: Whether a flush has begun to read the content.
    """

    def __init__(self, content: UploadSource, *, filename: str | None = None) -> None:
        if filename is None and isinstance(content, os.PathLike):
            filename = Path(content).name
        self.content = content
        self.filename = filename
        self.start = _tell(content)
        self.was_read = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Such as copy asks for before there is anything to show.
            raise AttributeError(name)
        raise NotStoredError(f"{self!r} has no {name!r} before a flush has stored it.")

    def __repr__(self) -> str:
        """Show what the content is, never the content itself."""
        name = "" if self.filename is None else f", filename={self.filename!r}"
        return f"PendingFile({type(self.content).__name__}{name})"


def _tell(content: object) -> int | None:
    tell, seek = getattr(content, "tell", None), getattr(content, "seek", None)
    if not callable(tell) or not callable(seek) or inspect.iscoroutinefunction(tell):
        return None
    try:
        position = tell()
    except (OSError, ValueError):  # A pipe, a closed file.
        return None
    return position if isinstance(position, int) else None
