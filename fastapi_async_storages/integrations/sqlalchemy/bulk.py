"""What ORM-enabled INSERT, UPDATE and DELETE statements do to files, without any object."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, Delete, Insert, Select, Update, select
from sqlalchemy.orm import Mapper, ORMExecuteState
from sqlalchemy.sql import visitors

from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.integrations.sqlalchemy.columns import (
    FileColumn,
    connect,
    get_file_columns,
)
from fastapi_async_storages.integrations.sqlalchemy.sessions import get_files
from fastapi_async_storages.integrations.sqlalchemy.transactions import TransactionFiles

__all__ = ["before_execute"]

_ROWS_AT_A_TIME = 1000
"""Rows of a query that are in memory at once; their names stay until the end of the transaction."""


def before_execute(execution: ORMExecuteState) -> None:
    """Listen to ``do_orm_execute``: read what a bulk statement will make rows let go of."""
    statement, mapper = execution.statement, execution.bind_mapper
    if mapper is None or not isinstance(statement, Insert | Update | Delete):
        return
    columns = _find_affected(statement, mapper, execution.parameters)
    if not columns:
        return
    session = execution.session
    if not (session.autobegin or session.in_transaction()):
        return  # The statement itself will say that a transaction must be begun.
    if session.autoflush and execution.execution_options.get("autoflush", True):
        session.flush()  # As the statement will: what waits there is among the rows it affects.
    files = get_files(session)
    for storage in {column.type.storage for column in columns}:
        files.watch.expect(mapper, storage)
    files.watch.reach(session)
    _claim_fresh(files, columns, statement, _as_list(execution.parameters))
    if not isinstance(statement, Insert):
        _release_old(execution, files, statement, mapper, columns)


def _release_old(
    execution: ORMExecuteState,
    files: TransactionFiles,
    statement: Update | Delete,
    mapper: Mapper[Any],
    columns: Iterable[FileColumn],
) -> None:
    let_go = [column for column in columns if column.type.cleanup != "keep"]
    if not let_go:
        return
    connection = connect(execution.session, mapper, let_go[0])
    options = {}
    # asyncpg has cursors only within a transaction.
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        options["yield_per"] = _ROWS_AT_A_TIME
    query = select(*(column.column for column in let_go)).select_from(mapper.persist_selectable)
    for parameters in _as_list(execution.parameters) or [{}]:
        rows = connection.execute(
            _select_affected(query, statement, mapper, parameters),
            parameters,
            execution_options=options,
        )
        for row in rows:
            for column, value in zip(let_go, row, strict=True):
                files.release(column.type, value)


def _find_affected(
    statement: Insert | Update | Delete, mapper: Mapper[Any], parameters: Any
) -> list[FileColumn]:
    """Find the columns with files that a statement writes, or whose rows it deletes."""
    # A table may hold the columns of subclasses too. Rows of their own tables stay.
    columns = {
        column.column: column
        for descendant in mapper.self_and_descendants
        for column in get_file_columns(descendant)
        if column.column.table is mapper.local_table
    }
    if isinstance(statement, Delete):
        return list(columns.values())
    keys: set[object] = {key for one in _as_list(parameters) for key in one}
    for values in (statement._values or {}, *_multi_values(statement)):
        keys.update(key if isinstance(key, str) else key.key for key in values)
    return [
        column for column in columns.values() if column.key in keys or column.column.key in keys
    ]


def _select_affected(
    query: Select[Any],
    statement: Update | Delete,
    mapper: Mapper[Any],
    parameters: Mapping[str, Any],
) -> Select[Any]:
    where = statement.whereclause
    if where is not None:
        return query.where(where)
    keys = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    if isinstance(statement, Update) and all(key in parameters for key in keys):
        # An UPDATE by primary key, which is one of the parameters.
        for column, key in zip(mapper.primary_key, keys, strict=True):
            query = query.where(column == parameters[key])
    return query


def _claim_fresh(
    files: TransactionFiles,
    columns: Sequence[FileColumn],
    statement: Insert | Update | Delete,
    parameters: Iterable[Mapping[str, Any]],
) -> None:
    for value in _find_values(statement, parameters):
        for file in {file for column in columns for file in column.type.files_in(value)}:
            files.check(file, str(columns[0].column.table))
            if isinstance(file, StorageFile) and file._fresh:
                files.claim(file)
                # The statement may write no row with it, which the lookup will find.
                files.released.add(file, "delete")


def _find_values(
    statement: Insert | Update | Delete, parameters: Iterable[Mapping[str, Any]]
) -> Iterator[object]:
    for element in visitors.iterate(statement):
        if isinstance(element, BindParameter):
            yield element.value
    for values in (*_multi_values(statement), *parameters):
        yield from values.values()


def _multi_values(statement: Insert | Update | Delete) -> Sequence[Mapping[Any, Any]]:
    """Return the rows of an ``insert(...).values([...])``."""
    if isinstance(statement, Delete):
        return ()
    return [row for rows in statement._multi_values for row in rows if isinstance(row, Mapping)]


def _as_list(parameters: Any) -> Sequence[Mapping[str, Any]]:
    if parameters is None:
        return ()
    return [parameters] if isinstance(parameters, Mapping) else parameters
