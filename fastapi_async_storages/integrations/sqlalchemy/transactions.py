"""What a transaction has stored and let go of, and what becomes of it."""

import asyncio
import logging
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy import Connection, inspect
from sqlalchemy.orm import InstanceState
from sqlalchemy.util.concurrency import greenlet_spawn

from fastapi_async_storages.exceptions import NotFoundError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.integrations.sqlalchemy.cleanup import clean_up
from fastapi_async_storages.integrations.sqlalchemy.column_types import FileColumnType
from fastapi_async_storages.integrations.sqlalchemy.columns import FileColumn, is_same_place
from fastapi_async_storages.integrations.sqlalchemy.commits import (
    LOOKUP_SECONDS,
    CommitWatch,
    Outcome,
)
from fastapi_async_storages.integrations.sqlalchemy.lookups import Holders, find_held, reconnected
from fastapi_async_storages.integrations.sqlalchemy.names import FileNames
from fastapi_async_storages.pending import PendingFile
from fastapi_async_storages.storage import Storage

__all__ = ["TransactionFiles"]

_logger = logging.getLogger("fastapi_async_storages")


class TransactionFiles:
    """The files of one transaction: the outermost one of a session, or a SAVEPOINT in it.

    Args:
        parent: Those of the transaction around a SAVEPOINT; ``None`` for the outermost one.

    Attributes:
        parent: Those of the transaction around it.
        watch: Tells how the outermost transaction ends. It is the keeper of the files that this
            one has stored.
        stored: Files that are there because of this transaction: its rollback deletes them.
        released: Names that rows held before, or that rows were to hold and do not. They are
            candidates: whether a row still names them is found out right before the COMMIT, so
            that one too many does no harm.
        written: Files that the running flush gives to rows, each with the object (its state holds
            it only weakly) and the column.
        deleting: Objects that the running flush deletes, and whose files are noted already.
        is_committed: Whether the session says that it has committed, or released the SAVEPOINT.
    """

    def __init__(self, parent: "TransactionFiles | None") -> None:
        self.parent = parent
        self.watch: CommitWatch = (
            CommitWatch(self._find_unnamed, self._look_after_rollback)
            if parent is None
            else parent.watch
        )
        self.stored: set[StorageFile] = set()
        self.released = FileNames()
        self.written: list[tuple[object, FileColumn, StorageFile]] = []
        self.deleting: frozenset[InstanceState[Any]] = frozenset()
        self.is_committed = False
        self._savepoints: list[TransactionFiles] = []
        if parent is not None:
            parent._savepoints.append(self)
        self._unnamed = FileNames()
        self._undone: FileNames | None = None
        self._is_finished = False
        # By their ids: several objects may have equal ones.
        self._handles: WeakValueDictionary[int, StorageFile] = WeakValueDictionary()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that its end could change."""
        return not (self.stored or len(self.released) or self.written or self._savepoints)

    def check(self, file: StorageFile | PendingFile, label: str) -> None:
        """Refuse a file that a row cannot hold.

        Args:
            file: A handle on it.
            label: How errors name the attribute or the column.

        Raises:
            NotFoundError: When it was deleted because its transaction was rolled back.
            ValueError: When it is in a transaction of another session that has not ended.
        """
        if isinstance(file, PendingFile):
            return
        if file._is_deleted:
            raise NotFoundError(
                f"{label} cannot hold {file.name!a} of {file.storage!r}: the file was deleted when"
                " its transaction ended without a row that names it. Assign the content again.",
                storage=repr(file.storage),
                name=file.name,
            )
        if file._keeper not in (None, self.watch):
            raise ValueError(
                f"{label} cannot hold {file.name!a} of {file.storage!r} yet: another session has"
                " stored it, in a transaction that may be rolled back. Commit that one first."
            )
        self.note(file)

    def note(self, file: StorageFile) -> None:
        """Remember a handle while anybody has it: it must learn of the end of its file.

        Args:
            file: The handle.
        """
        self._handles[id(file)] = file

    def claim(self, file: StorageFile) -> None:
        """Take over a file that nobody has promised to keep.

        Args:
            file: A handle on it.
        """
        file._fresh = False
        file._keeper = self.watch
        self.stored.add(file)

    def release(self, column_type: FileColumnType[Any], value: object) -> None:
        """Note that a row lets go of the files that a column of it has held.

        Args:
            column_type: The type of the column.
            value: What the column has held.
        """
        for file in column_type.files_in(value):
            if isinstance(file, StorageFile):
                self.note(file)
                self.released.add(file, column_type.cleanup)

    def settle(self) -> None:
        """Release what the last flush stored for rows that it did not write after all.

        An object without the parent that it cannot be without is such a row.
        """
        for instance, column, file in self.written:
            state: InstanceState[Any] = inspect(instance)
            held = column.type.files_in(state.dict.get(column.key))
            if not (state.persistent and file in held):
                self.released.add(file, "delete")
        self.written.clear()

    def merge(self) -> None:
        """Pass on what a SAVEPOINT leaves to the transaction around it, if there is one.

        Files of one that was rolled back stay until the outermost transaction ends: the objects
        have the handles still, and may be added once more.
        """
        parent = self.parent
        if parent is None:
            return
        parent._savepoints.remove(self)
        self._settle_all()
        parent.stored |= self.stored
        parent._handles.update(self._handles)
        parent.released.update(self.released if self.is_committed else FileNames(self.stored))

    async def finish(self) -> None:
        """Delete what no row names, now that the outermost transaction has ended.

        This comes to its end also when the current task is cancelled, and raises nothing but that.
        """
        self._is_finished = True
        self._settle_all()
        if not (self.stored or len(self.released)):
            return
        outcome = self.watch.get_outcome(is_committed=self.is_committed)
        self.watch.close()
        if outcome is Outcome.UNKNOWN:
            self._log_left("Nobody knows whether a transaction was committed")
            doomed = FileNames()
        elif outcome is Outcome.COMMITTED:
            doomed = self._unnamed
        else:
            doomed = await self._find_undone()
        for file in self.stored:
            file._keeper = None
        for file in (*self.stored, *self._handles.values()):
            file._is_deleted = file._is_deleted or file in doomed
        await clean_up(doomed)

    def __del__(self) -> None:
        """Say so when a session is thrown away in a transaction: nobody can await its end."""
        if self.parent is None and not self._is_finished and (self.stored or len(self.released)):
            self._log_left("A session was never closed")

    def _log_left(self, reason: str) -> None:
        _logger.warning(
            "%s: %d files that it stored and %d that it let go of are left to the sweep.",
            reason,
            len(self.stored),
            len(self.released),
        )

    def _settle_all(self) -> None:
        """Settle, and take over from SAVEPOINTs whose own end was cut short by a cancellation."""
        for savepoint in [*self._savepoints]:
            savepoint.merge()
        self.settle()

    def _find_unnamed(self) -> None:
        """Find the candidates that no row names, in the transaction that is about to commit."""
        self._settle_all()
        candidates = FileNames()
        candidates.update(self.released)
        if self.watch.had_error:
            # The error may have undone what was written before it. Then this query fails
            # (PostgreSQL), or does not find the names (SQLite).
            candidates.update(FileNames(self.stored))
        self._unnamed = _keep_named(candidates, self.watch.holders)

    def _look_after_rollback(self, connection: Connection) -> None:
        """Find the stored files that no row names after a ROLLBACK, on the connection it was on.

        Not every rollback undoes: there is none on an AUTOCOMMIT connection; sqlite3 commits a
        SAVEPOINT that came before its BEGIN, MySQL commits before it alters a table.
        """
        self._settle_all()
        undone = FileNames(self.stored) if self._undone is None else self._undone
        holders = {column: its for column, its in self.watch.holders.items() if its is connection}
        self._undone = _keep_named(undone, holders)

    async def _find_undone(self) -> FileNames:
        """Find the stored files that no row names after the end of the transaction.

        Where no ROLLBACK was sent, the session was closed in a transaction of the app's, or the
        connection was lost.
        """
        undone = FileNames(self.stored) if self._undone is None else self._undone
        unseen = self.watch.unseen
        if unseen and len(undone):
            try:
                async with asyncio.timeout(LOOKUP_SECONDS):
                    undone = await greenlet_spawn(_keep_named_after_all, undone, unseen)
            except Exception as error:  # noqa: BLE001 - it says nothing about the rollback.
                _logger.warning("After a rollback nobody could look for its rows: %r", error)
                undone = FileNames()
        if len(undone) < len(self.stored):
            _logger.warning(
                "%d files stay although the transaction that stored them was rolled back: rows name"
                " them, or may do so. Was it in AUTOCOMMIT mode, or within another one that goes"
                " on?",
                len(self.stored) - len(undone),
            )
        return undone


def _keep_named(names: FileNames, holders: Holders) -> FileNames:
    """Take away the names that a row holds."""

    def find(storage: Storage, group: set[str]) -> set[str]:
        columns = {
            column: connection
            for column, connection in holders.items()
            if is_same_place(column.type.storage, storage)
        }
        return find_held(group, columns)

    return names.without(find)


def _keep_named_after_all(names: FileNames, holders: Holders) -> FileNames:
    with reconnected(holders) as again:
        return _keep_named(names, again)
