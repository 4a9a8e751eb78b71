"""What a flush does to files: it stores contents first, and notes what its rows let go of."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, inspect, or_, select
from sqlalchemy.orm import InstanceState, Mapper, Session, UOWTransaction, object_session
from sqlalchemy.orm.attributes import get_history, set_attribute
from sqlalchemy.orm.base import PASSIVE_NO_INITIALIZE
from sqlalchemy.util import await_only

from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.integrations.sqlalchemy.columns import (
    FileColumn,
    connect,
    get_file_columns,
)
from fastapi_async_storages.integrations.sqlalchemy.contents import Content, store_contents
from fastapi_async_storages.integrations.sqlalchemy.records import learn
from fastapi_async_storages.integrations.sqlalchemy.sessions import find_files, get_files
from fastapi_async_storages.integrations.sqlalchemy.transactions import TransactionFiles
from fastapi_async_storages.pending import PendingFile

__all__ = ["after_flush", "before_delete", "before_flush"]

_ROWS_PER_QUERY = 100
"""Primary keys in one query; few, because each column of a composite one is a parameter."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What a flush is about to do with one attribute of one object.

    Attributes:
        state: Of the object.
        column: The column behind the attribute.
        new: What the row will hold.
        old: What the row holds, as far as the session knows.
        is_loaded: Whether the session does know, or there is no row yet.
    """

    state: InstanceState[Any]
    column: FileColumn
    new: object
    old: object
    is_loaded: bool

    @property
    def label(self) -> str:
        return f"{self.state.mapper.class_.__name__}.{self.column.key}"

    @property
    def contents(self) -> list[Content]:
        return [
            Content(file, self.column.type, self.label)
            for file in self.column.type.files_in(self.new)
            if isinstance(file, PendingFile)
        ]


def before_flush(
    session: Session, context: UOWTransaction, instances: Sequence[object] | None
) -> None:
    """Listen to ``before_flush``: what may fail, or must wait, comes before any row is written.

    Raises:
        StorageError: When a content cannot be stored. Then none of this flush is.
        NotFoundError: When a file was deleted because its transaction was rolled back.
        ValueError: When a file is in a transaction of another session that has not ended.
    """
    deleted = [inspect(instance) for instance in session.deleted]
    changes = [*_find_changes(session, instances)]
    for state in deleted:
        changes += _find_releases(state)
    known = find_files(session)
    if known is not None:
        known.settle()
        known.deleting = frozenset(deleted)
    if not changes:
        return
    files = get_files(session)
    files.deleting = frozenset(deleted)
    for change in changes:
        # First of all: what fails from here on leaves no file that is nobody's.
        files.watch.expect(change.state.mapper, change.column.type.storage)
        _claim_fresh(files, change, change.new)
    for change in changes:
        for file in change.column.type.files_in(change.new):
            files.check(file, change.label)
    _store_new(files, changes)
    files.watch.reach(session)  # Now, so that no connection waits for an upload.
    # Last of all: a name that is let go of where no columns are known would be held by none.
    _release_old(session, files, changes)


def after_flush(session: Session, context: UOWTransaction) -> None:
    """Listen to ``after_flush_postexec``, when the objects know whether they have rows."""
    files = find_files(session)
    if files is not None:
        files.settle()
        files.deleting = frozenset()


def before_delete(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    """Listen to ``before_delete`` of mappers: only they tell of an object that lost its parent.

    A flush finds out by itself that it must delete such orphans, after ``before_flush``.
    """
    session = object_session(target)
    files = find_files(session) if session is not None else None
    state: InstanceState[Any] = inspect(target)
    if session is None or files is None or state in files.deleting:
        return
    changes = [*_find_releases(state)]
    for change in changes:
        files.watch.expect(mapper, change.column.type.storage)
    files.watch.reach(session)
    _release_old(session, files, changes)


def _find_changes(session: Session, instances: Sequence[object] | None) -> Iterator[_Change]:
    """Find attributes whose rows will hold something else."""
    chosen = None if instances is None else {id(instance) for instance in instances}
    for instance in (*session.new, *session.dirty):
        if chosen is not None and id(instance) not in chosen:
            continue
        state: InstanceState[Any] = inspect(instance)
        for column in get_file_columns(state.mapper):
            _coerce_assigned(state, column)
            if not state.persistent:
                # One that was in a row before, which is gone or was rolled back, has no history.
                value = state.dict.get(column.key)
                if column.type.files_in(value):
                    yield _Change(state, column, value, None, is_loaded=True)
                continue
            history = get_history(instance, column.key, PASSIVE_NO_INITIALIZE)
            if history.added:
                old = history.deleted[0] if history.deleted else None
                yield _Change(state, column, history.added[0], old, bool(history.deleted))


def _coerce_assigned(state: InstanceState[Any], column: FileColumn) -> None:
    """Let the attribute have what its type makes of what was assigned.

    It has that already, but in a SQLModel: that puts what was assigned in its place again.
    """
    value = state.dict.get(column.key)
    if column.key in state.dict and not column.type.is_value(value):
        set_attribute(state.obj(), column.key, value)


def _find_releases(state: InstanceState[Any]) -> Iterator[_Change]:
    """Find what the row of an object that will be deleted lets go of."""
    for column in get_file_columns(state.mapper):
        history = get_history(state.obj(), column.key, PASSIVE_NO_INITIALIZE)
        before = history.deleted or history.unchanged
        yield _Change(state, column, None, before[0] if before else None, bool(before))


def _store_new(files: TransactionFiles, changes: Sequence[_Change]) -> None:
    """Store the contents, give the objects their handles, and take these over."""
    contents = [content for change in changes for content in change.contents]
    stored = iter(await_only(store_contents(contents)) if contents else ())
    for change in changes:
        state, column = change.state, change.column
        handles = {content.pending: next(stored) for content in change.contents}
        if handles:
            # Not assigned: to listeners and validators this is still the content they have seen.
            state.dict[column.key] = column.type.with_stored(change.new, handles)
            _claim_fresh(files, change, state.dict[column.key])
    _learn_unknown(changes)


def _claim_fresh(files: TransactionFiles, change: _Change, value: object) -> None:
    """Take over the files of a value that nobody has promised to keep."""
    for file in change.column.type.files_in(value):
        if isinstance(file, StorageFile) and file._fresh:
            files.claim(file)
            files.written.append((change.state.obj(), change.column, file))


def _learn_unknown(changes: Sequence[_Change]) -> None:
    """Ask the storage about files of which a row will say more than the name."""
    unknown = [
        file
        for change in changes
        for file in change.column.type.files_in(change.new)
        if isinstance(file, StorageFile) and change.column.type.needs_info(file)
    ]
    if unknown:
        await_only(learn(unknown))


def _release_old(session: Session, files: TransactionFiles, changes: Iterable[_Change]) -> None:
    """Note the files that rows let go of, reading the names that the session does not know."""
    unknown: dict[Mapper[Any], list[_Change]] = {}
    for change in changes:
        files.release(change.column.type, change.old)
        if not change.is_loaded and change.column.type.cleanup != "keep":
            unknown.setdefault(change.state.mapper, []).append(change)
    for mapper, group in unknown.items():
        # A column that one of the rows keeps is no harm: names are looked up before the COMMIT.
        columns = list({change.column for change in group})
        identities = list({change.state.identity for change in group if change.state.identity})
        connection = connect(session, mapper, columns[0])
        for row in _read_rows(connection, mapper, columns, identities):
            for column, value in zip(columns, row, strict=True):
                files.release(column.type, value)


def _read_rows(
    connection: Connection,
    mapper: Mapper[Any],
    columns: Sequence[FileColumn],
    identities: Sequence[tuple[Any, ...]],
) -> Iterator[Row[*tuple[Any, ...]]]:
    query = select(*(column.column for column in columns)).select_from(mapper.persist_selectable)
    for start in range(0, len(identities), _ROWS_PER_QUERY):
        chunk = identities[start : start + _ROWS_PER_QUERY]
        yield from connection.execute(query.where(_is_one_of(mapper, chunk)))


def _is_one_of(mapper: Mapper[Any], identities: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
    if len(mapper.primary_key) == 1:
        return mapper.primary_key[0].in_([identity[0] for identity in identities])
    return or_(
        *(
            and_(*(key == value for key, value in zip(mapper.primary_key, identity, strict=True)))
            for identity in identities
        )
    )
