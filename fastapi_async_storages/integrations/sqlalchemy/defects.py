"""Checking that the files which rows name are there, and are what the rows say."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement, Select, literal, select, tuple_, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from fastapi_async_storages.exceptions import (
    ConfigurationError,
    InvalidNameError,
    NotFoundError,
    StorageError,
)
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.integrations.sqlalchemy.holders import (
    Holder,
    HolderSource,
    find_holders,
)
from fastapi_async_storages.integrations.sqlalchemy.records import get_infos, read_checksums
from fastapi_async_storages.storage import Storage

__all__ = ["Defect", "Fault", "verify"]

Fault: TypeAlias = Literal["missing", "invalid name", "size", "checksum", "unreadable"]
"""What is wrong with a file that a row names."""

_PAGE = 500
"""Rows at a time."""


@dataclass(frozen=True, slots=True)
class Defect:
    """A row whose file is not what it should be.

    Attributes:
        column: The column, as ``"table.column"``.
        primary_key: Values of the row's primary key, in the order of the table.
        name: The file that the row names.
        fault: What is wrong.
        expected: Size in bytes, or checksum, that the row says, or else the storage's own record.
        found: Those of the file; or the error that reading it raised.
    """

    column: str
    primary_key: tuple[Any, ...]
    name: str
    fault: Fault
    expected: int | str | None = None
    found: int | str | None = None


async def verify(
    session_factory: async_sessionmaker[AsyncSession],
    storage: Storage,
    models: HolderSource | Iterable[HolderSource],
    *,
    read: bool = False,
) -> AsyncIterator[Defect]:
    """Find the rows whose file is missing, or is not what the row says.

    Rows are read page by page, in the order of their primary keys, and no transaction stays open
    while the storage is asked. What seems wrong is read again before it is reported: the row may
    have got another file meanwhile.

    Args:
        session_factory: Makes sessions of the database.
        storage: The storage, that of the column types.
        models: Where names are; see :func:`sweep`.
        read: Whether every file is read, to compare its checksum with that of the row, or else with
            the one that was stored along with the file. Otherwise the storage is only asked about
            each file, and a checksum is compared with the one in its record, if there is one.

    Yields:
        Each defect when it is found.

    Raises:
        ConfigurationError: When no column holds names of files of the storage, or a table that does
            has no primary key.
        StorageError: When the storage fails.
    """
    for holder in find_holders(storage, models):
        rows = _Rows(session_factory, holder)
        async for page in rows.read():
            for defect in await _check(storage, rows.label, page, read=read):
                if await rows.still_name(defect):
                    yield defect


_NamedFile: TypeAlias = tuple[tuple[Any, ...], StorageFile]
"""The primary key of a row, and a file that it names."""


class _Rows:
    """The rows of a table with a column that names files."""

    def __init__(self, session_factory: async_sessionmaker[AsyncSession], holder: Holder) -> None:
        self._session_factory = session_factory
        self._holder = holder
        column = holder.column.column
        self.label = f"{column.table.name}.{column.name}"
        self._key: Sequence[ColumnElement[Any]] = tuple(column.table.primary_key)
        if not self._key:
            raise ConfigurationError(f"{self.label}: a row cannot be told without a primary key.")
        # A column of plain text is read as names too.
        self._query = (
            select(*self._key, type_coerce(column, holder.column.type))
            .where(column.is_not(None))
            .order_by(*self._key)
        )

    async def read(self) -> AsyncIterator[list[_NamedFile]]:
        """Read all rows, page by page. Each page is a transaction of its own."""
        query: Select[Any] | None = self._query.limit(_PAGE)
        while query is not None:
            rows = await self._execute(query)
            yield [(key, file) for key, files in rows for file in files]
            query = None
            if len(rows) == _PAGE:
                last = [
                    literal(value, column.type)
                    for column, value in zip(self._key, rows[-1][0], strict=True)
                ]
                query = self._query.where(tuple_(*self._key) > tuple_(*last)).limit(_PAGE)

    async def still_name(self, defect: Defect) -> bool:
        """Tell whether the row of a defect still names the file."""
        key = zip(self._key, defect.primary_key, strict=True)
        query = self._query.where(*(column == value for column, value in key))
        return any(
            file.name == defect.name for _, files in await self._execute(query) for file in files
        )

    async def _execute(self, query: Select[Any]) -> list[tuple[tuple[Any, ...], list[StorageFile]]]:
        def execute(session: Session) -> list[tuple[tuple[Any, ...], list[StorageFile]]]:
            rows = self._holder.connect(session).execute(query).all()
            return [(tuple(key), [*self._files_in(value)]) for *key, value in rows]

        async with self._session_factory() as session:
            return await session.run_sync(execute)

    def _files_in(self, value: object) -> Iterator[StorageFile]:
        for file in self._holder.column.type.files_in(value):
            if isinstance(file, StorageFile):
                yield file


async def _check(
    storage: Storage, label: str, page: Sequence[_NamedFile], *, read: bool
) -> list[Defect]:
    safe = {file.name for _, file in page if _is_valid(storage, file.name)}
    infos = await get_infos(storage, safe)
    readable = [name for name, info in infos.items() if info is not None] if read else ()
    checksums = await read_checksums(storage, readable)
    defects = []
    for key, file in page:
        name = file.name
        if name not in safe:
            defects.append(Defect(label, key, name, "invalid name"))
            continue
        found = _compare(file.info, infos[name], checksums.get(name))
        if found is not None:
            defects.append(Defect(label, key, name, *found))
    return defects


def _is_valid(storage: Storage, name: str) -> bool:
    try:
        storage.get_name(name)
    except InvalidNameError:
        return False
    return True


def _compare(
    row: FileInfo | None, stored: FileInfo | None, content: str | StorageError | None
) -> tuple[Fault, int | str | None, int | str | None] | None:
    """Find what is wrong with a file.

    Args:
        row: What the row says of it, if it says more than the name.
        stored: What the storage says, if there is such a file.
        content: The checksum of what was read, or the error, or ``None``.
    """
    if stored is None or isinstance(content, NotFoundError):
        return "missing", None, None
    if row is not None and row.size != stored.size:
        return "size", row.size, stored.size
    if isinstance(content, StorageError):
        return "unreadable", None, str(content)
    expected = (row.checksum if row is not None else None) or stored.checksum
    actual = content or stored.checksum
    if None not in (expected, actual) and expected != actual:
        return "checksum", expected, actual
    return None
