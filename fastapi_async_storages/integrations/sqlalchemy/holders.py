"""The columns that name the files of a storage, for those who compare the two as a whole."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from sqlalchemy import Column, Connection, String, inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapper, QueryableAttribute, Session, registry

from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.integrations.sqlalchemy.column_types import FileColumnType
from fastapi_async_storages.integrations.sqlalchemy.columns import (
    FileColumn,
    connect,
    get_file_columns,
)
from fastapi_async_storages.integrations.sqlalchemy.lookups import find_held
from fastapi_async_storages.integrations.sqlalchemy.types import FileType
from fastapi_async_storages.storage import Storage

__all__ = ["Holder", "HolderSource", "find_holders", "find_named"]

HolderSource: TypeAlias = type[Any] | registry | Column[Any] | QueryableAttribute[Any]
"""What tells where names are: a declarative base, a model, or a column."""


@dataclass(frozen=True, slots=True, eq=False)
class Holder:
    """A column in which rows name files of a storage.

    Attributes:
        column: The column.
        mapper: Of a class that has it; ``None`` for a column of a table that no class is mapped to.
    """

    column: FileColumn
    mapper: Mapper[Any] | None

    def connect(self, session: Session) -> Connection:
        """Return the connection of a session to the database that has the column."""
        if self.mapper is None:
            return session.connection(bind_arguments={"clause": self.column.column.table})
        return connect(session, self.mapper, self.column)


def find_holders(
    storage: Storage, sources: HolderSource | Iterable[HolderSource]
) -> tuple[Holder, ...]:
    """Find all columns in which rows may name files of a storage.

    A model stands for all models of its declarative base: a file that any of them names is in use.

    Args:
        storage: Where the files are.
        sources: A declarative base, a model, a column or several of them. A column of a type of
            this package must be of this storage; any other column of text may hold names, such as
            that of a table with the history of another.

    Raises:
        ConfigurationError: When none is found. A storage object that was made anew, and is not the
            one of the columns, must not make every file look like one that nobody names.
        TypeError: When a source is none of these.
    """
    is_one = isinstance(sources, type | registry | Column | QueryableAttribute)
    found: dict[Column[Any], Holder] = {}
    for source in (sources,) if is_one else cast("Iterable[HolderSource]", sources):
        for holder in _read_source(source, storage):
            found.setdefault(holder.column.column, holder)
    if not found:
        raise ConfigurationError(
            f"No column of these models holds names of files of {storage!r}. Pass the storage that"
            " the column types were made with, and the declarative base of the models.",
            storage=repr(storage),
        )
    return tuple(sorted(found.values(), key=lambda holder: str(holder.column.column)))


async def find_named(
    session_factory: async_sessionmaker[AsyncSession],
    holders: Collection[Holder],
    names: Iterable[str],
) -> set[str]:
    """Ask the database which files its committed rows name, in a transaction that ends at once.

    Args:
        session_factory: Makes the sessions.
        holders: The columns to look into.
        names: Names of files, as the storage lists them.

    Returns:
        Those of the names that a row names.
    """
    wanted = set(names)

    def find(session: Session) -> set[str]:
        return find_held(wanted, {holder.column: holder.connect(session) for holder in holders})

    async with session_factory() as session:
        return await session.run_sync(find)


def _read_source(source: object, storage: Storage) -> Iterator[Holder]:
    if isinstance(source, Column):
        yield _read_column(source, None, storage)
    elif isinstance(source, QueryableAttribute):
        yield _read_column(source.property.columns[0], source.parent.mapper, storage)
    else:
        for mapper in _find_registry(source).mappers:
            for column in get_file_columns(mapper):
                if _is_same(column.type.storage, storage):
                    yield Holder(column, mapper)


def _read_column(column: Column[Any], mapper: Mapper[Any] | None, storage: Storage) -> Holder:
    if isinstance(column.type, FileColumnType):
        if not _is_same(column.type.storage, storage):
            raise ConfigurationError(
                f"{column} holds names of files of {column.type.storage!r}, not of {storage!r}.",
                storage=repr(storage),
            )
        return Holder(FileColumn(column.key, column, column.type), mapper)
    if not isinstance(column.type, String):
        raise TypeError(f"{column} cannot hold names of files: it is {column.type!r}.")
    return Holder(FileColumn(column.key, column, FileType(storage)), mapper)


def _find_registry(source: object) -> registry:
    if isinstance(source, registry):
        return source
    try:
        return inspect(source).registry  # type: ignore[no-any-return]
    except NoInspectionAvailable:
        # A declarative base has no mapper of its own. SQLModel gives the attribute another name.
        found = getattr(source, "registry", None) or getattr(source, "_sa_registry", None)
    if not isinstance(found, registry):
        raise TypeError(f"{source!r} is neither a model, nor a declarative base, nor a column.")
    return found


def _is_same(one: Storage, other: Storage) -> bool:
    # Two objects may lead to the same place. One name too many only keeps a file.
    return one is other or repr(one) == repr(other)
