"""Which columns of mapped classes hold the names of files."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Connection, Table, update
from sqlalchemy.orm import Mapper, Session, registry

from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.integrations.sqlalchemy.column_types import FileColumnType
from fastapi_async_storages.storage import Storage

__all__ = ["FileColumn", "connect", "find_columns", "get_file_columns", "is_same_place"]


@dataclass(frozen=True, slots=True, eq=False)
class FileColumn:
    """A column with names of files, and the attribute through which a mapped class sees it."""

    key: str
    column: Column[Any]
    type: FileColumnType[Any]

    @property
    def default_names(self) -> frozenset[str]:
        """Names that the column gives to new rows: the next INSERT may hold one that none has."""
        arguments = (
            getattr(default, "arg", None)
            for default in (self.column.default, self.column.server_default)
        )
        # A function, or an expression of SQL, says only with each row what it gives.
        return frozenset(str(one) for one in arguments if isinstance(one, str | StorageFile))


_columns: WeakKeyDictionary[Mapper[Any], tuple[FileColumn, ...]] = WeakKeyDictionary()


def get_file_columns(mapper: Mapper[Any]) -> tuple[FileColumn, ...]:
    """Return the columns of a mapped class, its inherited ones too, that hold names of files.

    Args:
        mapper: Of the class.
    """
    columns = _columns.get(mapper)
    if columns is None:
        columns = _columns[mapper] = tuple(_iterate_columns(mapper))
    return columns


def _iterate_columns(mapper: Mapper[Any]) -> Iterator[FileColumn]:
    for prop in mapper.column_attrs:
        column = prop.columns[0]
        # An expression may have the type too, and is no place that holds anything.
        if not (isinstance(column, Column) and isinstance(column.table, Table)):
            continue
        if isinstance(column.type, FileColumnType):
            yield FileColumn(prop.key, column, column.type)


def find_columns(mappers: registry, storage: Storage) -> Iterator[tuple[Mapper[Any], FileColumn]]:
    """Find all columns in which a row may name a file of a storage.

    Args:
        mappers: Where the classes are registered: those of one declarative base.
        storage: Where the files are.

    Yields:
        Each column once, after the mapper of one of the classes that have it.
    """
    seen: set[Column[Any]] = set()
    for mapper in mappers.mappers:
        for column in get_file_columns(mapper):
            if column.column not in seen and is_same_place(column.type.storage, storage):
                seen.add(column.column)
                yield mapper, column


def is_same_place(one: Storage, other: Storage) -> bool:
    """Tell whether files of two storages may be the same, as those of two objects for one bucket.

    Args:
        one: A storage.
        other: Another one. Taking a column of another place into account only keeps a file.
    """
    return one is other or repr(one) == repr(other)


def connect(session: Session, mapper: Mapper[Any], column: FileColumn) -> Connection:
    """Return the connection of the session's transaction that writes to a column.

    A session that sends queries to a replica must be told that this one is not for it: the replica
    knows nothing of the transaction.

    Args:
        session: The session.
        mapper: Of a class that has the column.
        column: The column.
    """
    return session.connection(
        bind_arguments={"mapper": mapper, "clause": update(column.column.table)}
    )
