"""Column types whose values are the older library's handles."""

from typing import Any, cast

import fastapi_async_storages
from async_storages.base import BaseStorage, StorageFile, StorageImage
from fastapi_async_storages.integrations import sqlalchemy
from fastapi_async_storages.keys import normalize_name
from fastapi_async_storages.pending import PendingFile
from fastapi_async_storages.storage import Storage

__all__ = ["FileType", "ImageType"]


class FileType(sqlalchemy.FileType):
    """A Unicode column with the name of a stored file; its values are :class:`StorageFile`.

    The older way: a name is held as it is given, without the storage's :meth:`get_name`, and an
    object with a ``filename``, such as an ``UploadFile`` that was uploaded under it, stands for
    that name; content to be stored by the flush is marked by :meth:`StorageFile.pending`. Not the
    older way: what is assigned is a handle at once, not only after a reload.

    Args:
        storage: Where the files are.
        *args: Positional arguments of :class:`sqlalchemy.Unicode`.
        **kwargs: Its keyword arguments, such as ``length=200``.
    """

    _handle_class: type[fastapi_async_storages.StorageFile] = StorageFile

    def __init__(self, storage: BaseStorage | Storage, *args: Any, **kwargs: Any) -> None:
        super().__init__(cast("Storage", storage), *args, **kwargs)

    def to_handle(
        self, value: object, *, column: str | None = None
    ) -> fastapi_async_storages.StorageFile | PendingFile | None:
        """Return the handle that an assigned value stands for.

        Args:
            value: A name, an object with a ``filename``, a handle on a file of the column's
                storage, ``StorageFile.pending(...)`` or ``None``.
            column: How errors name the column.

        Raises:
            InvalidNameError: When it is a name that no storage takes.
            TypeError: When it is nothing of these.
            ValueError: When it is a handle on a file of another storage.
        """
        if value is None or isinstance(value, fastapi_async_storages.StorageFile | PendingFile):
            return super().to_handle(value, column=column)
        name = value if isinstance(value, str) else getattr(value, "filename", None)
        if not isinstance(name, str):
            raise TypeError(
                f"{column or repr(self)} holds the name of a stored file, not a"
                f" {type(value).__name__}."
            )
        return self._handle_class.from_stored(self.storage, normalize_name(name))


class ImageType(FileType):
    """A :class:`FileType` for images: its values are :class:`StorageImage`."""

    _handle_class: type[fastapi_async_storages.StorageFile] = StorageImage
