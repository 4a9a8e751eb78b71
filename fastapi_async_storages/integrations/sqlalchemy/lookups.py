"""Asking the database which of some names its rows hold."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TypeAlias
from unicodedata import normalize

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

    A name is the same composed and decomposed, as macOS does it: another program may have written
    either, and handles, which compose what is assigned, lead to one file.

    Args:
        names: Names of files of one storage.
        holders: The columns that may hold names of files of that storage.

    Returns:
        Those of the names that a row holds, or that a column gives to new rows.
    """
    held = {name for column in holders for name in column.default_names}
    for column, connection in holders.items():
        query = column.type.select_names(column.column, connection.dialect).subquery()
        name = query.c.name
        left = {one: normalize("NFC", one) for one in names - held}
        forms = {form for one in left for form in (one, left[one], normalize("NFD", one))}
        found = set[str]()
        for chunk in _chunks(forms):
            found.update(connection.scalars(select(name).where(name.in_(chunk)).distinct()))
        # Where case does not count, the query finds more.
        composed = {normalize("NFC", form) for form in found}
        held.update(one for one, form in left.items() if form in composed)
    return held & names


@contextmanager
def reconnected(holders: Holders) -> Iterator[Holders]:
    """Give holders new connections, in place of those that a session has used and closed.

    One that can still be used is the app's, which gave it to the session. It is used as it is: rows
    may be in a transaction of the app's that goes on, and that no other connection sees.

    Args:
        holders: The columns, with the old connections.

    Yields:
        The columns. New connections have the execution options of the old ones.
    """
    with ExitStack() as stack:
        usable: dict[Connection, Connection] = {}
        for old in set(holders.values()):
            usable[old] = old
            if old.closed or old.invalidated:
                usable[old] = stack.enter_context(old.engine.connect())
                usable[old].execution_options(**old.get_execution_options())
            elif not old.in_transaction():
                stack.callback(old.rollback)  # Of the transaction that the first query begins.
        yield {column: usable[old] for column, old in holders.items()}


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(names)
    for start in range(0, len(ordered), _NAMES_PER_QUERY):
        yield ordered[start : start + _NAMES_PER_QUERY]
