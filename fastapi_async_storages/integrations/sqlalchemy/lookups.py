"""Asking the database which of some names its rows hold."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from sqlalchemy import Connection, select

from fastapi_async_storages.integrations.sqlalchemy.columns import FileColumn

__all__ = ["Holders", "find_held", "reconnected"]

Holders: TypeAlias = Mapping[FileColumn, Connection]
"""Columns that may hold names of files, each with a connection to its database."""

_NAMES_PER_QUERY = 500
"""Bound parameters of one query.

Source: SQLite takes 999 before version 3.32 (sqlite.org/limits.html, number 9), PostgreSQL 65,535
(protocol, message Bind: an Int16).
"""


def find_held(names: set[str], holders: Holders) -> set[str]:
    """Find out which names are held by rows, as the transactions of the connections see them.

    Args:
        names: Names of files of one storage.
        holders: The columns that may hold names of files of that storage.

    Returns:
        Those of the names that a row holds.
    """
    held: set[str] = set()
    for column, connection in holders.items():
        query = column.type.select_names(column.column, connection.dialect).subquery()
        name = query.c.name
        for chunk in _chunks(names - held):
            held.update(connection.scalars(select(name).where(name.in_(chunk)).distinct()))
    return held & names  # Where case does not count, the query finds more.


@contextmanager
def reconnected(holders: Holders) -> Iterator[Holders]:
    """Give holders new connections, in place of those that a session has used and closed.

    Args:
        holders: The columns, with the old connections.

    Yields:
        The columns, with new connections that have the execution options of the old ones. Columns
        are missing whose old connection is open: the app gave it to the session, and may be at
        anything with it.
    """
    new: dict[Connection, Connection] = {}
    try:
        for old in set(holders.values()):
            if old.closed:
                new[old] = old.engine.connect()
                new[old].execution_options(**old.get_execution_options())
        yield {column: new[old] for column, old in holders.items() if old in new}
    finally:
        for connection in new.values():
            connection.close()


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(names)
    for start in range(0, len(ordered), _NAMES_PER_QUERY):
        yield ordered[start : start + _NAMES_PER_QUERY]
