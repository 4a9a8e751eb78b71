"""Column types that hold the name of a stored file and read back as a handle on it."""

from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Dialect, Select, Unicode, select, type_coerce
from sqlalchemy.sql import operators
from sqlalchemy.types import TypeEngine

from fastapi_async_storages.files import StorageFile, StorageImage
from fastapi_async_storages.integrations.sqlalchemy.column_types import FileColumnType
from fastapi_async_storages.uploads.rules import ImageRules, UploadRules

__all__ = ["WHOLE_NAME_OPERATORS", "FileType", "ImageType"]

WHOLE_NAME_OPERATORS = frozenset(
    {
        operators.eq,
        operators.ne,
        operators.in_op,
        operators.not_in_op,
        operators.is_distinct_from,
        operators.is_not_distinct_from,
    }
)
"""Operators whose right side is a whole name. For all others it may be a part of one."""


class FileType(FileColumnType[StorageFile]):
    """A Unicode column with the name of a stored file; its values are :class:`StorageFile`.

    What is assigned, a name or a handle, is a handle from then on, before any flush or reload.
    Content (an ``UploadFile``, bytes, a path; see :meth:`StorageFile.pending`) is stored by the
    flush of a session whose factory went through :func:`track_files`, which alone heeds ``rules``,
    ``prefix`` and ``cleanup``.

    Loading a row does no I/O and checks nothing, so that every row loads, whoever wrote it; an
    empty string, which some programs write for "no file", reads as ``None``.

    ``Document.file == "name"`` and ``== handle`` compare names in their safe form; ``like``,
    ``startswith`` and the like take any text.

    Args:
        storage: Where the files are.
        *args: Positional arguments of :class:`sqlalchemy.Unicode`.
        rules: What content is allowed; everything when not given, and of :class:`ImageType` every
            image.
        prefix: Folder-like prefix of the names under which content is stored.
        cleanup: What happens to files that rows no longer name.
        **kwargs: Keyword arguments of :class:`sqlalchemy.Unicode`, such as ``length=200``.

    Raises:
        TypeError: When ``storage`` is none, or ``cleanup`` is nothing that can be done.
        InvalidNameError: When ``prefix`` could not be the start of a name.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Unicode

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:
        """Return the name of what is stored or compared; see :meth:`to_stored` for errors."""
        handle = self.to_stored(value)
        return None if handle is None else handle.name

    def process_result_value(self, value: str | None, dialect: Dialect) -> StorageFile | None:
        """Return a handle on the file of that name, without I/O."""
        return self._handle_class.from_stored(self.storage, value) if value else None

    def select_names(self, column: ColumnElement[Any], dialect: Dialect) -> Select[str]:
        """Return a query for the names that the rows of a column's table hold, as they are.

        Args:
            column: A column of this type.
            dialect: Of the database.

        Returns:
            A query for one column, ``name``, with a row for each name.
        """
        # As the type of the column, it would refuse to be compared with names of other programs.
        return select(type_coerce(column, Unicode).label("name"))

    def coerce_compared_value(self, op: Any, value: object) -> TypeEngine[Any]:
        """Treat what is compared as a name where it is a whole one, else as plain text.

        The pattern of a LIKE would lose the ``/`` at its end if it were treated as a name.
        """
        if op in WHOLE_NAME_OPERATORS or isinstance(value, StorageFile):
            return self
        return self.impl_instance


class ImageType(FileType):
    """A :class:`FileType` for images: its values are :class:`StorageImage`."""

    _handle_class: type[StorageFile] = StorageImage
    _default_rules: ClassVar[UploadRules] = UploadRules(image=ImageRules())
